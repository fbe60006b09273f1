"""How many generations are kept, and how long: what of the history may be forgotten."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

from leger import generation
from leger.config import Keep
from leger.errors import LegerError
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


def forget(scope: Scope, current: int, keep: Keep, now: float) -> frozenset[str]:
    """Remove the files of the generations that may be forgotten.

    Returns the ids of the images that only they recorded.
    """
    created = {}
    for number in generation.numbers(scope):
        path = generation.units_path(scope, number)
        created[number] = path.stat().st_mtime if path.exists() else now
    before = generation.good_before(scope, current)
    gone = forgettable(created, current, before, keep, now)
    images = {number: _images(scope, number) for number in created} if gone else {}
    for number in gone:
        generation.forget(scope, number)
    kept = {id_ for number, ids in images.items() if number not in gone for id_ in ids}
    return frozenset(id_ for number in gone for id_ in images[number] if id_ not in kept)


def _images(scope: Scope, number: int) -> tuple[str, ...]:
    try:
        return generation.images_of(scope, number)
    except LegerError:
        return ()
