"""A real server on a real unix socket, in this process, and a plain client for it."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from legerd import server
from legerd.api import QUICK, make_app
from legerd.audit import AuditLog
from legerd.limits import Limits
from legerd.local import LocalCallers
from legerd.page import Page
from legerd.policy import PolicyFile
from legerd.service import Service
from legerd.uses import UsesFile
from tests.legerd.vault import MemoryVault

HEAD = (
    b"Host: localhost\r\nContent-Type: application/json\r\nSec-X-Tailscale-No-Browsers: setec\r\n"
)
LIST = b"POST /api/list HTTP/1.1\r\n" + HEAD
HEADERS = {"Content-Type": "application/json", "Sec-X-Tailscale-No-Browsers": "setec"}


def request(*headers: bytes, body: bytes = b"", line: bytes = b"POST /api/list HTTP/1.1") -> bytes:
    """One request by hand, after whose answer the connection ends."""
    lines = [line, HEAD.rstrip(), *headers, b"Connection: close"]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def status(answer: bytes) -> int:
    """The status of an answer by hand, 0 if there is none."""
    return int(answer.split(b" ")[1]) if answer else 0


def body(answer: bytes) -> bytes:
    """The body of an answer by hand."""
    return answer.partition(b"\r\n\r\n")[2]


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout: float = 10) -> None:
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self.path))


@dataclass
class Served:
    path: Path
    folder: Path
    vault: MemoryVault
    audit: AuditLog
    listener: server.Listener
    service: Service

    @property
    def policy(self) -> Path:
        return self.folder / "policy.yaml"

    def connect(self) -> UnixConnection:
        return UnixConnection(self.path)

    def call(self, name: str, body: Any = None) -> tuple[int, Any]:
        """Status and decoded answer of one API call."""
        status, data, _ = self.request("POST", f"/api/{name}", json.dumps(body or {}).encode())
        try:
            return status, json.loads(data) if data else None
        except ValueError:
            return status, data.decode()

    def request(
        self, method: str, path: str, body: bytes | None = None, headers: Any = None
    ) -> tuple[int, bytes, dict[str, str]]:
        connection = self.connect()
        try:
            connection.request(method, path, body, HEADERS if headers is None else headers)
            answer = connection.getresponse()
            found = {key.lower(): value for key, value in answer.getheaders()}
            return answer.status, answer.read(), found
        finally:
            connection.close()

    def raw(self, data: bytes, *, timeout: float = 5) -> bytes:
        """Everything the server sends for `data`, until it closes or is silent."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(timeout)
            connection.connect(str(self.path))
            answer = b""
            with contextlib.suppress(OSError):
                connection.sendall(data)
                connection.shutdown(socket.SHUT_WR)
                while part := connection.recv(65536):
                    answer += part
            return answer

    def lines(self) -> list[dict[str, Any]]:
        """The audit log."""
        text = (self.folder / "audit.log").read_text()
        return [json.loads(line) for line in text.splitlines()]


@contextlib.contextmanager
def serve(folder: Path, limits: Limits | None = None) -> Iterator[Served]:
    """A server with an empty vault, its files in `folder`."""
    path = folder / "s"
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(path))
    listening.listen(1024)
    audit = AuditLog(folder / "audit.log")
    vault = MemoryVault()
    callers = LocalCallers(PolicyFile(folder / "policy.yaml"), "host.example")
    service = Service(vault, audit)
    page = Page("host.example", UsesFile(folder / "units.json"))
    app = make_app(service, callers, page)
    listener = server.Listener(listening, app, limits or Limits(), service.requests.add, QUICK)
    listener.start()
    held = listening.dup()  # as systemd holds it
    try:
        yield Served(path, folder, vault, audit, listener, service)
    finally:
        service.watchers.close()
        listener.stop()
        held.close()
        audit.close()
