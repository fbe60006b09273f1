"""Deployments that a machine follows, each with a repository and one container of its name."""

from __future__ import annotations

import json
import shlex
from typing import Any

import turning
from machine import Machine
from system.application import IMAGE, commit

FOLDER = "/etc/leger/deployments.d"


def container(version: int, *lines: str, image: str = IMAGE, run: str = "sleep infinity") -> str:
    return turning.container(*lines, image=image, run=run, version=version)


def define(machine: Machine, name: str, *lines: str) -> None:
    text = "\n".join([f"source: /srv/{name}", "health: {timeout: 20s, quiet: 1s}", *lines, ""])
    machine.sh(f"mkdir -p {FOLDER}\nprintf %s {shlex.quote(text)} >{FOLDER}/{name}.yaml")


def author(machine: Machine, name: str, version: int, **options: str) -> str:
    """A commit in the repository of `name`, which has one container of that name."""
    return commit(machine, {f"{name}.container": container(version, **options)}, f"/srv/{name}")


def versions(machine: Machine) -> dict[str, str]:
    """What runs: the version of each container."""
    form = '{{.Names}} {{index .Labels "version"}}'
    lines = machine.run("podman", "ps", "--format", form).stdout.splitlines()
    return {
        name.removeprefix("systemd-"): version
        for name, _, version in (line.partition(" ") for line in lines)
    }


def process(machine: Machine, name: str) -> str:
    form = "{{.State.Pid}}"
    return machine.run("podman", "inspect", "--format", form, f"systemd-{name}").stdout.strip()


def answer(machine: Machine, *argv: str, code: int = 0) -> dict[str, Any]:
    done = machine.run("leger", *argv, "--json", check=False)
    assert done.code == code, (done.code, done.stdout, done.stderr)
    return dict(json.loads(done.stdout))
