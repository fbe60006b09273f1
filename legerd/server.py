"""Serves a WSGI application on sockets that are already bound; the only importer of waitress.

One server with its own loop and workers for each listener, so that nobody on one of them can hold
up another. Its loop buffers whole requests in memory (never in files) before a worker sees them.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from waitress import wasyncore
from waitress.adjustments import Adjustments
from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser, ParsingError
from waitress.server import TcpWSGIServer, UnixWSGIServer
from waitress.task import ErrorTask, ThreadedTaskDispatcher, WSGITask

from legerd import log
from legerd.identity import IdentityError, Peer, read_peer
from legerd.limits import Limits, Shares
from legerd.watch import Parked

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

MAX_HEADER = 64 << 10
DRAIN_SECONDS = 5.0

_CONTROL = re.compile(rb"[\x00-\x1f\x7f]")
_BEYOND = re.compile(rb"[\x80-\xff]")
_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_TARGET = re.compile(rb"(?:[A-Za-z][-+.A-Za-z0-9]*://[^/?]*)?(?P<path>/[^?]*)?")
Answered = Callable[[str, int, float], None]
_UNKNOWN, _CONTAINED = -1, -2
#: Of these, two make a request ambiguous; of all others the first counts.
_SINGLE = frozenset({b"content-length", b"transfer-encoding", b"host"})


class _Parser(HTTPRequestParser):
    """Reads a request as Go does, and refuses what could be read in two ways."""

    path = ""  # waitress asks a request for it that had none

    def parse_header(self, header_plus: bytes) -> None:
        line, _, rest = header_plus.partition(b"\r\n")
        first = _first_line(line)
        headers = _first_of_each(rest)
        names = {name.lower() for name, _ in headers}
        if b"transfer-encoding" in names and b"content-length" in names:
            raise ParsingError("two lengths")
        lines = [b" ".join(first), *(b"%b: %b" % header for header in headers)]
        super().parse_header(b"\r\n".join(lines) + b"\r\n")
        if self.version not in ("1.0", "1.1"):
            raise ParsingError("unknown version")
        if self.version == "1.0" and b"transfer-encoding" in names:
            raise ParsingError("chunks in HTTP/1.0")
        if self.version == "1.1" and b"host" not in names:
            raise ParsingError("no host")
        self.path = _path(first[1])


def _first_line(line: bytes) -> list[bytes]:
    """Method, target and version: letters beyond ASCII percent-encoded, as Go holds them.

    Methods are told apart by case; one that is not in capitals is none that anybody knows.
    """
    parts = line.split(b" ")
    if len(parts) != 3 or _CONTROL.search(line):
        raise ParsingError("invalid first line")
    if parts[0] != parts[0].upper():
        parts[0] = b"UNKNOWN"
    parts[1] = _BEYOND.sub(lambda found: b"%%%02X" % found[0][0], parts[1])
    return parts


def _first_of_each(block: bytes) -> list[tuple[bytes, bytes]]:
    """The headers in `block`: no names with an underscore, of duplicates the first."""
    found: dict[bytes, tuple[bytes, bytes]] = {}
    for line in block.split(b"\r\n"):
        if not line:
            continue
        if line[:1] in (b" ", b"\t"):
            raise ParsingError("folded header")
        name, colon, value = line.partition(b":")
        if not colon or not name:
            raise ParsingError("invalid header")
        key = name.lower()
        if key in found and key in _SINGLE:
            raise ParsingError("duplicate header")
        if b"_" not in name:
            found.setdefault(key, (name, value.strip(b" \t")))
    return list(found.values())


def _path(target: bytes) -> str:
    """The path of a request's target, still percent-encoded; "" if it is an address alone."""
    found = _TARGET.match(target)
    if not found or not found[0] or _ESCAPE.search(found["path"] or b""):
        raise ParsingError("invalid target")
    return (found["path"] or b"").decode("ascii")


