"""What is stopped for a backup, and that it runs again whatever happens meanwhile."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pytest
from leger.backup import quiet
from leger.backup.journal import Work
from leger.backup.what import Users
from leger.scope import Scope
from leger.switch import Host
from leger.systemd import State

DB = "db.service"


class Manager:
    """A manager in which db.service runs; each start is interrupted as Ctrl-C would."""

    def __init__(self) -> None:
        self.up = {DB}
        self.jobs: list[tuple[str, str]] = []

    def states(self, names: Iterable[str]) -> dict[str, State]:
        return {
            name: State("loaded", "active" if name in self.up else "inactive") for name in names
        }

    def stopped_with(self, _name: str) -> frozenset[str]:
        return frozenset()

    def reset_failed(self, _names: Iterable[str]) -> None:
        """There are no limits."""

    def run(self, jobs: Sequence[tuple[str, str]], _timeout: float) -> dict[str, str]:
        self.jobs += jobs
        for verb, name in jobs:
            if verb == "start":
                os.kill(os.getpid(), signal.SIGINT)
                self.up.add(name)
            else:
                self.up.discard(name)
        return {name: "done" for _, name in jobs}


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Programs of systemd's and podman's that note what they are asked for; c1 is paused."""
    said = tmp_path / "said"
    for name, more in (
        ("systemd-run", ""),
        ("systemctl", ""),
        ("podman", "case $* in *status=running*) echo c2;; *status=paused*) echo c1 c2;; esac"),
    ):
        program = tmp_path / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(f"#!/bin/sh\nprintf '%s\\n' \"{name} $*\" >>{said}\n{more}\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
    return said


@pytest.fixture
def host(scope: Scope, programs: Path) -> Host:
    scope.state.mkdir(parents=True)
    return Host(scope, Manager(), lambda _line: None)  # type: ignore[arg-type]


def test_what_uses_it_cannot_start_meanwhile(host: Host, programs: Path) -> None:
    held = ("db.service", "job.service", r"srv-a\x2db.mount")
    with quiet.still(host, Work.begin("web"), Users((DB,), held=held), "stop"):
        assert host.manager.jobs == [("stop", DB)]
        assert "systemctl stop" not in programs.read_text()
    assert host.manager.jobs == [("stop", DB), ("start", DB)]
    said = programs.read_text()
    assert "systemctl stop leger-hold-*.service" in said
    assert r"Before=shutdown.target db.service job.service srv-a\\x2db.mount " in said
    assert f"flock {host.scope.lock} true" in said


def test_to_pause_is_to_freeze_what_runs_and_to_stop_what_has_no_container(
    host: Host, programs: Path
) -> None:
    users = Users(("a.timer", DB, "web.service"), (DB,), ("web.service",), ("c1", "c2"))
    with quiet.still(host, Work.begin("web"), users, "pause"):
        assert host.manager.jobs == [("stop", DB)]
    said = programs.read_text().splitlines()
    assert [line for line in said if "pause" in line.split()[1]] == [
        "podman pause c2",
        "podman unpause c2",
    ]
    assert host.manager.up == {DB}


def test_nobody_is_held_where_the_units_run_on(host: Host, programs: Path) -> None:
    with quiet.still(host, Work.begin("web"), Users((DB,), (DB,), (DB,), ("c2",)), "run"):
        assert not programs.exists()
    assert host.manager.up == {DB}


@pytest.fixture
def interruptible() -> Iterator[None]:
    """As on a terminal: what runs in the background of a script may ignore interrupts."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_interrupted_twice_all_runs_again(host: Host) -> None:
    def backup() -> None:
        with quiet.still(host, Work.begin("web"), Users(units=(DB,)), "stop"):
            assert host.manager.up == set()
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        backup()
    assert host.manager.up == {DB}
    assert not host.scope.backup_journal.exists()


def test_an_interrupt_does_not_keep_down_what_starts_again(host: Host) -> None:
    with quiet.still(host, Work.begin("web"), Users(units=(DB,)), "stop"):
        pass
    assert host.manager.up == {DB}
    assert not host.scope.backup_journal.exists()
