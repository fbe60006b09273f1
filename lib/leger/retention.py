"""How many generations are kept, and how long: what of the history may be forgotten."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping, Sequence

from leger import generation, manifests
from leger.config import Keep
from leger.manifests import Manifest
from leger.quantities import DAY
from leger.scope import Scope


def forgettable(
    created: Mapping[int, float],
    needed: Collection[int],
    good: Collection[int],
    keep: Keep,
    now: float,
) -> list[int]:
    """The generations that are neither wanted by `keep` nor needed, oldest first.

    `created` maps each number to when it was made (Unix time in seconds). The age of a generation
    is the time since it was replaced. Wanted are the newest, and as many of those that are `good`
    to go back to: failures and rotated secrets do not take their places.
    """
    numbers = sorted(created)
    replaced = {number: created[after] for number, after in itertools.pairwise(numbers)}
    recent = {*numbers[-keep.generations :], *sorted(good)[-keep.generations :]}
    return [
        number
        for number in numbers
        if number not in needed
        and (number not in recent or now - replaced.get(number, now) > keep.days * DAY)
    ]


def good(found: Sequence[Manifest]) -> list[int]:
    """Those of `found`, newest first, that were well and another than the good one after them."""
    chosen: list[Manifest] = []
    for manifest in found:
        if not manifest.bad and (not chosen or manifest.is_another(chosen[-1].contents)):
            chosen.append(manifest)
    return [manifest.number for manifest in chosen]


def forget(scope: Scope, current: int, keep: Keep, now: float) -> frozenset[str]:
    """Remove the files of the generations that may be forgotten.

    The current one stays, the last good one before it, and the last good one that had something
    else. Returns the ids of the images that only what is forgotten recorded.
    """
    created = {}
    for number in generation.numbers(scope):
        path = generation.units_path(scope, number)
        created[number] = path.stat().st_mtime if path.exists() else now
    if not forgettable(created, {current}, (), keep, now):
        return frozenset()
    found = list(manifests.newest_first(scope))
    needed = {current, generation.good_before(scope, current), _way_back(scope, found, current)}
    gone = forgettable(created, needed, good(found), keep, now)
    for number in gone:
        generation.forget(scope, number)
    kept = {id_ for one in found if one.number not in gone for id_ in one.images}
    return frozenset(id_ for one in found for id_ in one.images if id_ not in kept)


def _way_back(scope: Scope, found: Sequence[Manifest], current: int) -> int:
    now = next((one.contents for one in found if one.number == current), {})
    before = [one for one in found if one.number < current]
    back = manifests.way_back(scope, before, now)
    return back.number if back else 0
