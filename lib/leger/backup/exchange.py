"""The pairs of folders of a restore change places: all of them, or none."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from leger.backup.inside import Inside
from leger.backup.journal import Pair, Work
from leger.errors import LegerError
from leger.scope import Scope


def carry_out(scope: Scope, work: Work) -> None:
    """Exchange the pairs that are not exchanged yet, and take them out of the journal.

    May be done again after it was interrupted. Raises LegerError where one cannot be exchanged:
    then the others are as they were, or stay in the journal if they cannot go back.
    """
    steps = Inside.of(scope)
    try:
        for pair in _pairs(steps, work, exchanged=False):
            steps.exchange(Path(pair.restored), Path(pair.used), pair.owner)
    except LegerError as error:
        _go_back(steps, work, error)
        replace(work, pairs=()).save(scope)
        raise LegerError(f"{error}; nothing was replaced", hint=error.hint) from error
    replace(work, pairs=()).save(scope)


def _go_back(steps: Inside, work: Work, reason: LegerError) -> None:
    try:
        for pair in _pairs(steps, work, exchanged=True):
            steps.exchange(Path(pair.restored), Path(pair.used), None)
    except LegerError as error:
        told = ", ".join(
            f"{pair.used} (what it held lies in {pair.restored})"
            for pair in _pairs(steps, work, exchanged=True)
        )
        raise LegerError(
            f"{reason}; and {error}: replaced are only {told}",
            hint="once it can be done, leger settle finishes the restore",
        ) from error


def _pairs(steps: Inside, work: Work, *, exchanged: bool) -> Iterator[Pair]:
    """The pairs whose folder in use is, or is not, another than it was."""
    states = steps.status(Path(pair.used) for pair in work.pairs)
    for pair, status in zip(work.pairs, states, strict=True):
        if status is not None and (status.inode != pair.inode) == exchanged:
            yield pair
