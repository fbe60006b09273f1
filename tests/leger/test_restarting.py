"""Units that are stopped to be started again, by a command or by settling, never stay down."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from leger import disk, generation, settle, systemd
from leger.cli import main, output, services
from leger.errors import CancelledError, LegerError
from leger.generation import Generation
from leger.model import Unit
from leger.scope import Scope
from leger.switch import Host

from tests.leger.manager_double import Killed, Manager, compiled, deployed, kill

OPTIONS = argparse.Namespace(command="service restart", name="web")
ALL = {"web.service", "web-log.service", "hostapp.service"}


@pytest.fixture
def manager(scope: Scope) -> Manager:
    """Two containers, and a unit of the host's own that needs one of them."""
    log = Unit("web-log.service", "web", "container", "web-log.container", "x", "x", wanted=True)
    deployed(scope, compiled("a", log))
    made = Manager(scope, {*ALL}, needs={"hostapp.service": ["web.service"]})
    made.reload()
    made.done.clear()
    return made


@pytest.fixture
def host(scope: Scope, manager: Manager) -> Host:
    return Host(scope, manager, lambda _line: None)


def restart(host: Host) -> int:
    return services._change(host, OPTIONS)


def test_what_the_manager_stops_with_a_unit_is_started_with_it(
    host: Host, manager: Manager
) -> None:
    assert restart(host) == 0
    assert manager.up == ALL
    assert [one for one in manager.done if "web.service" in one] == [
        "stop web.service",
        "start web.service",
    ]
    assert not host.scope.switch.exists()


def test_an_interrupt_waits_until_all_runs_again(host: Host, manager: Manager) -> None:
    manager.on = lambda verb, _name: os.kill(os.getpid(), signal.SIGINT) if verb == "stop" else None
    assert restart(host) == 0
    assert manager.up == ALL


@pytest.mark.parametrize("moment", range(7))
def test_whenever_a_restart_is_killed_nothing_stays_down(
    host: Host, manager: Manager, moment: int
) -> None:
    kill(manager, moment)
    with contextlib.suppress(Killed):
        restart(host)
    settle.mend(host)
    assert manager.up == ALL
    assert not host.scope.switch.exists()


def test_after_a_reboot_what_the_boot_started_is_let_be(
    host: Host, manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    kill(manager, 1)
    with pytest.raises(Killed):
        restart(host)
    monkeypatch.setattr("leger.switchfile.boot_id", lambda: "the next")
    manager.done.clear()
    settle.settle(host, 0)
    assert not any(one.startswith("stop") for one in manager.done)
    assert manager.up == ALL


def test_what_was_interrupted_before_is_taken_up_first(host: Host, manager: Manager) -> None:
    kill(manager, 2)
    with pytest.raises(Killed):
        restart(host)
    assert services._change(host, argparse.Namespace(command="service stop", name="web")) == 0
    assert manager.up == set()
    assert not host.scope.switch.exists()
    assert "start web-log.service" in manager.done


def test_a_full_disk_stops_nothing(
    host: Host, manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, *_more: object) -> None:
        raise LegerError(f"{path}: No space left on device")

    monkeypatch.setattr(disk, "write_file", refuse)
    with pytest.raises(LegerError, match=r"switch\.json"):
        restart(host)
    assert (manager.up, manager.done) == (ALL, [])


def network(version: str) -> Unit:
    text = f"[X-Network]\nOptions={version}\n"
    return Unit("n.service", "web", "network", "n.network", text, text, resource="net")


@pytest.fixture
def behind(scope: Scope) -> tuple[Manager, Generation]:
    """/etc went back to the generation before, and the boot emitted that."""
    old = deployed(scope, compiled("a", network("1")))
    now = deployed(scope, compiled("b", network("2")))
    generation.commit(scope, old.point)
    made = Manager(scope, {"n.service", *ALL}, needs={"hostapp.service": ["web.service"]})
    made.reload()
    made.done.clear()
    return made, now


@pytest.mark.parametrize("moment", range(9))
def test_whenever_catching_up_is_killed_nothing_stays_down(
    scope: Scope,
    behind: tuple[Manager, Generation],
    podman: Callable[[], list[str]],
    moment: int,
) -> None:
    manager, now = behind
    host = Host(scope, manager, lambda _line: None)
    kill(manager, moment)
    with contextlib.suppress(Killed):
        settle.settle(host, 0)
    settle.settle(host, 0)
    assert manager.up == {"n.service", *ALL}
    assert generation.emitted_point(scope) == now.point
    assert json.loads((scope.runtime / "emitted.json").read_bytes())["blake2b"] == now.digest
    after = manager.done.index("reload")
    assert {"start web.service", "restart web.service"} & {*manager.done[after:]}
    assert "network rm net" in podman()


def test_nobody_is_told_that_nothing_was_changed_who_cannot_know(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_given: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(main, "_run", interrupted)
    assert main.main(["apply"]) == CancelledError.exit_code
    assert capsys.readouterr().err == (
        "leger: error: cancelled\n"
        "leger: hint: leger history says whether anything was switched before\n"
    )
    assert main.main(["status"]) == CancelledError.exit_code
    assert capsys.readouterr().err == "leger: error: cancelled\n"


def test_an_interrupt_is_no_to_a_question(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal:
        def isatty(self) -> bool:
            return True

        def readline(self) -> str:
            raise KeyboardInterrupt

    monkeypatch.setattr("sys.stdin", Terminal())
    with pytest.raises(CancelledError, match="nothing was changed"):
        output.confirm("stop all?")


def test_a_target_of_the_hosts_is_left_alone() -> None:
    """To start multi-user.target again would start all that it wants."""

    class Needed:
        def stopped_with(self, name: str) -> frozenset[str]:
            return frozenset(
                {
                    "web.service": {"app.service", "multi-user.target", "own.target"},
                    "multi-user.target": {"graphical.target", "another.service"},
                }.get(name, ())
            )

    found = systemd.stopped_together(Needed(), ["web.service"], {"own.target"})  # type: ignore[arg-type]
    assert found == ["web.service", "app.service", "own.target"]
