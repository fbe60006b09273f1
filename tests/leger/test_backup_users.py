"""Who uses what is saved: who is stopped, paused, kept from starting, or only warned of."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from leger.backup import what
from leger.model import Built, Compiled, Tree, Unit
from leger.scope import Scope

PODMAN = """#!/bin/sh
case $1 in
ps) echo c1 c2 ;;
inspect) cat <<'END'
{}
END
;;
esac
"""


def container(id_: str, unit: str) -> dict[str, object]:
    """A running container of `unit` that mounts the volume `store`, as podman inspects it."""
    return {
        "Id": id_,
        "Name": f"name-of-{id_}",
        "Config": {"Labels": {"PODMAN_SYSTEMD_UNIT": unit}},
        "Mounts": [{"Name": "store", "Source": "/volumes/store/_data"}],
    }


@pytest.fixture
def compiled(scope: Scope, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Compiled:
    """db.service runs with a container and job.service would, a writer without; c2 is a guest."""
    program = tmp_path / "bin/podman"
    program.parent.mkdir()
    running = [container("c1", "db.service"), container("c2", "")]
    program.write_text(PODMAN.format(json.dumps(running)))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")
    texts = {
        "db.service": ("container", "ExecStart=podman run -v store:/store x"),
        "job.service": ("container", "ExecStart=podman run -v store:/store x"),
        "writer.service": ("plain", f"ExecStart=/bin/writer {scope.data}/shop/log"),
        "other.service": ("plain", "ExecStart=/bin/other"),
        "job.timer": ("plain", ""),
    }
    units = {
        name: Unit(name, "shop", kind, name, f"[Service]\n{text}\n", "")
        for name, (kind, text) in texts.items()
    }
    built = Built("shop", "c", "s", Tree(tmp_path / "t", "1", {}), units, ())
    return Compiled({"shop": built}, {}, {}, (), {})


def test_who_is_stopped_paused_held_and_warned_of(scope: Scope, compiled: Compiled) -> None:
    active = dict.fromkeys(compiled.deployments["shop"].units, True) | {"job.service": False}
    users = what.users(scope, compiled, ["store"], "shop", active)
    assert users.units == ("job.timer", "db.service", "writer.service")
    assert users.plain == ("writer.service",)
    assert users.held == ("db.service", "job.service", "job.timer", "writer.service")
    assert users.containers == ("c1",)
    assert users.strangers == ("name-of-c2",)


def test_nobody_is_left_once_all_are_stopped_but_a_guest(scope: Scope, compiled: Compiled) -> None:
    active = dict.fromkeys(compiled.deployments["shop"].units, False) | {"job.timer": True}
    users = what.users(scope, compiled, ["store"], "shop", active)
    assert users.units == ()
    assert users.strangers == ("name-of-c1", "name-of-c2")
    assert users.containers == ()
