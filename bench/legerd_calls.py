"""legerd as its clients see it: calls over the unix socket, audited and durable; its memory.

The clients are one process with one connection each that calls again as soon as it is answered.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.figures import Figure

GROUP = "legerd calls"
SECRETS = 1000
SECONDS = 3.0
ROOT = Path(__file__).resolve().parents[1]
_STARTER = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1")
os.execv(sys.executable, [sys.executable, "-m", "legerd.main", "--dev", *sys.argv[2:]])
"""
_HEADERS = (
    "Host: localhost\r\nContent-Type: application/json\r\nSec-X-Tailscale-No-Browsers: setec\r\n"
)
# Calls a second and median ms of setec's server on a like machine, see its figures in the docs.
_SETEC = {
    ("get", 1): "setec 2156/s",
    ("get", 16): "setec 3998/s",
    ("get 304", 1): "setec 9680/s",
    ("get 304", 16): "setec 16187/s",
    ("put", 1): "setec 228/s",
    ("put", 16): "setec 586/s",
}


@dataclass(frozen=True)
class Run:
    """What some clients saw: calls a second, median milliseconds of a call."""

    rate: float
    median: float


def figures() -> Iterator[Figure]:
    """get, conditional get and put at 1 and 16 clients with 1,000 secrets of 1 KiB stored."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder, _legerd(Path(folder)) as legerd:
        path = Path(folder) / "s"
        _fill(path)
        yield Figure(GROUP, f"resident memory, {SECRETS} secrets", _memory(legerd), "MiB", 60)
        for name, paths in _calls().items():
            for clients in (1, 16):
                run = measure(path, [paths] * clients)
                note = _SETEC[name, clients]
                yield Figure(GROUP, f"{name}, {clients} clients", run.rate, "1/s", note=note)
                yield Figure(GROUP, f"{name}, {clients} clients, median", run.median)


def _calls() -> dict[str, Iterator[bytes]]:
    values = (b64encode(b"%d" % number * 100).decode() for number in range(10**9))
    return {
        "get": _forever("get", '{"Name":"prod/7"}'),
        "get 304": _forever("get", '{"Name":"prod/7","Version":1,"UpdateIfChanged":true}'),
        "put": (
            request("put", f'{{"Name":"prod/{number % SECRETS}","Value":"{value}"}}')
            for number, value in enumerate(values)
        ),
    }


def _forever(call: str, body: str) -> Iterator[bytes]:
    data = request(call, body)
    while True:
        yield data


def request(call: str, body: str) -> bytes:
    """One HTTP request of setec's API."""
    length = f"Content-Length: {len(body)}\r\n"
    return f"POST /api/{call} HTTP/1.1\r\n{_HEADERS}{length}\r\n{body}".encode()


def measure(path: Path, clients: list[Iterator[bytes]], seconds: float = SECONDS) -> Run:
    """Let every client call for `seconds`, after a tenth of that to warm up."""
    selector = selectors.DefaultSelector()
    began: dict[socket.socket, float] = {}
    for calls in clients:
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(str(path))
        selector.register(connection, selectors.EVENT_READ, calls)
        began[connection] = time.perf_counter()
        connection.sendall(next(calls))
    times: list[float] = []
    start = time.perf_counter() + seconds / 10
    while (now := time.perf_counter()) < start + seconds:
        for key, _ in selector.select(1):
            connection = key.fileobj  # type: ignore[assignment]
            if not connection.recv(65536).startswith((b"HTTP/1.1 200", b"HTTP/1.1 304")):
                raise RuntimeError("a call failed")
            now = time.perf_counter()
            if now > start:
                times.append(now - began[connection])
            began[connection] = now
            connection.sendall(next(key.data))
    for connection in began:
        connection.close()
    return Run(len(times) / seconds, statistics.median(times) * 1000)


def _fill(path: Path) -> None:
    bodies = (
        request("put", f'{{"Name":"prod/{n}","Value":"{b64encode(os.urandom(1024)).decode()}"}}')
        for n in range(SECRETS)
    )
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(path))
        for body in bodies:
            connection.sendall(body)
            connection.recv(65536)


@contextlib.contextmanager
def _legerd(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """legerd with an empty vault in `folder`, on the unix socket folder/s."""
    (folder / "state").mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(folder / "s"))
        listening.listen(1024)
        number = listening.fileno()
        options = ["--state-dir", str(folder / "state"), "--policy", str(folder / "policy.yaml")]
        process = subprocess.Popen(
            [sys.executable, "-c", _STARTER, str(number), *options],
            pass_fds=[number],
            env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'lib'}"},
            stderr=subprocess.DEVNULL,
        )
        try:
            yield process
        finally:
            process.terminate()
            process.wait(20)


def _memory(process: subprocess.Popen[bytes]) -> float:
    """The resident memory of `process` in MiB."""
    for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == "VmRSS":
            return int(value.split()[0]) / 1024
    raise RuntimeError("no VmRSS")
