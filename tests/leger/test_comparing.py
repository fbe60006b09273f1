"""What the manager is asked before two sets are compared, and what its answers mean."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

import pytest
from leger import comparing
from leger.changes import Changes
from leger.model import Built, Compiled, Tree, Unit
from leger.systemd import State

RUNNING = State("loaded", "active", "running")
IDLE = State("loaded", "inactive", "dead")


class Manager:
    """Has `up` and `idle` in memory; like systemd it loads what it is asked about by its name."""

    def __init__(self, *up: str, idle: tuple[str, ...] = ()) -> None:
        self.memory = dict.fromkeys(up, RUNNING) | dict.fromkeys(idle, IDLE)

    def present(self) -> dict[str, State]:
        return self.memory

    def states(self, names: Iterable[str]) -> dict[str, State]:
        return {name: self.memory.get(name, IDLE) for name in names}

    def instances(self, templates: Iterable[str]) -> list[str]:
        begin = tuple(name.partition("@")[0] for name in templates)
        return [name for name in self.memory if name.startswith(begin)] if begin else []

    def stopped_with(self, _name: str) -> frozenset[str]:
        return frozenset()

    def can_reload(self, _name: str) -> bool:
        return False


def due(*units: Unit, why: Mapping[str, str], up: Collection[str]) -> Changes:
    """What restarts of `units`, of which `up` run, for `why`."""
    built = Built("m", "c", "s", Tree(Path("/t"), "1", {}), {one.name: one for one in units}, ())
    both = Compiled({"m": built}, {}, {}, (), {})
    return comparing.decide(Manager(*up), both, both, due=why)  # type: ignore[arg-type]


def unit(name: str, kind: str = "container", **more: object) -> Unit:
    return Unit(name, "m", kind, f"{name}.{kind}", "", "", **more)  # type: ignore[arg-type]


def test_the_only_member_of_a_pod_that_is_due_restarts_with_it() -> None:
    pod, names = unit("p-pod.service", "pod"), ("p-pod.service", "web.service")
    web = unit("web.service", pod="p-pod.service", depends=("p-pod.service",))
    found = due(pod, web, why={"web.service": "was touched"}, up=names)
    assert found.stop == ("web.service", "p-pod.service")
    assert found.start == ("p-pod.service", "web.service")
    assert found.why["web.service"] == "was touched"


def test_a_socket_that_is_due_is_stopped_and_started() -> None:
    found = due(unit("a.socket", "plain"), why={"a.socket": "was overridden"}, up=("a.socket",))
    assert (found.stop, found.start, found.restart) == (("a.socket",), ("a.socket",), ())


def test_what_is_due_restarts_if_it_runs_and_a_template_stands_for_its_instances() -> None:
    units = (template(), unit("a.service"), unit("b.service"), unit("v-volume.service", "volume"))
    names = ("m@1.service", "m@2.service", "a.service", "v-volume.service")
    why = {"m@.service": "x", "a.service": "y", "b.service": "y", "v-volume.service": "z"}
    found = due(*units, why=why, up=names)
    assert set(found.restart) == {*names}
    assert (found.stop, found.start, found.warnings) == ((), (), ())


def template(*instances: str) -> Unit:
    wanted = bool(instances)
    return Unit(
        "m@.service", "m", "container", "m@.container", "", "", wanted=wanted, instances=instances
    )


def alone(name: str) -> Unit:
    """What quadlet makes of a link from an instance to its template."""
    return Unit(name, "m", "container", "m@.container", "", "", wanted=True)


def decided(manager: Manager, old: Iterable[Unit], new: Iterable[Unit]) -> Changes:
    def compiled(units: Iterable[Unit]) -> Compiled:
        by_name: Mapping[str, Unit] = {unit.name: unit for unit in units}
        built = Built("m", "c", "s", Tree(Path("/t"), "1", {}), by_name, ())
        return Compiled({"m": built} if by_name else {}, {}, {}, (), {})

    return comparing.decide(manager, compiled(old), compiled(new))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "new", [(template("m@b.service"),), (template(), alone("m@b.service"))], ids=["named", "linked"]
)
def test_another_instance_of_a_known_template_is_started_and_the_one_before_goes(
    new: tuple[Unit, ...],
) -> None:
    found = decided(Manager("m@a.service", "m@x.service"), [template("m@a.service")], new)
    assert found.start == ("m@b.service",)
    assert (found.stop, found.gone) == (("m@a.service",), ("m@a.service",))
    assert found.restart == (), "what somebody started by hand runs on"


def test_an_instance_that_a_boot_starts_now_is_started_unless_it_runs() -> None:
    old, new = template("m@a.service"), template("m@a.service", "m@b.service")
    assert decided(Manager(idle=("m@b.service",)), [old], [new]).start == ("m@b.service",)
    assert decided(Manager("m@b.service"), [old], [new]) == Changes()


def test_an_instance_of_the_hosts_own_template_that_rests_is_left_alone() -> None:
    assert decided(Manager(), [], [template("m@b.service")]).start == ()
