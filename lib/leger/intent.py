"""What `leger plan` shows and `leger apply` does: the definitions, and what drifted."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from leger import outlook
from leger.badcommits import Bad
from leger.changes import Changes
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


def jobs(drifts: Collection[Drift], changes: Changes, *, start: bool) -> dict[str, tuple[str, str]]:
    """What is to be restarted or started because it drifted: unit -> (verb, reason).

    What the switch touches anyway is left out; units stopped by hand only come with `start`.
    """
    wanted: dict[str, tuple[str, str]] = {}
    for item in drifts:
        verb = _verb(item, start=start)
        for unit in item.units if verb else ():
            if unit not in changes.why:
                wanted.setdefault(unit, (verb, item.message))
    return wanted


def _verb(item: Drift, *, start: bool) -> str:
    if item.repair in (Repair.TREE, Repair.RESTART, Repair.ASIDE):
        return "restart"
    if item.repair is Repair.START or (start and item.repair is Repair.ASKED):
        return "start"
    return ""


def _is_new(seen: Outlook, name: str) -> bool:
    return name in seen.new()
