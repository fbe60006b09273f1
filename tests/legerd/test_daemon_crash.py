"""kill -9 of the whole daemon under load: whatever was answered is there, and was recorded.

A kill shows nothing about fsync; the power cuts of tests/system do.
"""

from __future__ import annotations

import abc
import base64
import http.client
import json
import random
import shutil
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from legerd.audit import AuditLog
from legerd.commands import DEV_KEY
from legerd.keys import Kek
from legerd.store import Store
from tests.legerd.daemon import Daemon, unix_daemon
from tests.legerd.served import HEADERS

WRITERS = 8
READERS = 4
ROUNDS_OF_A_VAULT = 20
POLICY = 'rules: [{uid: %d, action: [get, info, put, activate], secret: "ok/*"}]\n'

Recorded = tuple[str, str, bool]
"""A line of the audit log: action, secret, whether it was allowed."""


@dataclass
class Notes:
    """What the clients were told, kept outside of the daemon."""

    put: dict[str, bytes] = field(default_factory=dict)
    tried: set[bytes] = field(default_factory=set)
    recorded: Counter[Recorded] = field(default_factory=Counter)
    writing: set[int] = field(default_factory=set)
    answers: int = 0
    changed: threading.Condition = field(default_factory=threading.Condition)

    def told(self, *lines: Recorded) -> None:
        with self.changed:
            self.recorded.update(lines)
            self.answers += 1
            self.changed.notify_all()


class Client(threading.Thread, abc.ABC):
    """Calls on and on, until the daemon is gone."""

    def __init__(self, legerd: Daemon, notes: Notes, turn: int, number: int) -> None:
        super().__init__()
        self.notes = notes
        self.number = number
        self.prefix = f"{turn}/{number}"
        self.connection = legerd.connect()

    def run(self) -> None:
        try:
            for step in range(1_000_000):
                self.step(f"{self.prefix}/{step}")
        except (OSError, http.client.HTTPException):
            pass
        finally:
            self.connection.close()

    @abc.abstractmethod
    def step(self, name: str) -> None:
        """A few calls, each for a name that nobody used before."""

    def call(self, call: str, name: str, **fields: object) -> int:
        body = json.dumps({"Name": name, **fields})
        self.connection.request("POST", f"/api/{call}", body, HEADERS)
        answer = self.connection.getresponse()
        answer.read()
        return answer.status


class Writer(Client):
    """Puts one secret after another; what is in flight when the daemon dies stays in `writing`."""

    def step(self, name: str) -> None:
        value = f"value of {name} ".encode() * 40
        with self.notes.changed:
            self.notes.tried.add(value)
            self.notes.writing.add(self.number)
        encoded = base64.b64encode(value).decode()
        assert self.call("put", f"ok/{name}", Value=encoded) == 200
        with self.notes.changed:
            self.notes.writing.discard(self.number)
            self.notes.put[f"ok/{name}"] = value
        self.notes.told(("put", f"ok/{name}", True))


class Reader(Client):
    """Gets, lists, asks for infos, and for what it may not have, each time for another name."""

    def step(self, name: str) -> None:
        assert self.call("get", f"ok/{name}") == 404
        self.notes.told(("get", f"ok/{name}", True))
        assert self.call("info", f"ok/{name}") == 404
        self.notes.told(("info", f"ok/{name}", True))
        assert self.call("get", f"no/{name}") == 403
        self.notes.told(("get", f"no/{name}", False))
        assert self.call("list", "") == 200
        self.notes.told(("info", "", True))


def killed(folder: Path, notes: Notes, turn: int, answers: int) -> bool:
    """Kill a daemon after so many answers; whether a put was in flight."""
    for name in ("s", "n"):
        (folder / name).unlink(missing_ok=True)
    notes.answers = 0
    notes.writing.clear()
    with unix_daemon(folder) as legerd:
        clients: list[Client] = [
            *(Writer(legerd, notes, turn, number) for number in range(WRITERS)),
            *(Reader(legerd, notes, turn, WRITERS + number) for number in range(READERS)),
        ]
        for client in clients:
            client.start()
        with notes.changed:
            assert notes.changed.wait_for(lambda: notes.answers >= answers, 60)
            legerd.process.kill()
        for client in clients:
            client.join(30)
            assert not client.is_alive()
        legerd.process.wait(10)
    return bool(notes.writing)


def lines(path: Path) -> Iterator[Recorded]:
    """Every line of the audit log, each of which parses once the daemon has started again."""
    for line in path.read_text().splitlines():
        entry = json.loads(line)
        yield entry["action"], entry.get("secret", ""), entry["authorized"]


def test_what_was_answered_is_there_and_recorded_after_kill_9(
    tmp_path: Path, rng: random.Random, soak: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    uid = tmp_path.stat().st_uid
    (tmp_path / "policy.yaml").write_text(POLICY % uid)
    state, in_flight, rounds = tmp_path / "state", 0, 200 if soak else 4
    for turn in range(rounds):
        if turn % ROUNDS_OF_A_VAULT == 0:
            shutil.rmtree(state, ignore_errors=True)
            notes = Notes()
        in_flight += killed(tmp_path, notes, turn, rng.randrange(1, 150))
        store = Store.open(state, Kek.of(DEV_KEY))
        stored = {
            name: secret.versions[1].value.reveal() for name, secret in store.snapshot.items()
        }
        store.close()
        assert notes.put.items() <= stored.items()
        assert set(stored.values()) <= notes.tried
        AuditLog(state / "audit.log").close()  # a start cuts off what was never promised
        missing = notes.recorded - Counter(lines(state / "audit.log"))
        assert not missing
    with capsys.disabled():
        print(f"\n{rounds} kills, {in_flight} of them with puts in flight")
    assert in_flight >= rounds / 2
