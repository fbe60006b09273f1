"""Collections of quadlets as people keep them, deployed for real beside each other."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from machine import Machine

COLLECTIONS = Path(__file__).resolve().parents[1] / "data/collections"
RUNNING = {
    "cookbook": {"db.service", "web.service", "db-backup.timer", "recipes.target"},
    "library": {"player.service", "stack.service"},
}


@pytest.fixture(scope="module")
def host(shared_machine: Machine) -> Machine:
    machine = shared_machine
    for name in RUNNING:
        machine.push(COLLECTIONS / name, f"/srv/{name}")
        machine.sh(
            f"cd /srv/{name}; git init -q; git config user.name a; git config user.email a@b\n"
            "git add -Af; git commit -qm all"
        )
        machine.run("leger", "deploy", "install", name, f"/srv/{name}", timeout=300)
    return machine


@pytest.mark.parametrize("name", RUNNING)
def test_a_collection_runs_and_nothing_of_it_has_drifted(host: Machine, name: str) -> None:
    status = json.loads(host.run("leger", "status", "--json").stdout)
    deployment = next(one for one in status["deployments"] if one["name"] == name)
    units = {one["name"]: one for one in deployment["units"]}
    assert {unit for unit in RUNNING[name] if units[unit]["active"] != "active"} == set()
    assert [one for one in status["drift"] if one["deployment"] == name] == []


def test_what_lies_beside_the_quadlets_is_mounted_and_read(host: Machine) -> None:
    inside = host.run("podman", "exec", "recipe-db", "sh", "-c", "cat /etc/db/conf.d/*; env")
    assert "shared_buffers = 128MB" in inside.stdout
    assert "DB_OPTIONS='a b'" in inside.stdout
    assert (
        "{{ name }}"
        in host.run("podman", "exec", "recipe-web", "cat", "/usr/share/html/index.html").stdout
    )


def test_a_drop_in_for_a_whole_type_stays_in_its_collection(host: Machine) -> None:
    restart = ("systemctl", "show", "--value", "-p", "Restart")
    assert host.run(*restart, "player").stdout.strip() == "on-failure"
    assert host.run(*restart, "web").stdout.strip() == "no"


def test_what_a_collection_builds_can_be_started(host: Machine) -> None:
    host.run("systemctl", "start", "builder", timeout=200)
    assert host.run("podman", "exec", "systemd-builder", "cat", "/hello.txt").stdout == "hello\n"