class _Task(WSGITask):
    """Hands peer and path to the application, and ends the connection while draining."""

    channel: Any
    request: Any

    def execute(self) -> None:
        if self.channel.server.draining:
            self.set_close_on_finish()
        began = time.perf_counter()
        super().execute()
        seconds = time.perf_counter() - began
        path = (self.environ or {}).get("legerd.call", "/")
        self.channel.server.answered(path, int(self.status[:3]), seconds)

    def write(self, data: bytes) -> None:
        """Send header and body as one, where both are there."""
        if self.wrote_header or not data or not self.has_body:
            super().write(data)
            return
        header = self.build_response_header()
        self.wrote_header = True
        if self.chunked_response:
            self.channel.write_soon(header)
            super().write(data)
        else:
            self.channel.write_soon(header + data)
            self.content_bytes_written += len(data)

    def build_response_header(self) -> bytes:
        """The header; unlike waitress, a connection outlives an answer without a body (304)."""
        asked = self.request.headers.get("CONNECTION", "").lower() == "close"
        stays = self.version == "1.1" and not self.has_body and not self.close_on_finish
        header: bytes = super().build_response_header()
        if stays and not asked:
            self.close_on_finish = False
            header = header.replace(b"Connection: close\r\n", b"")
        return header

    def get_environment(self) -> dict[str, Any]:
        environ: dict[str, Any] = super().get_environment()
        environ["legerd.path"] = self.request.path
        environ["legerd.peer"] = self.channel.peer
        environ["legerd.until"] = self.channel.until
        environ["wsgi.input"].seek(0)  # a call that was parked is run anew
        return environ


class _ErrorTask(ErrorTask):
    """Refuses what is not HTTP, without repeating any of it."""

    request: Any
    response_headers: Any

    def execute(self) -> None:
        error = self.request.error
        body = f"{error.code} {error.reason}".encode()
        self.status = f"{error.code} {error.reason}"
        self.response_headers.append(("Content-Type", "text/plain; charset=utf-8"))
        self.set_close_on_finish()
        self.content_length = len(body)
        self.write(body)


class _Channel(HTTPChannel):
    """A connection, its peer read from the kernel when it was accepted."""

    task_class = _Task
    error_task_class = _ErrorTask
    parser_class = _Parser

    server: Any

    def __init__(self, server: Any, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        self.peer: Peer | None = None
        self.began = 0.0
        self.until: float | None = None
        self._size = 0
        self._gone = False
        if sock.family == socket.AF_UNIX:
            with contextlib.suppress(IdentityError, OSError):
                self.peer = read_peer(sock)
        self._share = _UNKNOWN if self.peer is None else self.peer.uid
        if self.peer and self.peer.contained:
            self._share = _CONTAINED
        super().__init__(server, sock, *args, **kwargs)
        if not self._count(1, 0):
            self.will_close = True

    def received(self, data: bytes) -> bool:
        if not self._count(0, len(data)):
            self.will_close = True
            return False
        done: bool = super().received(data)
        if self.request is None:
            self.began = 0.0
        elif not self.began:
            self.began = time.time()
        return done

    def service(self) -> None:
        """Run one request in a worker; one that is parked keeps its place in the queue."""
        try:
            super().service()
        except Parked as parked:
            self.until = parked.until
            parked.park(lambda: self.server.add_task(self))
            return
        self.until = None
        if not self.requests and self.request is None:
            self._count(0, -self._size)

    def del_channel(self, map: Any = None) -> None:  # noqa: A002 - waitress's name
        super().del_channel(map)
        if not self._gone:  # waitress may close twice
            self._gone = True
            self._count(-1, -self._size)

    def _count(self, connections: int, size: int) -> bool:
        self._size += size
        counted: bool = self.server.shares.add(self._share, connections, size)
        return counted


class _Server:
    """What our two servers add to waitress's: time limits, shares and draining."""

    channel_class: type[HTTPChannel] = _Channel
    draining = False
    limits: Limits
    shares: Shares
    answered: Answered

    def maintenance(self: Any, now: float) -> None:
        """Close connections that are silent, or that take too long for one request."""
        super().maintenance(now)  # type: ignore[misc]
        for channel in list(self.active_channels.values()):
            if channel.began and now - channel.began > self.limits.request_seconds:
                channel.will_close = True


class _TcpServer(_Server, TcpWSGIServer):
    pass


class _UnixServer(_Server, UnixWSGIServer):
    pass


class Listener:
    """One bound socket, served by a loop of its own once `start` is called.

    `answered` is told of each answer, in the worker: what the application took its path for
    (environ["legerd.call"]), its status, and how long it took in seconds.
    """

    def __init__(
        self,
        listening: socket.socket,
        application: WSGIApplication,
        limits: Limits,
        answered: Answered = lambda path, status, seconds: None,
    ) -> None:
        self._map: dict[int, Any] = {}
        self._dispatcher = ThreadedTaskDispatcher()
        self._dispatcher.set_thread_count(limits.workers)
        kind = _UnixServer if listening.family == socket.AF_UNIX else _TcpServer
        self._server = kind(
            application,
            self._map,
            True,
            listening,
            dispatcher=self._dispatcher,
            adj=_adjustments(limits, listening),
            bind_socket=False,
            sockinfo=(listening.family, listening.type, listening.proto, listening.getsockname()),
        )
        self._server.limits = limits
        self._server.shares = Shares(limits)
        self._server.answered = answered
        self._stopped = False
        self._turned = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="legerd-listener", daemon=True)

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def drain(self) -> None:
        """Accept no more; each connection gets one more answer, which closes it."""
        if self._stopped:
            return
        self._server.draining = True
        self._server.accepting = False
        self._server.pull_trigger()

    def idle(self) -> bool:
        """Whether no connection is left."""
        return not self._server.active_channels

    def stop(self) -> None:
        """Close what is left and end the loop; a second time does nothing."""
        if self._stopped:
            return
        self._stopped = True
        self._server.pull_trigger()
        self._thread.join(timeout=5)
        self._dispatcher.shutdown(timeout=1)
        wasyncore.close_all(self._map, ignore_all=True)

    def alive(self, seconds: float) -> bool:
        """Whether the loop has turned within the last `seconds`."""
        return time.monotonic() - self._turned < seconds

    def _run(self) -> None:
        try:
            while not self._stopped:
                self._turned = time.monotonic()
                wasyncore.poll2(1.0, self._map)
        except BaseException as error:  # noqa: BLE001 - half a server is worse than a new one
            log.error(f"the loop of a listener failed: {type(error).__name__}")
            os._exit(1)


