"""Trees that somebody changed: nothing repairs them in passing, and who read them restarts."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from leger import applying, drift, generation, owed, planning, rollback
from leger.deployment import Target
from leger.errors import LegerError
from leger.model import Built
from leger.planning import Wish
from leger.switch import Host
from planned import Running, deploy

Commit = Callable[..., Target]
WEB = "[Container]\nImage=localhost/a:1\n"
FILES = {"web.container": f"{WEB}Volume=./conf:/conf\n", "conf/x": "good", "db.container": WEB}
EVIL = "evil"


def change(built: Built) -> Path:
    """Change a file that web.service reads."""
    file = built.tree.path / "conf/x"
    file.write_text(EVIL)
    return file


def running(host: Host) -> Host:
    return replace(host, manager=Running("web.service", "db.service"))  # type: ignore[arg-type]


def test_a_plan_of_it_by_name_leaves_it_as_it_is(host: Host, committed: Commit) -> None:
    target = committed("web", FILES)
    first = deploy(host, target)
    file = change(first.new.deployments["web"])
    for wish in (Wish((target,)), Wish((committed("web", {}),))):
        plan = planning.make(running(host), wish)
        assert (plan.refused, plan.altered) == ({}, {"web": ("conf/x",)})
        assert (plan.is_same, dict(plan.changes.why)) == (True, {})
        assert file.read_text() == EVIL
    found = list(drift._trees(first.new.deployments.values(), thorough=False))
    assert [one.units for one in found] == [("web.service",)]


def test_a_new_commit_that_has_the_same_tree_waits_until_it_is_mended(
    host: Host, committed: Commit
) -> None:
    first = deploy(host, committed("web", FILES), committed("other", {"o.container": WEB}))
    file = change(first.new.deployments["web"])
    both = Wish((committed("web", {}), committed("other", {"o.container": f"{WEB}Label=v=2\n"})))
    plan = applying.with_images(host, both)
    assert str(plan.refused["web"]) == f"web: {file} was changed by hand"
    assert plan.refused["web"].hint == "leger apply web"
    assert [move.name for move in plan.moves] == ["other"]
    with pytest.raises(LegerError, match="was changed by hand"):
        applying.stage(host, both.targets[0])


def test_who_has_read_it_restarts_with_a_new_tree_that_has_the_file_as_it_was(
    host: Host, committed: Commit
) -> None:
    first = deploy(host, committed("web", FILES))
    newer = committed("web", {"more.container": WEB})
    assert planning.make(running(host), Wish((newer,))).changes.restart == ()
    change(first.new.deployments["web"])
    plan = planning.make(running(host), Wish((newer,)))
    assert plan.changes.restart == ("web.service",)
    assert plan.changes.why["web.service"] == "conf/x changed"
    assert (plan.refused, plan.altered) == ({}, {})


@pytest.fixture
def rolled(host: Host, committed: Commit) -> tuple[Host, Built, Built]:
    """Two generations; `web` has another tree in each, `other` the same in both."""
    other = committed("other", {"o.container": f"{WEB}Volume=./conf:/conf\n", "conf/x": "good"})
    first = deploy(host, committed("web", FILES), other)
    deploy(host, committed("web", FILES | {"conf/x": "better"}), other)
    return host, first.new.deployments["web"], first.new.deployments["other"]


def back(host: Host) -> Wish:
    old, target = (generation.load(host.scope, number) for number in (2, 1))
    return rollback.wish(host.scope, old, target)


def test_rolling_back_puts_an_earlier_tree_right(rolled: tuple[Host, Built, Built]) -> None:
    host, web, _ = rolled
    file = change(web)
    plan = planning.make(host, back(host))
    assert file.read_text() == "good"
    assert plan.new.deployments["web"].tree == web.tree


def test_rolling_back_leaves_alone_what_stays_as_it_is(rolled: tuple[Host, Built, Built]) -> None:
    host, web, other = rolled
    file = change(other)
    plan = planning.make(host, back(host))
    assert plan.new.deployments == {"other": other, "web": web}
    assert (plan.refused, plan.removed, file.read_text()) == ({}, frozenset(), EVIL)


def test_rolling_back_to_a_changed_tree_that_runs_is_refused(host: Host, committed: Commit) -> None:
    first = deploy(host, committed("web", FILES))
    deploy(host, committed("web", {}))
    change(first.new.deployments["web"])
    with pytest.raises(LegerError, match="conf/x was changed by hand"):
        back(host)


SYSTEMCTL = """#!/bin/sh
while [ "$1" != -- ]; do shift; done; shift
for unit; do printf 'InactiveExitTimestampMonotonic=%s\\n\\n' {began}; done
"""


def began(host: Host, microseconds: int) -> None:
    """From now on each unit began to run at that time."""
    program = host.scope.etc.parent.parent.parent / "bin/systemctl"
    program.write_text(SYSTEMCTL.format(began=microseconds))


def test_who_has_lost_its_tree_restarts_although_the_next_plan_makes_it_again(
    host: Host, committed: Commit
) -> None:
    tree = deploy(host, committed("web", FILES)).new.deployments["web"].tree
    shutil.rmtree(tree.path)
    planning.make(host, Wish((committed("other", {"o.container": WEB}),)))
    assert (tree.path / "conf/x").read_text() == "good"
    began(host, 1)
    found = drift.read(host.scope, running(host).manager, generation.load(host.scope, 1))
    stale = [one for one in found if one.kind is drift.Kind.STALE]
    assert [(one.unit, one.repair) for one in stale] == [("web.service", drift.Repair.RESTART)]
    assert stale[0].message == f"was not restarted since: {tree.path} was gone"


def test_what_is_owed_is_paid_by_any_later_start(host: Host) -> None:
    owed.note(host.scope, {"m@.service": "a changed", "web.service": "b changed"})
    owed.note(host.scope, {"db.service": "c changed"})
    units = ["m@1.service", "web.service", "db.service", "other.service"]
    began(host, 1)
    assert owed.read(host.scope, units) == {
        "m@1.service": "a changed",
        "web.service": "b changed",
        "db.service": "c changed",
    }
    began(host, 1 << 62)
    assert owed.read(host.scope, units) == {}
    host.scope.owed.write_text("{")
    assert owed.read(host.scope, units) == {}
