"""Thousands who hold a connection and say little: others are answered meanwhile."""

from __future__ import annotations

import contextlib
import itertools
import json
import resource
import select
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from tests.legerd.daemon import Daemon, tcp_daemon, unix_daemon
from tests.legerd.served import LIST

SILENT, HALF, DRIPPING, WATCHING = 500, 500, 500, 1000
BODY = b'{"Secrets":[{"Name":"watched","Version":1}],"Seconds":300}'
WATCH = LIST.replace(b"list", b"leger/watch") + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY
DRIP = LIST + b"X-Long: " + b"x" * 1000


@pytest.fixture(autouse=True)
def _descriptors() -> Iterator[None]:
    """As many open files as this side needs; legerd sees to its own."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    if before[1] < 16384:
        pytest.skip(f"only {before[1]} open files are allowed here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(before[0], 8192), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def connected(daemon: Daemon) -> socket.socket:
    """Somebody else's connection: of root, or from another address."""
    unix = isinstance(daemon.address, Path)
    made = socket.socket(socket.AF_UNIX if unix else socket.AF_INET)
    if not unix:
        made.bind(("127.0.0.99", 0))
    made.connect(str(daemon.address) if unix else daemon.address)  # waits for room in the backlog
    made.settimeout(30)
    return made


@contextlib.contextmanager
def dripping(connections: list[socket.socket]) -> Iterator[Callable[[], int]]:
    """Send each one byte a second; how many rounds are done."""
    stop, rounds = threading.Event(), itertools.count()
    done = [0]

    def drip() -> None:
        for place in rounds:
            for connection in connections:
                connection.send(DRIP[place : place + 1])
            done[0] = place + 1
            if stop.wait(1):
                return

    thread = threading.Thread(target=drip)
    thread.start()
    try:
        yield lambda: done[0]
    finally:
        stop.set()
        thread.join()


def quiet(connections: Iterable[socket.socket]) -> bool:
    """Whether the other side of none of them has closed or said anything."""
    poll = select.poll()
    for connection in connections:
        poll.register(connection, select.POLLIN)
    return not poll.poll(0)


def call(daemon: Daemon, name: str, body: Any) -> Any:
    status, answer, _ = daemon.request("POST", f"/api/{name}", json.dumps(body).encode())
    assert status == 200, answer
    return json.loads(answer)


def parked(daemon: Daemon) -> int:
    text = daemon.request("GET", "/metrics", headers={})[1].decode()
    return int(text.partition("\nlegerd_watchers ")[2].partition("\n")[0])


@pytest.mark.parametrize("start", [unix_daemon, tcp_daemon])
def test_others_are_answered_while_thousands_are_held(
    tmp_path: Path, start: Callable[..., AbstractContextManager[Daemon]]
) -> None:
    with start(tmp_path) as daemon, contextlib.ExitStack() as held:
        assert call(daemon, "put", {"Name": "watched", "Value": "MQ=="}) == 1
        silent, half, slow, watching = (
            [held.enter_context(connected(daemon)) for _ in range(number)]
            for number in (SILENT, HALF, DRIPPING, WATCHING)
        )
        for connection in half:
            connection.send(LIST + b"Content-Length: 100\r\n\r\n{")
        for connection in watching:
            connection.send(WATCH)
        with dripping(slow) as rounds:
            while parked(daemon) < WATCHING or rounds() < 2:
                time.sleep(0.05)
            for number in range(20):
                made = call(daemon, "put", {"Name": "a", "Value": f"{number:04}"})
                assert made == number + 1
                assert call(daemon, "get", {"Name": "a", "Version": made})["Version"] == made
            assert quiet((*silent, *half, *slow, *watching))
        assert call(daemon, "create-version", {"Name": "watched", "Version": 7, "Value": ""}) == {}
        for connection in watching:
            assert b'"Version":7' in connection.recv(4096)
        assert "error" not in daemon.log()
        daemon.process.kill()
