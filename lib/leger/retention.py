"""How many generations are kept, and how long: what of the history may be forgotten."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

from leger import generation
from leger.config import Keep
from leger.quantities import DAY
from leger.scope import Scope


def forgettable(
    created: Mapping[int, float], current: int, before: int, keep: Keep, now: float
) -> list[int]:
    """The generations that are neither wanted by `keep` nor needed, oldest first.

    `created` maps each number to when it was made (Unix time in seconds). The age of a generation
    is the time since it was replaced. `current` is never forgotten, nor is `before`, the last good
    one before it: without that there would be no way back.
    """
    numbers = sorted(created)
    replaced = {number: created[after] for number, after in itertools.pairwise(numbers)}
    recent = set(numbers[-keep.generations :])
    return [
        number
        for number in numbers
        if number not in (current, before)
        and (number not in recent or now - replaced.get(number, now) > keep.days * DAY)
    ]


def forget(scope: Scope, current: int, keep: Keep, now: float) -> None:
    """Remove the files of the generations that may be forgotten."""
    created = {}
    for number in generation.numbers(scope):
        path = generation.units_path(scope, number)
        created[number] = path.stat().st_mtime if path.exists() else now
    for number in forgettable(created, current, generation.good_before(scope, current), keep, now):
        generation.forget(scope, number)
