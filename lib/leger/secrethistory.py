"""What legerd tells of a secret besides its values: who made its versions, what is said of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self


@dataclass(frozen=True)
class Made:
    """When (RFC 3339) and by whom a version was made; empty where that is not known."""

    version: int
    created: str
    creator: str


@dataclass(frozen=True)
class History:
    """All of it; `expires` (RFC 3339) is empty for never, `deleted` has the numbers used up."""

    name: str
    active: int
    versions: tuple[Made, ...]
    deleted: tuple[int, ...] = ()
    description: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    expires: str = ""

    @classmethod
    def parse(cls, raw: Mapping[str, Any]) -> Self:
        """Read what /api/leger/history answers."""
        return cls(
            name=str(raw["Name"]),
            active=int(raw["ActiveVersion"]),
            versions=tuple(
                Made(int(each["Version"]), each["Created"] or "", str(each["Creator"]))
                for each in raw["Versions"]
            ),
            deleted=tuple(map(int, raw["Deleted"])),
            description=str(raw["Description"]),
            labels={str(key): str(value) for key, value in raw["Labels"].items()},
            expires=raw["Expires"] or "",
        )

    def raw(self) -> dict[str, object]:
        """As `leger secrets info --json` prints it."""
        return {
            "name": self.name,
            "active": self.active,
            "versions": [made.version for made in self.versions],
            "history": [
                {"version": made.version, "created": made.created, "creator": made.creator}
                for made in self.versions
            ],
            "deleted": list(self.deleted),
            "description": self.description,
            "labels": dict(self.labels),
            "expires": self.expires,
        }
