"""switch.json: what an interrupted switch has still to stop, start and judge.

It is written before the first unit is stopped and removed when the generation was judged. Which
side of the commit point a switch stands on is not in it: units.json says that.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Self

from leger import disk
from leger.errors import LegerError
from leger.generation import Point
from leger.scope import Scope

FORMAT = 1


@dataclass(frozen=True)
class Switch:
    """A switch from one generation to another.

    `boot` is the boot id it began in. `run` maps each unit that is touched to whether it is to
    run (it did before the first stop); `gone` are those that exist no longer. `adopt` are the
    host's own quadlet files that the target replaces, `restore` those that come back.
    `definitions` are the texts of deployments.d/NAME.yaml after the switch (None: no file),
    `previous` the same before it. `secrets` and `images` are Podman secrets and built images that
    nothing needs after it. `back` says that this switch itself goes back from a bad one.
    Times are seconds.
    """

    origin: Point
    target: Point
    boot: str
    stop: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    restart: tuple[str, ...] = ()
    start: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()
    run: Mapping[str, bool] = field(default_factory=dict)
    adopt: tuple[str, ...] = ()
    restore: tuple[str, ...] = ()
    definitions: Mapping[str, str | None] = field(default_factory=dict)
    previous: Mapping[str, str | None] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
    timeout: float = 60.0
    quiet: float = 5.0
    back: bool = False

    def save(self, scope: Scope) -> None:
        """Make it durable."""
        raw = {item.name: getattr(self, item.name) for item in fields(self)}
        raw |= {"origin": vars(self.origin), "target": vars(self.target), "format": FORMAT}
        disk.write_file(scope.switch, json.dumps(raw, indent=1).encode() + b"\n", 0o600)

    @classmethod
    def load(cls, scope: Scope) -> Self | None:
        """The switch that was interrupted; None if there is none. LegerError if unreadable."""
        if not scope.switch.exists():
            return None
        data = disk.read_file(scope.switch)
        try:
            return cls._parse(json.loads(data))
        except (ValueError, KeyError, TypeError) as error:
            raise LegerError(
                f"{scope.switch}: cannot be understood: {error}",
                hint=f"remove {scope.switch}, then deploy again",
            ) from error

    @classmethod
    def _parse(cls, raw: dict[str, Any]) -> Self:
        if raw.pop("format") != FORMAT:
            raise ValueError("unknown format")
        origin, target = Point(**raw.pop("origin")), Point(**raw.pop("target"))
        lists = {key: tuple(value) for key, value in raw.items() if isinstance(value, list)}
        return cls(origin, target, **(raw | lists))

    def committed(self, emitted: Point | None) -> bool | None:
        """Whether units.json is the target's; None if it is neither side's."""
        if emitted == self.target:
            return True
        before = emitted is None and self.origin == Point()
        return False if emitted == self.origin or before else None


def remove(scope: Scope) -> None:
    """Forget the switch: it is done."""
    if scope.switch.exists():
        scope.switch.unlink()
        disk.sync_folder(scope.switch.parent)


def boot_id() -> str:
    """What tells this boot from the next."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
