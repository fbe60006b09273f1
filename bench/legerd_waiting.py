"""legerd while others wait: how soon a watcher is told, and how late a caller beside idle ones is.

On one listener: 500 silent connections, 500 half-sent requests, 500 that send a byte a second and
1,000 watchers, all open while another caller is timed.
"""

from __future__ import annotations

import contextlib
import resource
import socket
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from bench import servers
from bench.figures import Figure
from bench.load import ask, forever, measure, put, request
from bench.servers import Server
from legerd.keys import Kek
from legerd.store import Store

GROUP = "legerd waiting"
CROWD, WATCHERS = 500, 1000
CHANGES = 50
SECONDS = 5.0
_WATCH = '{{"Secrets":[{{"Name":"{}","Version":{}}}],"Seconds":120}}'


def figures() -> Iterator[Figure]:
    """The time from a change to the watcher's answer; the quantiles of a call in a crowd."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65536), hard))
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        store = Store.open(Path(folder), Kek.of(bytes(32)), create=True)
        for name in ("watched", "still", "asked"):
            store.put(name, bytes(1024), "")
        store.close()
        with servers.legerd(Path(folder)) as legerd:
            told = sorted(_told(legerd))
            yield Figure(GROUP, "a change to its watcher, median", statistics.median(told), "ms")
            yield Figure(GROUP, "a change to its watcher, slowest", told[-1], "ms", limit=100)
            alone = measure(legerd.connect, [forever("get", '{"Name":"asked"}')], SECONDS)
            yield Figure(GROUP, "a get, alone, 99 %", alone.late)
            with _crowd(legerd):
                beside = measure(legerd.connect, [forever("get", '{"Name":"asked"}')], SECONDS)
            note = f"{3 * CROWD} idle or slow ones, {WATCHERS} watchers"
            yield Figure(GROUP, "a get, in a crowd, median", beside.median, note=note)
            yield Figure(GROUP, "a get, in a crowd, 99 %", beside.late, limit=50, note=note)


def _told(legerd: Server) -> Iterator[float]:
    """Milliseconds from the moment that a put is sent to the watcher's answer."""
    with legerd.connect() as watcher, legerd.connect() as writer:
        for version in range(1, CHANGES + 1):
            watcher.sendall(request("leger/watch", _WATCH.format("watched", version)))
            time.sleep(0.01)
            ask(writer, put("watched", b"%d" % version))
            begin = time.perf_counter()
            ask(writer, request("activate", f'{{"Name":"watched","Version":{version + 1}}}'))
            watcher.recv(65536)
            yield (time.perf_counter() - begin) * 1000


@contextlib.contextmanager
def _crowd(legerd: Server) -> Iterator[None]:
    """Everybody who is connected and wants nothing yet."""
    over = threading.Event()
    with contextlib.ExitStack() as stack:
        crowd = [stack.enter_context(legerd.connect()) for _ in range(3 * CROWD + WATCHERS)]
        whole = put("x", bytes(1000))
        for connection in crowd[CROWD : 2 * CROWD]:
            connection.sendall(whole[: len(whole) // 2])
        for connection in crowd[3 * CROWD :]:
            connection.sendall(request("leger/watch", _WATCH.format("still", 1)))
        slow = crowd[2 * CROWD : 3 * CROWD]
        thread = threading.Thread(target=_drip, args=(slow, whole, over))
        thread.start()
        try:
            time.sleep(1)
            yield
        finally:
            over.set()
            thread.join()


def _drip(connections: list[socket.socket], data: bytes, over: threading.Event) -> None:
    for number in range(len(data)):
        for connection in connections:
            connection.sendall(data[number : number + 1])
        if over.wait(1):
            return
