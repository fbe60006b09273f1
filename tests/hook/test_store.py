"""Podman's store after a power cut or a kill: mended, refilled, nothing deleted, others named."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hook.podman_double import Store
from hook.world import World

BREAK: dict[str, Callable[[Store], object]] = {
    "names emptied": lambda store: store.metadata.write_text(""),
    "names cut": lambda store: store.metadata.write_text(store.metadata.read_text()[:200]),
    "values emptied": lambda store: store.values.write_text(""),
    "values cut": lambda store: store.values.write_text(store.values.read_text()[:-9]),
    "both emptied": lambda store: (store.values.write_text(""), store.metadata.write_text("")),
    "names a list": lambda store: store.metadata.write_text("[]"),
}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with World(tmp_path).up() as up:
        yield up


@pytest.mark.parametrize("how", BREAK)
def test_a_store_that_does_not_parse_is_set_aside_and_refilled(world: World, how: str) -> None:
    world.store.create("theirs", b"not ours", None, replace=False)
    world.legerd.put("a", b"value")
    world.legerd.put("b", b"other")
    world.run("db=a", "key=b")
    BREAK[how](world.store)
    before = {name: (world.store.root / "secrets" / name).read_bytes() for name in world.files()}
    run = world.run("db=a", "key=b")
    assert run.code == 0
    assert world.store.value("db") == b"value"
    assert world.store.value("key") == b"other"
    assert len(run.lines) == 1
    assert run.lines[0].startswith("leger: error: podman's secrets could not be read and were set")
    assert "make them again: theirs" in run.lines[0]
    assert ("not known: what was made after" in run.lines[0]) == (
        how != "values emptied" and how != "values cut"
    )
    aside = [name for name in world.files() if ".broken-" in name]
    assert len(aside) == 2
    for name in aside:
        kept = (world.store.root / "secrets" / name).read_bytes()
        assert kept == before[name.partition(".broken-")[0]]
    assert world.run("db=a", "key=b").lines == []


@pytest.mark.parametrize("how", BREAK)
def test_a_broken_store_without_legerd_fails_and_is_left(world: World, how: str) -> None:
    world.legerd.put("a", b"value")
    world.run("db=a")
    BREAK[how](world.store)
    before = world.files()
    world.legerd.mode = "fail"
    run = world.run("db=a")
    assert run.code == 1
    assert "legerd cannot be reached" in run.lines[0]
    assert world.files() == before


@pytest.mark.parametrize("content", ["{}", "null"])
def test_lost_values_are_written_again_without_a_double(world: World, content: str) -> None:
    world.legerd.put("a", b"value")
    world.legerd.put("b", b"other")
    world.run("db=a", "key=b")
    world.store.values.write_text(content)
    assert world.run("db=a").code == 0
    assert world.store.value("db") == b"value"
    assert world.store.names() == ["db", "key"]
    metadata = json.loads(world.store.metadata.read_text())
    assert sorted(metadata["idToName"].values()) == ["db", "key"]
    assert world.run("key=b").code == 0
    assert world.store.value("key") == b"other"


def test_a_lost_value_of_somebody_else_is_not_taken_over(world: World) -> None:
    world.store.create("db", b"theirs", {"owner": "me"}, replace=False)
    world.store.values.write_text("{}")
    world.legerd.put("a", b"ours")
    run = world.run("db=a")
    assert run.code == 1
    assert "did not make" in run.lines[0]


def test_a_refusal_of_podman_that_the_files_do_not_explain_is_passed_on(world: World) -> None:
    world.legerd.put("a", b"value")
    world.store.metadata.parent.mkdir(parents=True)
    world.store.metadata.mkdir()
    run = world.run("db=a")
    assert run.code == 1
    assert len(run.lines) == 1


def test_it_survives_a_second_kill_in_the_same_place(world: World) -> None:
    world.legerd.put("a", b"value")
    for _ in range(3):
        world.run("db=a")
        world.store.metadata.write_text("")
    assert world.run("db=a").code == 0
    assert world.store.value("db") == b"value"
