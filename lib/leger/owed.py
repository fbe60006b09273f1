"""Restarts that units are owed: a file that they read, or that won over them, was put right, and
they run with what it was before.

Noted before such a file is touched, since nothing else shows it afterwards. The note lies in /run:
a boot starts all units anyway.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Self

from leger import changes, disk, properties
from leger.errors import LegerError
from leger.scope import Scope

_BEGAN = "InactiveExitTimestampMonotonic"


@dataclass(frozen=True)
class _Debt:
    """Why a unit is to restart, if it began before `since` (microseconds of systemd's clock)."""

    why: str
    since: int

    @classmethod
    def load(cls, scope: Scope) -> dict[str, Self]:
        """What is noted, by unit; nothing if it cannot be understood."""
        try:
            raw = json.loads(disk.read_file(scope.owed))
            return {str(name): cls(str(why), int(since)) for name, (why, since) in raw.items()}
        except (LegerError, ValueError, TypeError, AttributeError):
            return {}


def note(scope: Scope, due: Mapping[str, str]) -> None:
    """Remember that the units `due`, as they run now, have to restart, and why; a template stands
    for its instances. Raises LegerError when the disk refuses.
    """
    if not due:
        return
    now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    debts = _Debt.load(scope) | {name: _Debt(why, now) for name, why in due.items()}
    raw = {name: (debt.why, debt.since) for name, debt in debts.items()}
    disk.make_folder(scope.owed.parent, 0o755)
    disk.write_file(scope.owed, json.dumps(raw).encode() + b"\n", 0o600)


def read(scope: Scope, units: Iterable[str]) -> dict[str, str]:
    """Those of `units` that have to restart, if they run, and why: they began before the note."""
    noted = _Debt.load(scope)
    debts = {
        unit: debt
        for unit in units
        if (debt := noted.get(unit) or noted.get(changes.template_of(unit)))
    }
    shown = properties.show(debts, (_BEGAN,), user=scope.name == "user")
    return {
        unit: debts[unit].why
        for unit, one in shown.items()
        if int(one.get(_BEGAN) or 0) <= debts[unit].since
    }
