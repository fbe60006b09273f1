"""What is stopped for a backup, and that it runs again whatever happens meanwhile."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable, Sequence

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

    def states(self, names: Iterable[str]) -> dict[str, State]:
        return {
            name: State("loaded", "active" if name in self.up else "inactive") for name in names
        }

    def stopped_with(self, _name: str) -> frozenset[str]:
        return frozenset()

    def reset_failed(self, _names: Iterable[str]) -> None:
        """There are no limits."""

    def run(self, jobs: Sequence[tuple[str, str]], _timeout: float) -> dict[str, str]:
        for verb, name in jobs:
            if verb == "start":
                os.kill(os.getpid(), signal.SIGINT)
                self.up.add(name)
            else:
                self.up.discard(name)
        return {name: "done" for _, name in jobs}


@pytest.fixture
def host(scope: Scope) -> Host:
    return Host(scope, Manager(), lambda _line: None)  # type: ignore[arg-type]


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
