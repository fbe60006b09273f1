"""What was prepared last is taken again, and nothing else."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from leger import git, prepare
from leger.deployment import Deployment
from leger.errors import LegerError
from leger.scope import Scope
from repositories import Repository

FILES = {
    "web.container": "[Container]\nImage=localhost/hello:1\nVolume=./web.conf:/etc/web.conf\n",
    "web.conf.j2": "{{ color }} {{ host.name }}\n",
    "all.quadlets": "# FileName=one\n[Network]\nLabel=a=1\n",
    ".leger.yaml": "values: {color: {type: text, default: blue}}\nhealth: {quiet: 2s}\n",
}


@pytest.fixture
def shop(scope: Scope, repository: Repository) -> tuple[Deployment, str]:
    """A deployment and its commit, prepared once."""
    repository.commit(FILES)
    deployment = Deployment("shop", str(repository.path))
    commit = git.fetch(scope, deployment)
    prepare.prepare(scope, deployment, commit)
    return deployment, commit


def record(scope: Scope) -> Path:
    return scope.sources / "shop.prepared.json"


def without_git(scope: Scope, deployment: Deployment) -> None:
    """Whatever asks the mirror fails from now on."""
    shutil.rmtree(git.Mirror.of(scope, deployment).path)


def test_the_same_commit_is_not_read_again(scope, shop):
    deployment, commit = shop
    before = prepare.prepare(scope, deployment, commit)
    without_git(scope, deployment)
    again = prepare.prepare(scope, deployment, commit, mend=True)
    assert again == before
    assert again.author.health is not None
    assert again.origins["one.network"].file == "all.quadlets"


def test_whatever_goes_into_the_tree_counts(scope, shop):
    deployment, commit = shop
    with_value = replace(deployment, values={"color": "red"})
    red = prepare.prepare(scope, with_value, commit)
    assert (red.tree.path / "web.conf").read_text().startswith("red ")
    assert prepare.prepare(scope, deployment, commit).tree.path != red.tree.path
    scope.config.parent.mkdir(parents=True, exist_ok=True)
    scope.config.write_text("host: {name: elsewhere}\n")
    named = prepare.prepare(scope, deployment, commit)
    assert (named.tree.path / "web.conf").read_text() == "blue elsewhere\n"
    without_git(scope, deployment)
    with pytest.raises(LegerError):
        prepare.prepare(scope, deployment, "1" * 40)


def _change(tree: Path) -> None:
    (tree / "web.conf").write_text("changed")


def _lose(tree: Path) -> None:
    (tree / "web.conf").unlink()


def _add(tree: Path) -> None:
    (tree / "more").write_text("")


@pytest.mark.parametrize("touch", [_change, _lose, _add, shutil.rmtree])
def test_a_tree_that_was_touched_is_made_again(scope, shop, touch: Callable[[Path], object]):
    deployment, commit = shop
    before = prepare.prepare(scope, deployment, commit)
    touch(before.tree.path)
    again = prepare.prepare(scope, deployment, commit, mend=True)
    assert again.tree == before.tree
    assert (again.tree.path / "web.conf").read_text().startswith("blue ")
    assert not (again.tree.path / "more").exists()


@pytest.mark.parametrize("text", ["", "[]", "{}", "\0", '{"key": 1}', '{"files": {"a": 1}}'])
def test_a_record_that_cannot_be_understood_is_as_none(scope, shop, text):
    deployment, commit = shop
    before = prepare.prepare(scope, deployment, commit)
    known = json.loads(record(scope).read_text())["key"]
    record(scope).write_text(
        text.replace("1}", f'"{known}", "files": 1}}') if "key" in text else text
    )
    assert prepare.prepare(scope, deployment, commit) == before


def test_a_disk_that_refuses_the_record_stops_nothing(scope, shop, monkeypatch):
    deployment, commit = shop
    record(scope).unlink()
    monkeypatch.setattr(os, "fsync", lambda _fd: None)
    monkeypatch.setattr("leger.disk.write_file", _refuse)
    assert prepare.prepare(scope, deployment, commit).commit == commit
    assert not record(scope).exists()


def _refuse(path: Path, *_: object, **__: object) -> None:
    raise LegerError(f"{path}: cannot be written: No space left on device")
