"""`backup:` of a deployment: what is saved, how quietly, and how long it is kept."""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass, fields
from typing import Self

from leger.yamlfile import Node, Plain

METHODS = ("stop", "pause", "run")


@dataclass(frozen=True)
class Rules:
    """How a deployment is backed up.

    `before_update` makes a backup before each update that touches its units. The newest `keep`
    are kept (0: all), and none that is older than `days` (0: any age) but the newest.
    `method` is what happens to the units meanwhile: stop, pause or run (on). `volumes` are saved
    besides those that the quadlets name; `exclude` are patterns of volumes, and of paths in data.
    """

    before_update: bool = False
    keep: int = 7
    days: int = 0
    method: str = "stop"
    volumes: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    @classmethod
    def parse(cls, node: Node) -> Self:
        """Read `backup:`. Raises ConfigError naming file and line."""
        keys = node.mapping([item.name.replace("_", "-") for item in fields(cls)])
        return cls(**{key.replace("-", "_"): _READERS[key](value) for key, value in keys.items()})

    def plain(self) -> dict[str, Plain]:
        """As `parse` reads it: what differs from the defaults."""
        default = Rules()
        found: dict[str, Plain] = {}
        for item in fields(self):
            value = getattr(self, item.name)
            if value != getattr(default, item.name):
                found[item.name.replace("_", "-")] = (
                    list(value) if isinstance(value, tuple) else value
                )
        return found

    def leaves_out(self, name: str) -> bool:
        """Whether `exclude` names a volume, a path, or a folder that the path lies in."""
        return excluded(name, self.exclude)


def excluded(path: str, patterns: tuple[str, ...]) -> bool:
    """Whether one of `patterns` (as a shell has them) matches `path` or a folder above it."""
    parts = path.split("/")
    above = ["/".join(parts[: count + 1]) for count in range(len(parts))]
    return any(fnmatch.fnmatchcase(one, pattern) for pattern in patterns for one in above)


def _count(node: Node) -> int:
    if not 1 <= node.integer() <= 10_000:
        raise node.error("a number from 1 to 10000 is expected")
    return node.integer()


_READERS = {
    "before-update": Node.boolean,
    "keep": _count,
    "days": _count,
    "method": lambda node: node.choice(METHODS),
    "volumes": Node.texts,
    "exclude": Node.texts,
}
