"""Clients that call again as soon as they are answered: one process, one connection each."""

from __future__ import annotations

import selectors
import socket
import statistics
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass

_HEADERS = (
    "Host: localhost\r\nContent-Type: application/json\r\nSec-X-Tailscale-No-Browsers: setec\r\n"
)
_FINE = (b"HTTP/1.1 200", b"HTTP/1.1 304")
_MAX = 1 << 20


@dataclass(frozen=True)
class Run:
    """What some clients saw: calls a second, and of a call's milliseconds the quantiles."""

    rate: float
    median: float
    late: float  # of 100 calls, one takes longer


def request(call: str, body: str) -> bytes:
    """One HTTP request of setec's API."""
    length = f"Content-Length: {len(body)}\r\n"
    return f"POST /api/{call} HTTP/1.1\r\n{_HEADERS}{length}\r\n{body}".encode()


def put(name: str, value: bytes) -> bytes:
    """The request that stores `value`."""
    return request("put", f'{{"Name":"{name}","Value":"{b64encode(value).decode()}"}}')


def forever(call: str, body: str) -> Iterator[bytes]:
    """The same request again and again."""
    data = request(call, body)
    while True:
        yield data


def ask(connection: socket.socket, data: bytes) -> bytes:
    """Send one request; its whole answer."""
    connection.sendall(data)
    answer = connection.recv(_MAX)
    if not answer.startswith(_FINE):
        raise RuntimeError(f"a call failed: {answer[:12]!r}")
    header, _, body = answer.partition(b"\r\n\r\n")
    length = header.lower().partition(b"content-length: ")[2].split(b"\r\n")[0]
    while len(body) < int(length or 0):
        body += connection.recv(_MAX)
    return body


def measure(
    connect: Callable[[], socket.socket], calls: list[Iterator[bytes]], seconds: float
) -> Run:
    """Let a client for each of `calls` call for `seconds`, after a tenth of that to warm up."""
    selector = selectors.DefaultSelector()
    began: dict[socket.socket, float] = {}
    for each in calls:
        connection = connect()
        selector.register(connection, selectors.EVENT_READ, each)
        began[connection] = time.perf_counter()
        connection.sendall(next(each))
    times: list[float] = []
    start = time.perf_counter() + seconds / 10
    while (now := time.perf_counter()) < start + seconds:
        for key, _ in selector.select(1):
            connection = key.fileobj  # type: ignore[assignment]
            if not connection.recv(_MAX).startswith(_FINE):
                raise RuntimeError("a call failed")
            now = time.perf_counter()
            if now > start:
                times.append(now - began[connection])
            began[connection] = now
            connection.sendall(next(key.data))
    for connection in began:
        connection.close()
    selector.close()
    if not times:
        raise RuntimeError(f"no call was answered within {seconds} s")
    late = sorted(times)[len(times) * 99 // 100]
    return Run(len(times) / seconds, statistics.median(times) * 1000, late * 1000)
