"""The generator's note in /run: what it emitted last in this boot, and what it complained of."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Self

from leger import disk
from leger.errors import LegerError
from leger.generation import Point
from leger.scope import Scope


@dataclass(frozen=True)
class Note:
    """`source` says which copy of units.json was taken; `rendered` that quadlet was replaced, so
    that the units are what the new one makes; `problems` are the generator's own messages.
    """

    point: Point
    source: str
    rendered: bool
    problems: tuple[str, ...]

    @property
    def is_stand_in(self) -> bool:
        """Whether units.json could not be used and a copy of it, or the one before, was."""
        return self.source != "units.json"

    @classmethod
    def read(cls, scope: Scope) -> Self | None:
        """The note of `scope`; None if there is none that can be understood."""
        try:
            raw = json.loads(disk.read_file(scope.runtime / "emitted.json"))
            return cls(
                Point(int(raw["generation"]), str(raw["blake2b"])),
                str(raw.get("source", "")),
                raw.get("rendered") is True,
                tuple(map(str, raw.get("problems", ()))),
            )
        except (LegerError, ValueError, KeyError, TypeError, AttributeError):
            return None


def point(scope: Scope) -> Point | None:
    """The generation that the generator emitted last in this boot; None if it left no note."""
    note = Note.read(scope)
    return note.point if note else None
