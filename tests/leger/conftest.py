"""What the tests of the library share: real repositories, a scope of their own, real quadlets."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from leger import compile as compiling
from leger import git, prepare
from leger import quadlet as quadlets
from leger.deployment import Deployment, Target
from leger.model import Compiled
from leger.prepare import Prepared
from leger.scope import Scope
from leger.switch import Host
from leger.systemctl import Systemctl
from repositories import Repository

SYSTEMCTL = """#!/bin/sh
while [ $# -gt 0 ] && [ "$1" != -- ]; do test "$1" = show && show=1; shift; done
test -n "$show" && shift && for unit; do
  printf 'LoadState=not-found\\nActiveState=inactive\\nSubState=dead\\n\\n'
done
exit 0
"""


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "repository")


@pytest.fixture
def scope(tmp_path: Path) -> Scope:
    """A system scope below a folder of the test."""
    return Scope.system(tmp_path / "host")


Prepare = Callable[..., Prepared]


@pytest.fixture
def prepared(tmp_path: Path, scope: Scope) -> Prepare:
    """Prepare a deployment of `files` (name, files, and the deployment's own settings)."""

    def make(name: str, files: Mapping[str, str | bytes | None], **settings: object) -> Prepared:
        path = tmp_path / "repositories" / name
        source = Repository(path) if not path.exists() else Repository.__new__(Repository)
        source.path = path
        source.commit(files)
        deployment = Deployment(name, str(path), **settings)  # type: ignore[arg-type]
        return prepare.prepare(scope, deployment, git.fetch(scope, deployment))

    return make


@pytest.fixture
def compiled(scope: Scope, quadlet: Path) -> Callable[..., Compiled]:
    """Compile prepared deployments together with the real quadlet."""

    def make(*items: Prepared, **options: object) -> Compiled:
        by_name = {item.deployment.name: item for item in items}
        return compiling.compile_scope(scope, by_name, **{"quadlet": quadlet, **options})  # type: ignore[arg-type]

    return make


@pytest.fixture
def host(scope: Scope, quadlet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    """A host on which nothing runs: its systemctl knows no unit."""
    program = tmp_path / "bin/systemctl"
    program.parent.mkdir()
    program.write_text(SYSTEMCTL)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    monkeypatch.setenv("LEGERD_SOCKET", "/nowhere/legerd.sock")
    monkeypatch.setattr(quadlets, "INSTALLED", (quadlet,))
    return Host(scope, Systemctl(user=False), print)


@pytest.fixture
def committed(scope: Scope, tmp_path: Path) -> Callable[..., Target]:
    """A commit in the repository of a deployment, fetched (name, files, its own settings)."""
    repositories: dict[str, Repository] = {}

    def make(name: str, files: Mapping[str, str | bytes | None], **settings: object) -> Target:
        if name not in repositories:
            repositories[name] = Repository(tmp_path / "sources" / name)
        repositories[name].commit(files)
        deployment = Deployment(name, str(repositories[name].path), **settings)  # type: ignore[arg-type]
        return Target(deployment, git.fetch(scope, deployment))

    return make


PODMAN = """#!/bin/sh
echo "$*" >>{log}
test "$1 $2" != "network rm" && exit
echo "Error: network is being used" >&2
exit 2
"""


@pytest.fixture
def podman(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """A podman that has nothing and keeps each network; yields what it was asked."""
    log, program = tmp_path / "asked", tmp_path / "bin/podman"
    program.parent.mkdir(exist_ok=True)
    program.write_text(PODMAN.format(log=log))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    return lambda: log.read_text().splitlines() if log.exists() else []
