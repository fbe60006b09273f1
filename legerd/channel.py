"""What Leger makes of waitress's parts, and their only importer: requests, answers, connections.

The loop of a server buffers whole requests in memory (never in files). A request is answered by a
worker, or by the loop itself where that takes no longer than to hand it over; an answer that has
to be in the audit log first is held meanwhile, and no worker with it.
"""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from waitress import wasyncore
from waitress.adjustments import Adjustments
from waitress.buffers import OverflowableBuffer
from waitress.channel import ClientDisconnected, HTTPChannel
from waitress.parser import HTTPRequestParser, ParsingError
from waitress.receiver import FixedStreamReceiver
from waitress.server import TcpWSGIServer, UnixWSGIServer
from waitress.task import ThreadedTaskDispatcher, WSGITask

from legerd import reading
from legerd.identity import IdentityError, Peer, read_peer
from legerd.interest import READ, WRITE, Interest
from legerd.limits import Limits, Shares, share
from legerd.watch import Parked

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

    from legerd.audit import Promise

MAX_HEADER = 64 << 10
_QUICK_BYTES = 4096
_REMEMBERED = 256
_REMEMBERED_BYTES = 1024
#: What was read of whole headers, by their bytes; see _Parser.parse_header.
_HEADERS: dict[bytes, dict[str, Any]] = {}


class _Parser(HTTPRequestParser):
    """Reads a request as Go does, and refuses what could be read in two ways."""

    path = ""  # waitress asks a request for it that had none
    headers: Any
    body_rcv: Any

    def parse_header(self, header_plus: bytes) -> None:
        """What one header says; clients send the same one again and again."""
        if known := _HEADERS.get(header_plus):
            vars(self).update(known, headers=known["headers"].copy())
            if self.content_length:
                body = OverflowableBuffer(sys.maxsize)
                self.body_rcv = FixedStreamReceiver(self.content_length, body)
            return
        before = set(vars(self))
        self._parse(header_plus)
        if len(header_plus) <= _REMEMBERED_BYTES and not self.chunked:
            if len(_HEADERS) >= _REMEMBERED:
                _HEADERS.clear()
            found = {key: vars(self)[key] for key in vars(self).keys() - before - {"body_rcv"}}
            _HEADERS[header_plus] = {**found, "headers": self.headers.copy()}

    def _parse(self, header_plus: bytes) -> None:
        try:
            plain, path = reading.read(header_plus)
        except reading.UnclearError as error:
            raise ParsingError(*error.args) from None
        super().parse_header(plain)
        self.path = path


class _Task(WSGITask):
    """Asks the application and holds its answer, which may have to wait for the audit log."""

    channel: Any
    request: Any
    response_headers: Any
    promise: Promise | None = None
    body = b""
    began = 0.0

    def ask(self) -> None:
        """Run the application; nothing is sent yet."""
        self.start()
        self.began = time.perf_counter()
        environ = self.get_environment()
        self.body = b"".join(self.channel.server.application(environ, self._begin))
        promise = environ.get("legerd.promise")
        self.promise = promise if promise and promise.entries else None

    def refuse(self) -> None:
        """Take the answer back: what it tells could not be recorded."""
        self._begin("500 Internal Server Error", [("Content-Type", "text/plain; charset=utf-8")])
        self.body = b"internal error\n"

    def execute(self) -> None:
        """Send the answer; the connection ends with it while draining."""
        if self.channel.server.draining:
            self.set_close_on_finish()
        self.content_length = len(self.body)
        header = self.build_response_header()
        self.channel.write_soon(header + self.body if self.has_body else header)
        self.wrote_header = True
        if self.environ:
            seconds = time.perf_counter() - self.began
            path = self.environ.get("legerd.call", "/")
            self.channel.server.answered(path, int(self.status[:3]), seconds)

    def _begin(self, status: str, headers: Any, exc_info: Any = None) -> Any:
        self.status, self.response_headers = status, list(headers)

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


class _ErrorTask(_Task):
    """Refuses what is not HTTP, without repeating any of it."""

    def ask(self) -> None:
        self.start()
        error = self.request.error
        self._begin(f"{error.code} {error.reason}", [("Content-Type", "text/plain; charset=utf-8")])
        self.body = self.status.encode()
        self.set_close_on_finish()


