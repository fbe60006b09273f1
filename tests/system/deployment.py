"""One deployment in a machine, changed commit by commit, and what is to be seen of its units."""

from __future__ import annotations

import json

from machine import Machine
from system.application import IMAGE, commit

QUICK = "health: {timeout: 30s, quiet: 200ms}\n"


def container(*lines: str, service: tuple[str, ...] = (), install: str = "multi-user") -> str:
    parts = ["[Container]", f"Image={IMAGE}", "RunInit=true", "StopTimeout=1", *lines]
    if not any(line.startswith("Exec=") for line in lines):
        parts.append("Exec=sleep infinity")
    parts += ["[Service]", *service]
    if install:
        parts += ["[Install]", f"WantedBy={install}.target"]
    return "\n".join([*parts, ""])


class Deployed:
    """One deployment from a repository of its own in a machine."""

    def __init__(self, machine: Machine, name: str) -> None:
        self.machine, self.name, self.repository = machine, name, f"/srv/{name}"

    def commit(self, tree: dict[str, str], *, quick: bool = True) -> None:
        """Commit the tree; with a short quiet time unless it says another."""
        settings = {".leger.yaml": QUICK} if quick else {}
        commit(self.machine, tree | settings, self.repository)

    def install(self, tree: dict[str, str], *more: str) -> dict[str, list[str]]:
        """Commit the tree and deploy it; what was stopped, restarted, started."""
        self.commit(tree)
        argv = ("leger", "deploy", "install", self.name, self.repository, "--json", *more)
        changes = json.loads(self.machine.run(*argv, timeout=120).stdout)["changes"]
        assert isinstance(changes, dict)
        return changes

    def fail(self, tree: dict[str, str]) -> str:
        """Commit a tree whose deploy must fail; what it said."""
        self.commit(tree)
        argv = ("leger", "deploy", "install", self.name, self.repository)
        done = self.machine.run(*argv, check=False, timeout=120)
        assert done.code != 0
        return done.stderr

    def remove(self) -> None:
        self.machine.run("leger", "deploy", "remove", self.name, "--yes")


def active(machine: Machine, *names: str) -> list[str]:
    return machine.run("systemctl", "is-active", *names, check=False).stdout.split()


def pid(machine: Machine, name: str) -> str:
    return machine.run("podman", "inspect", "-f", "{{.State.Pid}}", name).stdout.strip()