def drain(
    listeners: list[Listener],
    seconds: float = DRAIN_SECONDS,
    wake: Callable[[], None] = lambda: None,
) -> None:
    """Drain all `listeners`, for `seconds` at most, then stop them; `wake` ends what is parked."""
    for listener in listeners:
        listener.drain()
    wake()
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and not all(listener.idle() for listener in listeners):
        time.sleep(0.02)
    for listener in listeners:
        listener.stop()


def _adjustments(limits: Limits, listening: socket.socket) -> Adjustments:
    """waitress's settings: all in memory, no names in answers, no proxy believed."""
    return Adjustments(
        sockets=[listening],
        ident="",
        server_name="localhost",
        threads=limits.workers,
        max_request_body_size=limits.body + 1,
        max_request_header_size=MAX_HEADER,
        inbuf_overflow=sys.maxsize,
        outbuf_overflow=sys.maxsize,
        outbuf_high_watermark=sys.maxsize,
        recv_bytes=64 << 10,
        connection_limit=limits.connections,
        channel_timeout=int(limits.idle_seconds),
        cleanup_interval=1,
        asyncore_use_poll=True,
        clear_untrusted_proxy_headers=False,
        log_socket_errors=False,
    )


class _Discreet(logging.Handler):
    """Logs where waitress complained and of what kind of exception; it quotes requests."""

    def emit(self, record: logging.LogRecord) -> None:
        kind = record.exc_info[0].__name__ if record.exc_info and record.exc_info[0] else ""
        place = f"{record.module}.{record.funcName}:{record.lineno}"
        log.note(f"http server: {place} {kind}".rstrip())


def quiet_logs() -> None:
    """Let nothing of a request into the log through waitress."""
    for name in ("waitress", "waitress.queue"):
        logger = logging.getLogger(name)
        logger.propagate = False
        logger.handlers = [_Discreet()]
        logger.setLevel(logging.CRITICAL if name.endswith("queue") else logging.WARNING)
