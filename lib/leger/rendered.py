"""What the host's quadlet made of trees, so that it is not run once more over the same ones.

A plan and the apply that follows it compile the same trees; of a thousand quadlets that costs as
much as the rest of the compile. The last outcome is kept beside the mirrors, with a checksum over
all that went into it. Losing it costs time only.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from leger_generator.identity import quadlet_identity

from leger import __version__, disk, quadlet
from leger.errors import LegerError
from leger.model import Tree
from leger.quadlet import Output
from leger.scope import Scope

MAX_BYTES = 256 << 20


def run(
    place: Path | None, binary: Path, trees: Sequence[Tree], *, user: bool, timeout: float
) -> Output:
    """As `quadlet.run` over the folders of `trees`, unless the file `place` has what it yields.

    Only what quadlet had nothing to say about is kept. Raises QuadletError.
    """
    key = _key(binary, trees, user=user)
    known = _load(place, key) if place else None
    if known is not None:
        return known
    made = quadlet.run(binary, [tree.path for tree in trees], user=user, timeout=timeout)
    if place and not made.messages:
        _save(place, key, made)
    return made


def memory(scope: Scope) -> Path:
    """Where it is kept for `scope`."""
    return scope.sources / "rendered.json"


def _key(binary: Path, trees: Sequence[Tree], *, user: bool) -> str:
    parts = (
        __version__,
        quadlet_identity(str(binary)),
        [(str(tree.path), tree.digest) for tree in trees],
        user,
    )
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _load(place: Path, key: str) -> Output | None:
    try:
        raw = json.loads(disk.read_file(place, MAX_BYTES))
        return _parsed(raw["output"]) if raw["key"] == key else None
    except (LegerError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _parsed(raw: Any) -> Output:
    units, links, sources = (
        {str(path): str(text) for path, text in raw[part].items()}
        for part in ("units", "links", "sources")
    )
    return Output(units, links, (), sources)


def _save(place: Path, key: str, made: Output) -> None:
    raw = {"key": key, "output": asdict(made)}
    with contextlib.suppress(LegerError, OSError):
        disk.make_folder(place.parent)
        disk.write_file(place, json.dumps(raw, separators=(",", ":")).encode(), 0o600)
