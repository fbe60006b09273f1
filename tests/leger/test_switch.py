"""Switching where the disk, podman or a kill comes between: what ran runs, and it goes on."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from leger import badcommits, comparing, disk, generation, refreshing, settle, switch
from leger.errors import LegerError
from leger.generation import Current
from leger.model import Compiled, Unit
from leger.rotation import Rotated
from leger.scope import Scope
from leger.switch import Host, NotHealthyError, Step

from tests.leger.manager_double import Killed, Manager, compiled, deployed, kill


@pytest.fixture
def manager(scope: Scope, podman: object) -> Manager:
    """Version a runs."""
    deployed(scope, compiled("a"))
    made = Manager(scope, {"web.service"})
    made.reload()
    return made


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def host(scope: Scope, manager: Manager, said: list[str]) -> Host:
    return Host(scope, manager, said.append)


def to(host: Host, new: Compiled) -> None:
    """Switch to `new`, as a deploy does."""
    old = generation.load_current(host.scope)
    assert old is not None
    target = generation.new(host.scope, new, dict.fromkeys(new.deployments, "source: /srv\n"), "")
    planned = comparing.decide(host.manager, old.compiled, new)
    switch.switch(host, old, target, planned, Step(quiet=0))


def runs(scope: Scope) -> str:
    """The version that units.json has of web.service."""
    point = generation.emitted_point(scope)
    assert point is not None
    text = generation.load(scope, point.generation).compiled.files["web.service"]["text"]
    return str(text).rpartition("/")[2].strip()


def is_over(scope: Scope) -> bool:
    current = Current.read(scope)
    assert current is not None
    return not scope.switch.exists() and current.confirmed


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The names of files that the disk does not take."""
    names: set[str] = set()
    write = disk.write_file

    def refuse(path: Path, data: bytes, mode: int = 0o644) -> None:
        if path.name in names:
            raise LegerError(f"{path}: cannot be written: No space left on device")
        write(path, data, mode)

    monkeypatch.setattr(disk, "write_file", refuse)
    return names


@pytest.mark.parametrize("file", ["2.json", "3.units.json", "3.json", "switch.json", "units.json"])
def test_a_way_back_that_the_disk_refuses_is_gone_on_with(
    host: Host, manager: Manager, full: set[str], file: str
) -> None:
    """It is the new container that fills the disk."""

    def fails(_name: str) -> bool:
        if is_bad := runs(host.scope) == "b":
            full.add(file)
        return is_bad

    manager.fails = fails
    with pytest.raises(LegerError, match=r"web\.service failed .* cannot go back: .* No space"):
        to(host, compiled("b"))
    assert host.scope.switch.exists()
    with pytest.raises(LegerError, match="No space"):
        settle.mend(host)
    full.clear()
    manager.fails = lambda _name: runs(host.scope) == "b"
    assert "went back" in settle.mend(host)[-1]
    assert (runs(host.scope), manager.up) == ("a", {"web.service"})
    assert badcommits.load(host.scope)["web"].commit == "b" * 40
    assert is_over(host.scope)
    current = generation.load_current(host.scope)
    assert current is not None
    numbers = generation.numbers(host.scope)
    assert [bool(generation.load(host.scope, one).bad) for one in numbers] == [False, True, False]


def test_what_is_well_after_all_is_bad_no_longer(
    host: Host, manager: Manager, full: set[str]
) -> None:
    manager.fails = lambda _name: True
    full.add("3.units.json")
    with pytest.raises(LegerError, match="cannot go back"):
        to(host, compiled("b"))
    manager.fails = lambda _name: False
    settle.mend(host)
    assert (runs(host.scope), is_over(host.scope)) == ("b", True)
    assert generation.load(host.scope, 2).bad == ""


def test_what_is_well_is_not_restarted_by_each_try_to_go_back(
    host: Host, manager: Manager, full: set[str]
) -> None:
    def app(version: str) -> Unit:
        text = f"[Service]\nExecStart=/bin/{version}\n"
        return Unit("app.service", "web", "container", "app.container", text, text, wanted=True)

    to(host, compiled("a", app("1")))
    manager.fails = lambda name: name == "web.service" and runs(host.scope) == "b"
    full.add("4.units.json")
    with pytest.raises(LegerError, match="cannot go back"):
        to(host, compiled("b", app("2")))
    assert "restart app.service" in manager.done
    for _ in range(2):
        manager.done.clear()
        with pytest.raises(LegerError, match="cannot go back"):
            settle.mend(host)
        assert manager.done == ["reload", "start web.service"]
    full.clear()
    assert "went back" in settle.mend(host)[-1]
    assert (runs(host.scope), manager.up) == ("a", {"web.service", "app.service"})
    assert is_over(host.scope)


