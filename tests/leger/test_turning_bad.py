"""A repository that turns bad is refused with its name and alone, without a machine."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from leger import planning
from leger.deployment import Target
from leger.faults import FaultsError
from leger.model import Compiled, Fault
from leger.planning import Wish
from leger.switch import Host
from turning import REFUSED, container, good


@pytest.mark.parametrize("case", REFUSED)
def test_a_bad_commit_is_refused_by_name_and_the_next_good_one_is_not(
    case: str, prepared: Callable[..., object], compiled: Callable[..., Compiled]
) -> None:
    assert faults(good(1), prepared, compiled) == ()
    found = faults({**good(2), **REFUSED[case].files}, prepared, compiled)
    assert found
    assert {fault.deployment for fault in found} == {"web"}
    assert all(fault.message for fault in found)
    unneeded = dict.fromkeys(REFUSED[case].files)
    assert faults({**unneeded, **good(3)}, prepared, compiled) == ()


@pytest.mark.parametrize("case", REFUSED)
def test_a_bad_commit_holds_back_nobody_else(
    case: str, host: Host, committed: Callable[..., Target]
) -> None:
    bad = committed("web", {**good(1), **REFUSED[case].files})
    other = committed("other", {"other.container": container()})
    plan = planning.make(host, Wish((bad, other)))
    assert list(plan.refused) == ["web"]
    assert list(plan.new.deployments) == ["other"]


def faults(
    files: object, prepared: Callable[..., object], compiled: Callable[..., Compiled]
) -> tuple[Fault, ...]:
    try:
        return compiled(prepared("web", files)).faults
    except FaultsError as error:
        return error.faults
