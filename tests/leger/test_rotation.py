"""Which running units rotated secrets concern, by what they got and what legerd would hand out."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import pytest
from leger import rotation
from leger.generation import Generation
from leger.legerdclient import Client, UnreachableError
from leger.model import Binding, Built, Compiled, Tree, Unit
from leger.rotation import Rotated
from leger.scope import Scope
from leger.systemd import Manager, State

from tests.legerd.served import Served, serve

RUNNING = State("loaded", "active", "running")
FAILED = State("loaded", "failed", "failed")
STOPPED = State("loaded", "inactive", "dead")
EXITED = State("loaded", "active", "exited")


class Systemd:
    """What the manager says of units; nobody stopped one that is failed."""

    def __init__(self, states: Mapping[str, State]) -> None:
        self._states = states

    def states(self, names: Iterable[str]) -> dict[str, State]:
        return {name: self._states.get(name, State()) for name in names}

    def was_stopped(self, _name: str) -> bool:
        return False


@pytest.fixture
def legerd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    folder = tmp_path / "legerd"
    folder.mkdir()
    with serve(folder) as served:
        monkeypatch.setenv("LEGERD_SOCKET", str(served.path))
        yield served


def put(legerd: Served, name: str, value: str) -> None:
    """Store the value as what is active."""
    _, version = legerd.call("put", {"Name": name, "Value": value})
    assert legerd.call("activate", {"Name": name, "Version": version})[0] == 200


def tag(legerd: Served, name: str, version: int = 0) -> str:
    answer = legerd.call("leger/fetch", {"Secrets": [{"Name": name, "Version": version}]})[1]
    return str(answer["Secrets"][0]["Tag"])


def start(scope: Scope, unit: str, tags: Mapping[str, str]) -> None:
    """As the hook notes a start."""
    folder = scope.runtime / "started"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / unit).write_text(json.dumps(tags))


def unit(name: str, on_change: str = "", *, oneshot: bool = False) -> Unit:
    return Unit(name, "web", "container", "x", "", "", oneshot=oneshot, on_secret_change=on_change)


def deployed(*bindings: Binding, units: Iterable[Unit] = (), how: str = "restart") -> Generation:
    built = Built(
        name="web",
        commit="",
        source="",
        tree=Tree(Path("/"), "", {}),
        units={one.name: one for one in units or [unit("web.service")]},
        bindings=bindings,
        on_secret_change=how,
    )
    return Generation(1, "system", Compiled({"web": built}, {}, {}, (), {}))


DB = Binding("db", "prod/db", 0, ("web.service",))
See = Callable[..., tuple[Rotated, ...]]


@pytest.fixture
def see(scope: Scope) -> See:
    def look(current: Generation, **states: State) -> tuple[Rotated, ...]:
        known = {f"{name.replace('__', '@')}.service": state for name, state in states.items()}
        manager: Manager = Systemd(known)  # type: ignore[assignment]
        return rotation.changed(scope, manager, current)

    return look


def test_a_unit_with_the_value_of_before_is_found(legerd: Served, scope: Scope, see: See) -> None:
    put(legerd, "prod/db", "b25l")
    start(scope, "web.service", {"db": tag(legerd, "prod/db")})
    assert see(deployed(DB), web=RUNNING) == ()
    put(legerd, "prod/db", "dHdv")
    [found] = see(deployed(DB), web=RUNNING)
    assert found == Rotated("web.service", "web", "db", "prod/db", 2, "restart")
    assert found.why == "secret db has version 2 of prod/db"
    legerd.call("activate", {"Name": "prod/db", "Version": 1})
    assert see(deployed(DB), web=RUNNING) == ()


def test_who_shares_a_secret_is_judged_by_its_own_start(
    legerd: Served, scope: Scope, see: See
) -> None:
    put(legerd, "prod/db", "b25l")
    start(scope, "old.service", {"db": tag(legerd, "prod/db")})
    put(legerd, "prod/db", "dHdv")
    start(scope, "web.service", {"db": tag(legerd, "prod/db")})
    both = Binding("db", "prod/db", 0, ("old.service", "web.service"))
    found = see(
        deployed(both, units=[unit("old.service"), unit("web.service")]), old=RUNNING, web=RUNNING
    )
    assert [one.unit for one in found] == ["old.service"]


@pytest.mark.parametrize(
    ("state", "oneshot", "concerned"),
    [(RUNNING, False, True), (FAILED, False, True), (STOPPED, False, False), (EXITED, True, False)],
)
def test_only_what_runs_or_failed_is_concerned(
    legerd: Served, scope: Scope, see: See, state: State, oneshot: bool, concerned: bool
) -> None:
    put(legerd, "prod/db", "b25l")
    start(scope, "web.service", {"db": "of before"})
    current = deployed(DB, units=[unit("web.service", oneshot=oneshot)])
    assert bool(see(current, web=state)) is concerned


def test_what_failed_for_want_of_a_secret_is_found_once_there_is_one(
    legerd: Served, scope: Scope, see: See
) -> None:
    start(scope, "web.service", {})
    assert see(deployed(DB), web=FAILED) == ()
    put(legerd, "prod/db", "b25l")
    assert [one.version for one in see(deployed(DB), web=FAILED)] == [1]
    assert see(deployed(DB), web=RUNNING) == ()  # started before there were notes


def test_a_pinned_version_stays(legerd: Served, scope: Scope, see: See) -> None:
    put(legerd, "prod/db", "b25l")
    start(scope, "web.service", {"db": tag(legerd, "prod/db", 1)})
    put(legerd, "prod/db", "dHdv")
    assert see(deployed(Binding("db", "prod/db", 1, ("web.service",))), web=RUNNING) == ()


def test_the_units_own_word_counts_before_the_deployments(
    legerd: Served, scope: Scope, see: See
) -> None:
    put(legerd, "prod/db", "b25l")
    start(scope, "web.service", {"db": "of before"})
    for how, own, told in (
        ("restart", "none", []),
        ("none", "reload", ["reload"]),
        ("none", "", []),
        ("reload", "", ["reload"]),
    ):
        found = see(deployed(DB, units=[unit("web.service", own)], how=how), web=RUNNING)
        assert [one.how for one in found] == told


def test_an_instance_is_its_templates_unit(legerd: Served, scope: Scope, see: See) -> None:
    put(legerd, "web/db-a", "b25l")
    start(scope, "web@a.service", {"db-a": "of before"})
    current = deployed(
        Binding("db-a", "web/db-a", 0, ("web@a.service",)),
        units=[unit("web@.service", "reload")],
    )
    assert [(one.unit, one.how) for one in see(current, web__a=RUNNING)] == [
        ("web@a.service", "reload")
    ]


def test_a_note_that_cannot_be_read_and_a_secret_that_is_gone_change_nothing(
    legerd: Served, scope: Scope, see: See
) -> None:
    start(scope, "web.service", {"db": "of before"})
    assert see(deployed(DB), web=RUNNING) == ()
    put(legerd, "prod/db", "b25l")
    (scope.runtime / "started/web.service").write_text("{")
    assert see(deployed(DB), web=RUNNING) == ()


def test_without_an_answer_it_says_so_but_asks_only_for_a_reason(
    scope: Scope, see: See, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("LEGERD_SOCKET", str(tmp_path / "none"))
    assert see(deployed(DB), web=RUNNING) == ()
    start(scope, "web.service", {"db": "of before"})
    assert see(deployed(DB), web=STOPPED) == ()
    with pytest.raises(UnreachableError):
        see(deployed(DB), web=RUNNING)


def test_many_are_asked_for_in_parts(legerd: Served) -> None:
    put(legerd, "a", "b25l")
    held = [("a", 0, "other"), *[("none", 0, "x")] * 120, ("a", 0, tag(legerd, "a"))]
    assert Client().newer(held) == (1, *[0] * 120, 0)
    assert [line["secret"] for line in legerd.lines()].count("none") == 0
