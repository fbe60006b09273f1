"""Whether anything that is up, or that a boot starts, has a unit: by links and states."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from leger import starters
from leger.systemd import State

UP, DOWN = State("loaded", "active", "active"), State("loaded", "inactive", "dead")
BEING = State("loaded", "activating", "start")
LINKS = {
    "multi-user.target.wants/a.service": "../a.service",
    "later.target.requires/b.service": "../b.service",
    "later.target.wants/c@x.service": "../c@.service",
    "alias.service": "a.service",
}
SYSTEMCTL = """#!/bin/sh
echo "$@" >>{log}
while [ "$1" != -- ]; do shift; done; shift
for unit; do
  case $unit in
    default.target) printf 'Id=graphical.target\\nRequires=multi-user.target\\nWants=\\n\\n';;
    multi-user.target) printf 'Wants=first.service \\\\x2dodd.service own.target\\n\\n';;
    own.target) printf 'Id=%s\\nWants=multi-user.target\\n\\n' $unit;;
    *) printf 'Id=%s\\n\\n' $unit;;
  esac
done
"""
Calls = Callable[[], list[str]]


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Calls:
    """A systemctl that knows the targets of a boot, and what it was asked."""
    log = tmp_path / "log"
    program = tmp_path / "systemctl"
    program.write_text(SYSTEMCTL.format(log=log))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return lambda: log.read_text().splitlines() if log.exists() else []


def begun(*names: str, links: dict[str, str] | None = None, **states: State) -> set[str]:
    known = {name.replace("_", "-"): state for name, state in states.items()}
    known = {f"{name}.target": state for name, state in known.items()}
    return {*starters.begun(names, links or LINKS, known, user=False)}


def test_what_is_up_has_started_its_units_and_nobody_is_asked(calls: Calls) -> None:
    assert begun("a.service", multi_user=UP) == {"a.service"}
    assert begun("b.service", later=BEING) == {"b.service"}
    assert begun("alone.service", later=DOWN) == set()
    assert calls() == []


def test_a_target_that_nobody_started_has_none(calls: Calls) -> None:
    assert begun("a.service", "b.service", multi_user=UP, later=DOWN) == {"a.service"}
    assert begun("b.service", multi_user=UP) == set()
    assert len(calls()) == 2 * 3  # default.target, multi-user.target, own.target, for each


def test_what_a_boot_starts_counts_before_it_is_up(calls: Calls) -> None:
    assert begun("a.service", "b.service") == {"a.service"}
    links = {
        "first.service.wants/a.service": "../a.service",
        r"\x2dodd.service.wants/b.service": "../b.service",
        "graphical.target.wants/c.service": "../c.service",
    }
    assert begun("a.service", "b.service", "c.service", links=links) == {
        "a.service",
        "b.service",
        "c.service",
    }
    assert calls()


def test_a_target_of_ours_counts_by_what_has_it(calls: Calls) -> None:
    links = {
        "multi-user.target.wants/shop.target": "../shop.target",
        "shop.target.wants/a.service": "../a.service",
        "a.service.wants/b.service": "../b.service",
        "idle.target.wants/c.service": "../c.service",
        "c.service.wants/idle.target": "../idle.target",
    }
    assert begun("a.service", "b.service", links=links, multi_user=UP) == {"a.service", "b.service"}
    assert begun("c.service", links=links, multi_user=UP) == set()


def test_an_instance_is_had_by_its_own_link_or_those_of_its_template(calls: Calls) -> None:
    both = LINKS | {"multi-user.target.wants/c@y.service": "../c@.service"}
    assert begun("c@x.service", "c@y.service", "c@z.service", links=both, multi_user=UP) == {
        "c@y.service",
        "c@z.service",
    }
    by_instance = {"app@.target.wants/a.service": "../a.service"}
    known = {"app@one.target": UP}
    assert starters.begun(["a.service"], by_instance, known, user=False) == {"a.service"}
