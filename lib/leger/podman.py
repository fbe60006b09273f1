"""What the library asks of podman besides running units: networks, secrets, built images."""

from __future__ import annotations

import json
from collections.abc import Iterable

from leger import processes

LABEL = "io.leger.source"


def remove_network(name: str) -> None:
    """Remove the Podman network `name`, unless something uses it."""
    processes.run(["podman", "network", "rm", name], timeout=120)


def remove_image(name: str) -> None:
    """Remove the image `name`, unless something uses it."""
    processes.run(["podman", "image", "rm", "--ignore", name], timeout=120)


def has_image(name: str) -> bool:
    """Whether podman has the image `name`."""
    return processes.run(["podman", "image", "exists", name], timeout=60).code == 0


def own_secrets(names: Iterable[str]) -> list[str]:
    """Those Podman secrets among `names` that Leger made, by their label."""
    wanted = set(names)
    if not wanted:
        return []
    done = processes.run(["podman", "secret", "ls", "--format", "{{.Name}}"], timeout=60)
    present = sorted(wanted.intersection(done.stdout.decode(errors="replace").split()))
    if not present:
        return []
    told = processes.run(["podman", "secret", "inspect", *present], timeout=60)
    rows = json.loads(told.stdout) if told.code == 0 else []
    return [row["Spec"]["Name"] for row in rows if LABEL in (row["Spec"].get("Labels") or {})]


def remove_secrets(names: Iterable[str]) -> None:
    """Remove these Podman secrets."""
    wanted = list(names)
    if wanted:
        processes.run(["podman", "secret", "rm", "--ignore", *wanted], timeout=60)
