"""What the library asks of podman besides running units: networks, secrets, built images."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

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


def missing(kind: str, wanted: Mapping[str, str], *, thorough: bool) -> list[str]:
    """The keys of `wanted` whose network, volume or container of that name podman does not have.

    Unless `thorough`, podman is asked only if one is not where podman keeps it by default.
    """
    if not wanted or (not thorough and all(_kept(kind, name).exists() for name in wanted.values())):
        return []
    form = "{{.Names}}" if kind == "container" else "{{.Name}}"
    done = processes.run(["podman", kind, "ls", "--format", form], timeout=60)
    if done.code != 0:
        return []
    present = set(done.stdout.decode(errors="replace").split())
    return [key for key, name in wanted.items() if name not in present]


def _kept(kind: str, name: str) -> Path:
    """Where podman keeps a network or a volume, unless it is configured otherwise."""
    root = os.getuid() == 0
    storage = Path("/var/lib" if root else Path.home() / ".local/share") / "containers/storage"
    if kind == "volume":
        return storage / "volumes" / name
    return (Path("/etc/containers") if root else storage) / "networks" / f"{name}.json"


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
