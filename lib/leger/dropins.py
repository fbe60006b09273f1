"""Drop-ins for a whole type (container.d/) or prefix (web-.container.d/) of a deployment.

Quadlet would apply them to every deployment of the run, so each becomes drop-ins of the single
units of its own deployment.
"""

from __future__ import annotations

from collections.abc import Mapping

from leger import quadlet, sources
from leger.tree import File


def expand(files: Mapping[str, File]) -> tuple[dict[str, File], dict[str, str]]:
    """`files` with shared drop-ins expanded; and for each new file the one it is a copy of."""
    shared = {path for path in files if _is_shared(sources.dropin_target(path))}
    if not shared:
        return dict(files), {}
    kept = {path: file for path, file in files.items() if path not in shared}
    origins: dict[str, str] = {}
    by_target: dict[str, list[str]] = {}
    for path in sorted(filter(sources.dropin_target, files)):
        by_target.setdefault(sources.dropin_target(path), []).append(path)
    for path in filter(quadlet.is_quadlet, sorted(files)):
        for name, dropin in sources.chosen(path, by_target).items():
            if dropin in shared:
                copy = f"{path}.d/{name}"
                kept[copy] = files[dropin]
                origins[copy] = dropin
    return kept, origins


def _is_shared(target: str) -> bool:
    stem, _, suffix = target.rpartition(".")
    return target in quadlet.SUFFIXES or (suffix in quadlet.SUFFIXES and stem.endswith("-"))
