"""What the tests of the library share: real repositories, a scope of their own, real quadlets."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from leger import compile as compiling
from leger import git, prepare
from leger.deployment import Deployment
from leger.model import Compiled, Fault
from leger.prepare import Prepared
from leger.scope import Scope

IDENTITY = {
    "GIT_AUTHOR_NAME": "Ada",
    "GIT_AUTHOR_EMAIL": "ada@example.org",
    "GIT_COMMITTER_NAME": "Ada",
    "GIT_COMMITTER_EMAIL": "ada@example.org",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_NOSYSTEM": "1",
}


class Repository:
    """A real Git repository; a file's content is text, bytes, or a link's target ("-> target")."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True)
        self.git("init", "--quiet", "--initial-branch=main")

    def git(self, *arguments: str) -> str:
        done = subprocess.run(
            ["git", *arguments],
            cwd=self.path,
            env={**os.environ, **IDENTITY},
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout.strip()

    def commit(self, files: Mapping[str, str | bytes | None], message: str = "change") -> str:
        for name, content in files.items():
            place(self.path / name, content)
        self.git("add", "--all", "--force")
        self.git("commit", "--quiet", "--allow-empty", "-m", message)
        return self.git("rev-parse", "HEAD")


def place(path: Path, content: str | bytes | None) -> None:
    """Write, link ("-> target") or remove (None) one file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_symlink() or path.exists():
        path.unlink()
    if isinstance(content, str) and content.startswith("-> "):
        path.symlink_to(content[3:])
    elif content is not None:
        path.write_bytes(content.encode() if isinstance(content, str) else content)


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "repository")


@pytest.fixture
def scope(tmp_path: Path) -> Scope:
    """A system scope below a folder of the test."""
    return Scope.system(tmp_path / "host")


@pytest.fixture
def quadlet(machines_allowed: None, suite: str) -> Path:
    """The quadlet of each suite's podman, run on this host."""
    from machine.image import quadlet_binary

    binary = quadlet_binary(suite)
    if binary is None:
        pytest.skip(f"{suite}'s quadlet does not run on this host")
    return binary


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
        return compiling.compile_scope(scope, by_name, quadlet=quadlet, **options)  # type: ignore[arg-type]

    return make


def shown(faults: tuple[Fault, ...]) -> list[str]:
    """Faults as an administrator reads them."""
    return [str(fault) for fault in faults]
