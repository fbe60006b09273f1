"""What was accepted of a remote: its branches and tags as they were when they were last fetched.

It lies beside the mirror, not in it: a mirror may be made anew, this may not be forgotten, or a
branch that was rewound would be taken for a new one. And since it says how the mirror looked then,
a fetch that finds nothing new asks Git nothing but what the remote has.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from leger import disk

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
    """The references of one remote by the name that a deployment gives; the mirror's `shape`."""

    references: Mapping[str, Reference] = field(default_factory=dict)
    shape: str = ""

    @classmethod
    def load(cls, path: Path) -> Accepted:
        """Read `path`; nothing was accepted where there is no such file, or none of ours."""
        try:
            raw = json.loads(path.read_bytes())
            references = {
                str(name): Reference(*(str(item[key]) for key in _TEXTS))
                for name, item in raw["references"].items()
            }
            return cls(references, str(raw["shape"]))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return cls()

    def save(self, path: Path) -> None:
        """Write it durably."""
        disk.write_file(path, f"{json.dumps(asdict(self), indent=1)}\n".encode(), mode=0o600)


def shape(mirror: Path) -> str:
    """How a bare repository looks from outside: its files' names and sizes, nothing is read.

    What a power cut leaves of it (an empty pack, an empty HEAD) has another shape.
    """
    paths = [mirror / "HEAD", mirror / "config"]
    paths += sorted((mirror / "objects/pack").glob("pack-*"))
    paths += sorted(path for path in (mirror / "refs").rglob("*") if path.is_file())
    return " ".join(f"{path.name}={path.stat().st_size}" for path in paths if path.exists())
