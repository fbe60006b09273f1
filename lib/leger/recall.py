"""What was compiled last, so that an `apply` does not do again what its `plan` has just done.

One file beside the mirrors: the outcome, a checksum over all that went into it, and what the host
answered meanwhile. Only an outcome without faults is kept. Losing it costs time only.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from leger import __version__, builtjson, disk
from leger.errors import LegerError
from leger.hostview import HostView
from leger.model import Compiled, Fault
from leger.prepare import Prepared
from leger.scope import Scope

MAX_BYTES = 256 << 20


def memory(scope: Scope) -> Path:
    """Where it is kept for `scope`."""
    return scope.sources / "compiled.json"


def key(prepared: Mapping[str, Prepared], *given: object) -> str:
    """A checksum over all that a compile of `prepared` is made of; `given` is what else."""
    items = {
        name: [
            *(item.tree.path, item.tree.digest, item.commit, item.deployment, item.author),
            *(item.warnings, item.origins, item.settings),
        ]
        for name, item in prepared.items()
    }
    text = json.dumps([__version__, items, given], default=_plain)
    return hashlib.sha256(text.encode()).hexdigest()


def _plain(value: object) -> object:
    """What JSON has no word for: paths, sets in one order, mappings, and our own classes."""
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, frozenset):
        return sorted(value)
    return dict(value) if isinstance(value, Mapping) else vars(value)


def load(scope: Scope, key: str) -> Compiled | None:
    """What was compiled last, if it was of the same and this host would not change it."""
    try:
        raw = json.loads(disk.read_file(memory(scope), MAX_BYTES))
        if raw["key"] != key or not HostView.gives(raw["asked"]):
            return None
        return _parsed(raw)
    except (LegerError, ValueError, KeyError, TypeError, AttributeError):
        return None


def save(scope: Scope, key: str, view: HostView, made: Compiled) -> None:
    """Keep `made` with what `view` answered. A disk that refuses is no reason to fail."""
    if made.faults:
        return
    raw = {
        "key": key,
        "asked": view.answers(),
        "deployments": {name: builtjson.dump(one) for name, one in made.deployments.items()},
        "files": made.files,
        "links": made.links,
        "search": made.search,
        "quadlet": made.quadlet,
        "warnings": [asdict(fault) for fault in made.warnings],
    }
    path = memory(scope)
    with contextlib.suppress(LegerError, OSError):
        disk.make_folder(path.parent)
        disk.write_file(path, json.dumps(raw, separators=(",", ":")).encode(), 0o600)


def forget(scope: Scope) -> None:
    """Remove what is kept."""
    memory(scope).unlink(missing_ok=True)


def _parsed(raw: Any) -> Compiled:
    files = raw["files"]
    return Compiled(
        deployments={
            str(name): builtjson.parse(name, one, files) for name, one in raw["deployments"].items()
        },
        files=files,
        links=raw["links"],
        search=tuple(map(str, raw["search"])),
        quadlet=raw["quadlet"],
        warnings=tuple(Fault(**item) for item in raw["warnings"]),
    )
