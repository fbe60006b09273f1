"""Retention: by number and by age, and never what runs or the way back from it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from leger import config
from leger.config import Keep
from leger.errors import ConfigError
from leger.retention import forgettable
from leger.scope import Scope

DAY = 86400.0
HISTORY = {number: number * DAY for number in range(1, 11)}


def test_only_so_many_are_kept() -> None:
    assert forgettable(HISTORY, 10, 9, Keep(generations=3), 10 * DAY) == [1, 2, 3, 4, 5, 6, 7]


def test_the_age_of_a_generation_is_since_it_was_replaced() -> None:
    """What ran until yesterday is a day old, however long it ran."""
    history = {1: 0.0, 2: 100 * DAY, 3: 101 * DAY, 4: 140 * DAY}
    assert forgettable(history, 4, 3, Keep(days=45), 141 * DAY) == []
    assert forgettable(history, 4, 3, Keep(days=40), 141 * DAY) == [1]


def test_the_way_back_is_kept_however_old() -> None:
    assert forgettable(HISTORY, 10, 4, Keep(1, 1), 1000 * DAY) == [1, 2, 3, 5, 6, 7, 8, 9]


@given(
    st.dictionaries(st.integers(1, 40), st.floats(0, 1e6), min_size=1),
    st.integers(1, 9),
    st.integers(1, 9),
    st.data(),
)
def test_what_is_needed_is_never_forgotten(
    created: dict[int, float], count: int, days: int, data: st.DataObject
) -> None:
    current = data.draw(st.sampled_from(sorted(created)))
    before = data.draw(st.sampled_from([0, *(n for n in created if n < current)]))
    gone = forgettable(created, current, before, Keep(count, days), 1e6)
    assert not {current, before} & set(gone)
    assert len(created) - len(gone) <= count + 2
    assert gone == sorted(gone)


def test_config_says_how_many_and_how_long(tmp_path: Path) -> None:
    scope = Scope.system(tmp_path)
    assert config.load(scope).keep == Keep(10, 30)
    scope.etc.mkdir(parents=True)
    scope.config.write_text("keep: {generations: 3, days: 7}\n")
    assert config.load(scope).keep == Keep(3, 7)
    scope.config.write_text("keep:\n  generations: 0\n")
    with pytest.raises(ConfigError, match=r"config\.yaml:2: a number from 1"):
        config.load(scope)
