"""The quiet time: nobody waits for units that were not started, or for a time of none."""

from __future__ import annotations

import pytest
from leger import judge
from leger.judge import Watch
from leger.systemd import State


class Manager:
    """A manager whose units all run."""

    def states(self, names):
        return {name: State("loaded", "active", "running") for name in names}

    def restarts(self, name):
        return 0


@pytest.fixture(autouse=True)
def awake(monkeypatch):
    """Nobody sleeps."""

    def sleep(_seconds):
        raise AssertionError("it waits")

    monkeypatch.setattr(judge.time, "sleep", sleep)


def test_where_nothing_was_started_nobody_waits():
    assert Watch(Manager(), quiet=3600).stay({}) == {}


def test_a_quiet_time_of_none_is_none():
    assert Watch(Manager(), quiet=0).stay({"a.service": 0}) == {}


def test_a_quiet_time_is_waited_for():
    with pytest.raises(AssertionError, match="it waits"):
        Watch(Manager(), quiet=3600).stay({"a.service": 0})
