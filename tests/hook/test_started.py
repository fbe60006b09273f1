"""Which unit a hook runs for, by its control group."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hook.world import World
from leger_hook.started import unit_of


@pytest.mark.parametrize(
    ("text", "unit", "is_users"),
    [
        ("0::/system.slice/web.service\n", "web.service", False),
        ("0::/system.slice/web.service/.control\n", "web.service", False),
        ("0::/system.slice/system-app.slice/app@a.service\n", "app@a.service", False),
        ("0::/user.slice/user-0.slice/user@0.service/app.slice/x.service\n", "x.service", True),
        ("1:name=systemd:/old.service\n0::/system.slice/new.service\n", "new.service", False),
        ("0::/user.slice/user-0.slice/session-1.scope\n", "", False),
        ("", "", False),
    ],
)
def test_the_innermost_service_counts(text: str, unit: str, is_users: bool) -> None:
    assert unit_of(text) == (unit, is_users)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with World(tmp_path).up() as up:
        yield up


def started(world: World, unit: str) -> object:
    return json.loads((world.runtime / "leger/started" / unit).read_text())


def test_a_unit_is_noted_with_the_tags_of_what_it_got(world: World) -> None:
    world.legerd.put("web/db", b"sesame")
    world.legerd.put("web/key", b"private")
    assert world.run("--for=web.service", "db=web/db", "tls/key=web/key").code == 0
    tags = {"db": world.store.labels("db")["io.leger.tag"]}
    tags["tls/key"] = json.loads(world.store.labels("tls")["io.leger.tag"])["key"]
    assert started(world, "web.service") == tags
    world.legerd.put("web/db", b"another")
    assert world.run("--for=other.service", "db=web/db").code == 0
    assert started(world, "web.service") == tags
    assert started(world, "other.service") == {"db": world.store.labels("db")["io.leger.tag"]}


def test_without_legerd_it_is_noted_with_what_podman_holds(world: World) -> None:
    world.legerd.put("web/db", b"sesame")
    assert world.run("db=web/db").code == 0
    world.legerd.mode = "fail"
    assert world.run("--for=web.service", "db=web/db").code == 0
    assert started(world, "web.service") == {"db": world.store.labels("db")["io.leger.tag"]}


def test_what_failed_is_noted_with_nothing(world: World) -> None:
    assert world.run("--for=web.service", "db=web/db").code == 1
    assert started(world, "web.service") == {}


def test_nothing_is_noted_for_no_unit(world: World) -> None:
    world.legerd.put("web/db", b"sesame")
    assert world.run("--for=", "db=web/db").code == 0
    assert world.run("--for=", "db=web/none").code == 1
    assert not (world.runtime / "leger/started").exists()


def test_root_notes_for_another_users_hook_what_there_is_to_get(world: World) -> None:
    """Podman is not touched: the secret goes to that user's."""
    world.legerd.put("web/db", b"sesame")
    assert world.run("--note", "--for=web.service", "db=web/db", "none=web/none").lines == []
    assert list(started(world, "web.service")) == ["db"]
    noted = started(world, "web.service")
    assert world.api.calls == []
    assert "sesame" not in world.spied()
    for mode in ("fail", "refuse", "talk nonsense"):
        world.legerd.mode = mode
        assert world.run("--note", "--for=web.service", "db=web/db").code == 0
        assert started(world, "web.service") == noted
    world.legerd.mode = "well"
    assert world.run("--for=web.service", "db=web/db").code == 0
    assert started(world, "web.service") == noted
