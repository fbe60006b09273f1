"""What was accepted of a remote: its branches and tags as they were when they were last fetched.

It lies beside the mirror, not in it: a mirror may be made anew, this may not be forgotten, or a
branch that was rewound would be taken for a new one. A branch that was rewound may be accepted for
some deployments only; what it was before is held for the others that follow it. And since it says
how the mirror looked then, a fetch that finds nothing new asks Git nothing but what the remote has.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from leger import disk

Accept = bool | Collection[str]  # of rewinds: for all deployments, none, or those named
_TEXTS = ("reference", "id", "commit")


@dataclass(frozen=True)
class Reference:
    """What a name meant: the remote's reference, the object it had, and that object's commit."""

    reference: str
    id: str
    commit: str

    @property
    def is_tag(self) -> bool:
        return self.reference.startswith("refs/tags/")


@dataclass(frozen=True)
class Accepted:
    """The references of one remote by the name that a deployment gives; the mirror's `shape`.

    `held` is what a name still means to a deployment for which no rewind was accepted, by
    "DEPLOYMENT NAME". `trees` is the branch or tag that a browser's address was taken to begin
    with, by "DEPLOYMENT BRANCH/PATH": it stays, whatever is pushed later.
    """

    references: Mapping[str, Reference] = field(default_factory=dict)
    shape: str = ""
    held: Mapping[str, Reference] = field(default_factory=dict)
    trees: Mapping[str, str] = field(default_factory=dict)

    def of(self, deployment: str, name: str) -> Reference | None:
        """What `name` means to `deployment`; None if it was never accepted."""
        return self.held.get(key(deployment, name)) or self.references.get(name)

    def branch(self, deployment: str, tree: str) -> str:
        """With what branch or tag the `tree` of a deployment's address begins; "" is not known."""
        return self.trees.get(key(deployment, tree), "")

    def without(self, deployment: str) -> Accepted:
        """The same, with nothing that is known for `deployment` alone."""
        begin = f"{deployment} "
        held = {one: had for one, had in self.held.items() if not one.startswith(begin)}
        trees = {one: name for one, name in self.trees.items() if not one.startswith(begin)}
        return replace(self, held=held, trees=trees)

    @classmethod
    def load(cls, path: Path) -> Accepted:
        """Read `path`; nothing was accepted where there is no such file, or none of ours."""
        try:
            raw = json.loads(path.read_bytes())
            references, held = _read(raw["references"]), _read(raw.get("held", {}))
            trees = {str(one): str(name) for one, name in raw.get("trees", {}).items()}
            return cls(references, str(raw["shape"]), held, trees)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return cls()

    def save(self, path: Path) -> None:
        """Write it durably."""
        disk.write_file(path, f"{json.dumps(asdict(self), indent=1)}\n".encode(), mode=0o600)


def accepts(accept_rewind: Accept, name: str) -> bool:
    """Whether a rewind is accepted for the deployment `name`."""
    return accept_rewind if isinstance(accept_rewind, bool) else name in accept_rewind


def key(deployment: str, name: str) -> str:
    """Under what is known for a deployment alone: none has a space in its own name."""
    return f"{deployment} {name}"


def _read(raw: Any) -> dict[str, Reference]:
    return {
        str(name): Reference(*(str(item[text]) for text in _TEXTS)) for name, item in raw.items()
    }


def shape(mirror: Path) -> str:
    """How a bare repository looks from outside: its files' names and sizes, nothing is read.

    What a power cut leaves of it (an empty pack, an empty HEAD) has another shape.
    """
    paths = [mirror / "HEAD", mirror / "config"]
    paths += sorted((mirror / "objects/pack").glob("pack-*"))
    paths += sorted(path for path in (mirror / "refs").rglob("*") if path.is_file())
    return " ".join(f"{path.name}={path.stat().st_size}" for path in paths if path.exists())
