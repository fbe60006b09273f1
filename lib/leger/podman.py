"""What the library asks of podman besides running units: networks, secrets, built images."""

from __future__ import annotations

import json
from collections.abc import Iterable

from leger import processes

LABEL = "io.leger.source"


def remove_network(name: str) -> str:
    """Remove the Podman network `name` if it is there and unused; podman's word if it refuses."""
    return _said(["podman", "network", "rm", name])


def remove_image(name: str) -> str:
    """Remove a built image if nothing uses it; podman's word if it refuses."""
    return _said(["podman", "image", "rm", "--ignore", name])


def own_secrets(names: Iterable[str]) -> list[str]:
    """Those Podman secrets among `names` that Leger made, by their label."""
    wanted = set(names)
    if not wanted:
        return []
    done = processes.run(["podman", "secret", "ls", "--format", "json"], timeout=60)
    if done.code != 0 or not done.stdout.strip():
        return []
    present = sorted(
        wanted & {item.get("Name") or item.get("name") for item in json.loads(done.stdout)}
    )
    if not present:
        return []
    told = processes.run(["podman", "secret", "inspect", *present], timeout=60)
    rows = json.loads(told.stdout or b"[]")
    return [row["Spec"]["Name"] for row in rows if LABEL in (row["Spec"].get("Labels") or {})]


def remove_secrets(names: Iterable[str]) -> None:
    """Remove these Podman secrets."""
    wanted = list(names)
    if wanted:
        processes.run(["podman", "secret", "rm", "--ignore", *wanted], timeout=60)


def _said(command: list[str]) -> str:
    done = processes.run(command, timeout=120)
    return "" if done.code in (0, 1) else done.message
