"""Retention: by number and by age, and never what runs or the way back from it."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from leger import config, generation, manifests, retention
from leger.config import Keep
from leger.errors import ConfigError
from leger.generation import EMPTY, Current, Generation
from leger.model import Built, Tree
from leger.retention import forgettable
from leger.scope import Scope

DAY = 86400.0
HISTORY = {number: number * DAY for number in range(1, 11)}


def switched(scope: Scope, content: str, bad: str = "") -> Generation:
    """Switch to a generation of one deployment, and forget what config.yaml no longer wants."""
    built = Built("web", content, "", Tree(Path(f"/store/web-{content}"), content, {}), {}, ())
    made = generation.new(scope, replace(EMPTY, deployments={"web": built}), {}, "")
    saved = replace(made, bad=bad).save(scope)
    Current(saved.point, confirmed=True).write(scope)
    retention.forget(scope, saved.number, Keep(generations=3), time.time())
    return saved


def way_back(scope: Scope, current: Generation) -> str:
    """What `leger rollback` would bring back."""
    before = (one for one in manifests.newest_first(scope) if one.number < current.number)
    found = manifests.way_back(scope, before, manifests.contents(current))
    return found.compiled.deployments["web"].commit if found else ""


def test_only_so_many_are_kept() -> None:
    gone = forgettable(HISTORY, {10, 9}, (), Keep(generations=3), 10 * DAY)
    assert gone == [1, 2, 3, 4, 5, 6, 7]


def test_the_age_of_a_generation_is_since_it_was_replaced() -> None:
    """What ran until yesterday is a day old, however long it ran."""
    history = {1: 0.0, 2: 100 * DAY, 3: 101 * DAY, 4: 140 * DAY}
    assert forgettable(history, {4, 3}, (), Keep(days=45), 141 * DAY) == []
    assert forgettable(history, {4, 3}, (), Keep(days=40), 141 * DAY) == [1]


def test_the_way_back_is_kept_however_old() -> None:
    gone = forgettable(HISTORY, {10, 4}, (), Keep(1, 1), 1000 * DAY)
    assert gone == [1, 2, 3, 5, 6, 7, 8, 9]


def test_as_many_good_ones_are_kept_as_recent_ones() -> None:
    gone = forgettable(HISTORY, {10}, (10, 5, 3, 1), Keep(generations=3), 10 * DAY)
    assert gone == [1, 2, 4, 6, 7]
    assert forgettable(HISTORY, {10}, (10, 5, 3, 1), Keep(3, 5), 10 * DAY) == [1, 2, 3, 4, 6, 7]


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
    good = data.draw(st.sets(st.sampled_from(sorted(created))))
    gone = forgettable(created, {current, before}, good, Keep(count, days), 1e6)
    assert not {current, before} & set(gone)
    assert len(created) - len(gone) <= 2 * count + 2
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


def test_failures_do_not_push_the_way_back_out(scope: Scope) -> None:
    """Each failed commit leaves two generations: itself, and the one that goes back from it."""
    for content in ("old", "a", "b"):
        last = switched(scope, content)
    for number in range(8):
        switched(scope, f"failed-{number}", bad="web.service failed")
        last = switched(scope, "b")
    assert way_back(scope, last) == "a"
    assert generation.numbers(scope)[0] == 1  # of three good ones that differ none is lost


def test_rotated_secrets_do_not_push_the_way_back_out(scope: Scope) -> None:
    for content in ("a", *"bbbbbbbb"):
        last = switched(scope, content)
    assert way_back(scope, last) == "a"


def test_after_many_good_ones_the_oldest_go(scope: Scope) -> None:
    for content in "abcdef":
        switched(scope, content)
    assert generation.numbers(scope) == [4, 5, 6]


def test_what_is_damaged_is_no_way_back(scope: Scope) -> None:
    for content in "abcd":
        last = switched(scope, content)
    generation.manifest_path(scope, 3).write_bytes(b"{}")
    assert way_back(scope, last) == "b"
    generation.units_path(scope, 2).write_bytes(b"")
    assert way_back(scope, last) == ""