def test_a_network_that_podman_keeps_is_told(host: Host, manager: Manager, said: list[str]) -> None:
    def network(options: str) -> Unit:
        text = f"[X-Network]\nOptions={options}\n"
        return Unit("n.service", "web", "network", "n.network", text, text, resource="net")

    to(host, compiled("a", network("1")))
    to(host, compiled("a", network("2")))
    assert "warning: the network net stays as it was: network is being used" in said
    assert manager.up == {"web.service", "n.service"}
    assert is_over(host.scope)


def test_no_switch_begins_before_an_earlier_one_is_over(host: Host, manager: Manager) -> None:
    kill(manager, 1)
    with pytest.raises(Killed):
        to(host, compiled("b"))
    before = host.scope.switch.read_bytes()
    with pytest.raises(LegerError, match="an earlier switch is not over"):
        to(host, compiled("c"))
    rotated = Rotated("web.service", "web", "key", "web/key", 2, "restart")
    assert refreshing.bring(host, [rotated]) == refreshing.Refreshed()
    assert host.scope.switch.read_bytes() == before


def test_the_hosts_own_units_that_stopped_with_ours_run_again_after_going_back(
    host: Host, manager: Manager
) -> None:
    manager.needs = {"hostapp.service": ["web.service"]}
    manager.up.add("hostapp.service")
    manager.fails = lambda name: name == "web.service" and runs(host.scope) == "b"
    with pytest.raises(NotHealthyError):
        to(host, compiled("b"))
    assert (runs(host.scope), manager.up) == ("a", {"web.service", "hostapp.service"})


@pytest.fixture
def lost(scope: Scope, manager: Manager) -> Callable[[], None]:
    """Lose /var, which knew of four generations."""

    def lose() -> None:
        for version in "xya":
            deployed(scope, compiled(version))
        manager.reload()
        shutil.rmtree(scope.state)

    return lose


def test_after_var_was_lost_what_is_bad_goes_back_to_what_ran(
    host: Host, manager: Manager, lost: Callable[[], None]
) -> None:
    lost()
    assert "taken from" in settle.mend(host)[0]
    assert manager.up == {"web.service"}
    manager.fails = lambda _name: runs(host.scope) == "b"
    with pytest.raises(NotHealthyError, match="went back"):
        to(host, compiled("b"))
    assert (runs(host.scope), manager.up) == ("a", {"web.service"})
    assert generation.numbers(host.scope) == [4, 5, 6]
    assert is_over(host.scope)


@pytest.mark.parametrize("moment", range(8))
@pytest.mark.parametrize("version", ["b", "bad"])
@pytest.mark.parametrize("is_lost", [False, True])
def test_whenever_it_is_killed_nothing_stays_down(
    host: Host,
    manager: Manager,
    lost: Callable[[], None],
    moment: int,
    version: str,
    *,
    is_lost: bool,
) -> None:
    """The host's own unit makes it a stop and a start instead of a restart."""
    if is_lost:
        lost()
        settle.mend(host)
    manager.needs = {"hostapp.service": ["web.service"]}
    manager.up.add("hostapp.service")
    manager.fails = lambda name: name == "web.service" and runs(host.scope) == "bad"
    kill(manager, moment)
    with contextlib.suppress(Killed, NotHealthyError):
        to(host, compiled(version))
    settle.mend(host)
    assert manager.up == {"web.service", "hostapp.service"}
    assert runs(host.scope) in ("a", "b")
    assert is_over(host.scope)


def test_what_is_in_place_is_known_although_its_manifest_is_damaged(
    host: Host, manager: Manager
) -> None:
    generation.manifest_path(host.scope, 1).write_bytes(b"{")
    settle.mend(host)
    to(host, compiled("b"))
    assert (runs(host.scope), is_over(host.scope)) == ("b", True)


def test_what_cannot_be_read_is_not_gone_back_to(host: Host, manager: Manager) -> None:
    def fails(_name: str) -> bool:
        generation.manifest_path(host.scope, 1).write_bytes(b"{")
        return True

    manager.fails = fails
    with pytest.raises(NotHealthyError, match=r"nothing to go back to for web\.service"):
        to(host, compiled("b"))
    manager.fails = lambda _name: False
    to(host, compiled("c"))
    assert (runs(host.scope), is_over(host.scope)) == ("c", True)
