"""One HTTP request to a server at a URL or a unix socket, bounded as a whole by a time limit."""

from __future__ import annotations

import http.client
import socket
import ssl
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from leger.errors import UsageError
from leger.setec.errors import UnreachableError

MAX_ANSWER = 256 << 20
_HEADERS = {"Content-Type": "application/json", "Sec-X-Tailscale-No-Browsers": "setec"}


@dataclass(frozen=True)
class Server:
    """Where a server is: a unix socket, or a host and port with or without TLS."""

    path: Path | None = None
    host: str = "localhost"
    port: int = 0
    tls: bool = False
    prefix: str = ""

    @classmethod
    def parse(cls, text: str | Path) -> Self:
        """Read http://HOST[:PORT], https://HOST[:PORT], unix:PATH or a Path; else UsageError."""
        if isinstance(text, Path):
            return cls(path=text)
        if text.startswith("unix:"):
            return cls(path=Path(text.removeprefix("unix:").removeprefix("//")))
        try:
            url = urlsplit(text)
            port = url.port or (443 if url.scheme == "https" else 80)
        except ValueError as error:
            raise UsageError(f"{text!r}: {error}") from error
        if url.scheme not in {"http", "https"} or not url.hostname or url.query or url.fragment:
            raise UsageError(
                f"{text!r} is no address of a setec server",
                hint="http://HOST:PORT, https://HOST:PORT or unix:PATH",
            )
        if url.username is not None:
            raise UsageError("the address of a setec server holds no user and no password")
        return cls(None, url.hostname, port, url.scheme == "https", url.path.removesuffix("/"))

    def __str__(self) -> str:
        if self.path is not None:
            return f"unix:{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http{'s' if self.tls else ''}://{host}:{self.port}{self.prefix}"


def post(
    server: Server, path: str, body: bytes, *, seconds: float, context: ssl.SSLContext | None
) -> tuple[int, bytes]:
    """Status and body of a POST that may last `seconds`; UnreachableError if there is no answer.

    Redirects are answers like others, and no proxy is asked: secrets go nowhere else.
    """
    connection = _Connection(server, seconds, context)
    try:
        connection.request("POST", server.prefix + path, body, _HEADERS)
        answer = connection.getresponse()
        data = answer.read(MAX_ANSWER + 1)
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise UnreachableError(f"{server}: no answer: {reason}") from error
    finally:
        connection.close()
    if len(data) > MAX_ANSWER:
        raise UnreachableError(f"{server}: an answer larger than {MAX_ANSWER >> 20} MiB")
    return answer.status, data


class _Bounded:
    """A socket's part that gives each read only what is left until `deadline`, if it has one."""

    deadline: float | None = None

    def recv_into(self, *arguments: Any, **options: Any) -> int:
        if self.deadline is not None:
            self.settimeout(left(self.deadline))  # type: ignore[attr-defined]
        return super().recv_into(*arguments, **options)  # type: ignore[misc,no-any-return]


class _Socket(_Bounded, socket.socket):
    """A plain one."""


class _TlsSocket(_Bounded, ssl.SSLSocket):
    """One with TLS."""


class _Connection(http.client.HTTPConnection):
    """A connection for one request."""

    def __init__(self, server: Server, seconds: float, context: ssl.SSLContext | None) -> None:
        super().__init__(server.host, server.port or None, timeout=seconds)
        if server.tls:
            self.default_port = 443
        self._server = server
        self._deadline = time.monotonic() + seconds
        self._context = context

    def connect(self) -> None:
        server = self._server
        if server.path is not None:
            self.sock = _bounded(_Socket(socket.AF_UNIX, socket.SOCK_STREAM), self._deadline)
            self.sock.connect(str(server.path))
            return
        made = socket.create_connection((server.host, server.port), left(self._deadline))
        plain = _bounded(_Socket(fileno=made.detach()), self._deadline)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = _tls(plain, server.host, self._context) if server.tls else plain


def _bounded(made: _Socket, deadline: float) -> _Socket:
    made.deadline = deadline
    made.settimeout(left(deadline))
    return made


def _tls(plain: _Socket, host: str, context: ssl.SSLContext | None) -> ssl.SSLSocket:
    chosen = context or ssl.create_default_context()
    chosen.sslsocket_class = _TlsSocket
    try:
        wrapped = chosen.wrap_socket(plain, server_hostname=host)
    except BaseException:
        plain.close()
        raise
    assert isinstance(wrapped, _TlsSocket)
    wrapped.deadline = plain.deadline
    return wrapped


def left(deadline: float) -> float:
    """The seconds until `deadline` (of time.monotonic), never none; TimeoutError afterwards."""
    seconds = deadline - time.monotonic()
    if seconds <= 0:
        raise TimeoutError("timed out")
    return seconds