class _Channel(HTTPChannel):
    """A connection, its peer read from the kernel when it was accepted."""

    parser_class = _Parser

    server: Any
    requests: Any
    requests_lock: Any
    _fileno: int

    def __init__(
        self, server: Any, sock: socket.socket, address: Any, *args: Any, **kwargs: Any
    ) -> None:
        self.peer: Peer | None = None
        self.began = 0.0
        self.until: float | None = None
        self._size = 0
        self._gone = False
        if sock.family == socket.AF_UNIX:
            with contextlib.suppress(IdentityError, OSError):
                self.peer = read_peer(sock)
        self._share = share(self.peer, address)
        super().__init__(server, sock, address, *args, **kwargs)
        if not self._count(1, 0):
            self.will_close = True
        server.touched.append(self)

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

    def is_quick(self, paths: Collection[str]) -> bool:
        """Whether the next request is small, of `paths`, and of a caller that is known by now."""
        request = self.requests[0]
        return (
            request.path in paths
            and not request.error
            and not request.chunked
            and request.content_length <= _QUICK_BYTES
            and self.peer is not None
            and "subject" in vars(self.peer)
        )

    def service(self) -> None:
        """Ask for the answer to one request; one that is parked keeps its place in the queue."""
        request = self.requests[0]
        task = (_ErrorTask if request.error else _Task)(self, request)
        try:
            if self.connected:
                task.ask()
        except Parked as parked:
            self.until = parked.until
            parked.park(lambda: self.server.add_task(self))
            return
        self.until = None
        if task.promise is None:
            self._reply(task)
        else:
            task.promise.then(lambda recorded: self._recorded(task, recorded))

    def _recorded(self, task: _Task, recorded: bool) -> None:
        """The audit log has what `task` answers, or could not take it."""
        if not recorded and not task.status.startswith("403"):
            task.refuse()
        self._reply(task)

    def _reply(self, task: _Task) -> None:
        """Send the answer, and go on with what the connection has sent meanwhile."""
        try:
            task.execute()
        except (ClientDisconnected, OSError):
            task.close_on_finish = True
        with self.requests_lock:
            self._finish(task)
        if not self.requests and self.request is None:
            self._count(0, -self._size)
        self.last_activity = time.time()
        self.server.touched.append(self)
        if self.connected:
            self.server.pull_trigger()

    def _finish(self, task: _Task) -> None:
        """Forget the request that was answered; the next one is served, if any is here."""
        if self.current_outbuf_count > 0:  # a buffer for each answer, so that it is given back
            self.current_outbuf_count = self.adj.outbuf_high_watermark
        if task.close_on_finish:
            self.close_when_flushed = True
            answered, self.requests = self.requests, []
        else:
            answered, self.requests = self.requests[:1], self.requests[1:]
        for request in answered:
            request.close()
        if self.connected and self.requests:
            self.server.add_task(self)
        elif self.connected and self._waits_to_continue():
            self.send_continue()

    def _waits_to_continue(self) -> bool:
        """Whether a client has sent the header alone, and asked whether to go on."""
        request = self.request
        return (
            bool(request and request.expect_continue and request.headers_finished)
            and not self.sent_continue
        )

    def del_channel(self, map: Any = None) -> None:  # noqa: A002 - waitress's name
        self.server.interest.forget(self._fileno)
        super().del_channel(map)
        if not self._gone:  # waitress may close twice
            self._gone = True
            self._count(-1, -self._size)

    def _count(self, connections: int, size: int) -> bool:
        self._size += size
        counted: bool = self.server.shares.add(self._share, connections, size)
        return counted


class Server:
    """What our two servers add to waitress's: time limits, shares and draining."""

    channel_class: type[HTTPChannel] = _Channel
    draining = False
    limits: Limits
    shares: Shares
    quick: Collection[str]
    answered: Any
    interest: Interest
    ready: list[_Channel]
    touched: deque[_Channel]  # by any thread
    turning = 0  # the thread in which the loop turns
    over = False

    def turn(self: Any, seconds: float) -> None:
        """Wait for what comes, `seconds` at most, and deal with it."""
        self.turning = threading.get_ident()
        self._listen()
        for descriptor, events in self.interest.wait(seconds):
            found = self._map.get(descriptor)
            if found is not None:
                wasyncore.readwrite(found, events)
            if isinstance(found, _Channel):
                self.touched.append(found)
        while self.ready:
            self.ready.pop(0).service()

    def _listen(self: Any) -> None:
        """Wait for what is of use: a connection is looked at when something happened to it."""
        self.interest.set(self.trigger._fileno, READ)
        self.interest.set(self._fileno, READ if self.readable() else 0)
        while self.touched:
            channel = self.touched.popleft()
            if channel._fileno in self.active_channels:
                events = (READ if channel.readable() else 0) | (WRITE if channel.writable() else 0)
                self.interest.set(channel._fileno, events)

    def drain(self: Any) -> None:
        """Accept no more; each connection gets one more answer, which closes it."""
        self.draining = True
        self.accepting = False
        self.pull_trigger()

    def shut(self: Any) -> None:
        """End the workers and close what is left, once the loop turns no more."""
        self.over = True
        self.task_dispatcher.shutdown(timeout=1)
        wasyncore.close_all(self._map, ignore_all=True)
        self.interest.close()

    def pull_trigger(self: Any) -> None:
        """Wake the loop; an answer that comes when it has ended finds a closed descriptor."""
        if not self.over:
            super().pull_trigger()  # type: ignore[misc]

    def add_task(self: Any, channel: _Channel) -> None:
        """Give a request to a worker, but for one that the loop itself answers at once."""
        if threading.get_ident() == self.turning and channel.is_quick(self.quick):
            self.ready.append(channel)
        else:
            super().add_task(channel)  # type: ignore[misc]

    def maintenance(self: Any, now: float) -> None:
        """Close connections that are silent, or that take too long for one request."""
        super().maintenance(now)  # type: ignore[misc]
        for channel in list(self.active_channels.values()):
            if channel.began and now - channel.began > self.limits.request_seconds:
                channel.will_close = True
            if channel.will_close:
                self.touched.append(channel)


class _TcpServer(Server, TcpWSGIServer):  # type: ignore[misc]
    pass


class _UnixServer(Server, UnixWSGIServer):  # type: ignore[misc]
    pass


def make_server(
    listening: socket.socket,
    application: WSGIApplication,
    limits: Limits,
) -> Server:
    """What answers on `listening`; its loop turns when somebody calls `turn`."""
    kind = _UnixServer if listening.family == socket.AF_UNIX else _TcpServer
    dispatcher = ThreadedTaskDispatcher()
    dispatcher.set_thread_count(limits.workers)
    made: Server = kind(
        application,
        {},
        True,
        listening,
        dispatcher=dispatcher,
        adj=_adjustments(limits, listening),
        bind_socket=False,
        sockinfo=(listening.family, listening.type, listening.proto, listening.getsockname()),
    )
    made.limits, made.shares = limits, Shares(limits)
    made.interest, made.ready, made.touched = Interest(), [], deque()
    return made


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
