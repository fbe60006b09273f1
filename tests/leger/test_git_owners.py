"""Repositories of this host that belong to somebody else: read, and nothing of them is run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from leger import git
from leger.deployment import Deployment
from leger.scope import Scope
from repositories import Repository

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
ALICE = 12345


def give(path: Path) -> None:
    """All of `path` is Alice's."""
    for item in (path, *path.rglob("*")):
        os.chown(item, ALICE, ALICE, follow_symlinks=False)


def bare(repository: Repository) -> Path:
    path = repository.path.with_name("bare.git")
    repository.git("clone", "-q", "--bare", str(repository.path), str(path))
    return path


@pytest.mark.parametrize("form", ["with a work tree", "bare", "bare, without .git", "a link to it"])
def test_a_repository_of_another_user_is_fetched(
    scope: Scope, repository: Repository, form: str
) -> None:
    commit = repository.commit({"a": "1"})
    path = bare(repository) if form.startswith("bare") else repository.path
    give(path)
    if form == "a link to it":
        path = path.with_name("link")
        path.symlink_to(repository.path)
    source = str(path).removesuffix(".git") if form == "bare, without .git" else str(path)
    assert git.fetch(scope, Deployment("web", source)) == commit


def test_what_a_repository_of_another_user_names_is_not_run(
    scope: Scope, repository: Repository, tmp_path: Path
) -> None:
    commit = repository.commit({"a": "1"})
    path = bare(repository)
    ran = tmp_path / "ran"
    keys = ["uploadpack.packObjectsHook", "core.fsmonitor", "core.alternateRefsCommand"]
    keys += ["core.sshCommand", "core.pager", "core.editor", "gpg.program", "credential.helper"]
    for key in keys:
        repository.git("-C", str(path), "config", key, f"touch {ran};")
    repository.git("-C", str(path), "config", "core.hooksPath", str(path / "hooks"))
    for hook in ("pre-upload-pack", "post-upload-pack", "reference-transaction", "update"):
        (path / "hooks" / hook).write_text(f"#!/bin/sh\ntouch {ran}\n")
        (path / "hooks" / hook).chmod(0o755)
    give(path)
    assert git.fetch(scope, Deployment("web", str(path))) == commit
    assert not ran.exists()
