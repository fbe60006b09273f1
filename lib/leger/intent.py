"""What `leger plan` shows and `leger apply` does: the definitions, and what drifted."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from leger import outlook
from leger.badcommits import Bad
from leger.drift import Drift, Repair
from leger.outlook import Outlook
from leger.planning import Wish
from leger.scope import Scope


@dataclass(frozen=True)
class Intent:
    """`wish` is what a plan is to be made of; `waiting` are commits that were given up before."""

    outlook: Outlook
    wish: Wish
    waiting: tuple[Bad, ...] = ()


def read(scope: Scope, names: Collection[str], *, fetch: bool, retry: bool = False) -> Intent:
    """What the definitions of `names` (or all) ask for, with `fetch` at their newest commits.

    What is named is prepared anew even if nothing of it is new.
    Raises UsageError for an unknown name, LegerError for the host's own files.
    """
    seen = outlook.look(scope, names, fetch=fetch)
    bad = {} if retry else {name: item for name, item in seen.bad.items() if _is_new(seen, name)}
    chosen = seen.wanted if names else seen.new()
    targets = tuple(target for name, target in sorted(chosen.items()) if name not in bad)
    return Intent(seen, Wish(targets, seen.vanished), tuple(bad.values()))


def restarts(drifts: Iterable[Drift]) -> dict[str, str]:
    """The units that are to restart, if they run, because of what drifted, and why."""
    repairs = (Repair.TREE, Repair.RESTART, Repair.ASIDE)
    return _units(item for item in drifts if item.repair in repairs)


def starts(drifts: Iterable[Drift], *, asked: bool) -> dict[str, str]:
    """The units that are to start because they are down, and why; those that somebody stopped only
    if that is `asked` for.
    """
    repairs = (Repair.START, *((Repair.ASKED,) if asked else ()))
    return _units(item for item in drifts if item.repair in repairs)


def _units(drifts: Iterable[Drift]) -> dict[str, str]:
    found: dict[str, str] = {}
    for item in drifts:
        for unit in item.units:
            found.setdefault(unit, item.message)
    return found


def _is_new(seen: Outlook, name: str) -> bool:
    return name in seen.new()
