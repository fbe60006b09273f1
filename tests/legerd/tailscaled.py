"""A tailscaled that answers WhoIs as the real one does (its LocalAPI on a unix socket)."""

from __future__ import annotations

import contextlib
import json
import socketserver
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

EVERYTHING = {
    "action": ["get", "info", "put", "create-version", "activate", "delete"],
    "secret": ["*"],
}


def whois(*rules: object, tags: list[str] | None = None, login: str = "user@example.com") -> Any:
    """A WhoIs answer with `rules` under setec's capability."""
    node: dict[str, Any] = {"ID": 2**60, "StableID": "n1", "Name": "host.tail-scale.ts.net."}
    if tags:
        node["Tags"] = tags
    return {
        "Node": {**node, "Addresses": ["100.64.0.7/32"]},
        "UserProfile": {"ID": 1, "LoginName": login, "DisplayName": "U"},
        "CapMap": {"tailscale.com/cap/secrets": list(rules)} if rules else None,
    }


def status(*addresses: str, name: str = "box1.tail1234.ts.net.", **changes: Any) -> Any:
    """A node that runs with `addresses`; without any, one that is not on a tailnet."""
    this = {"ID": "n1", "HostName": "box1", "DNSName": name, "OS": "linux", "UserID": 2**60}
    return {
        "Version": "1.103.0",
        "BackendState": "Running" if addresses else "NeedsLogin",
        "TailscaleIPs": list(addresses) or None,
        "Self": {**this, "TailscaleIPs": list(addresses) or None, "Online": True, **changes},
        "CurrentTailnet": {"Name": "example.com"} if addresses else None,
        "Peer": None,
    }


class Tailscaled(socketserver.ThreadingUnixStreamServer):
    """Answers every address with `answer`; None is 404."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, path: Path) -> None:
        self.answer: Any = whois(EVERYTHING)
        self.asked: list[str] = []
        self.state: Any = status()
        self.known = ""  # only addresses that begin like this
        super().__init__(str(path), _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A caller that went away is nothing to report."""


class _Handler(BaseHTTPRequestHandler):
    server: Any

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        if self.headers["Host"] != "local-tailscaled.sock" or self.headers["Origin"]:
            self._answer(403, b"bad host", "text/plain")
        elif url.path == "/localapi/v0/status":
            self._answer(200, json.dumps(self.server.state).encode(), "application/json")
        elif url.path != "/localapi/v0/whois":
            self._answer(404, b"not found", "text/plain")
        elif self.server.answer is None or not self._asked(url.query).startswith(self.server.known):
            self._answer(404, b"no match for IP:port", "text/plain")
        else:
            answer = self.server.answer
            data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            self._answer(200, data, "application/json")

    def _asked(self, query: str) -> str:
        address = parse_qs(query)["addr"][0]
        self.server.asked.append(address)
        return address

    def _answer(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def address_string(self) -> str:
        return "unix"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing."""


@contextlib.contextmanager
def tailscaled(path: Path) -> Iterator[Tailscaled]:
    """A fake tailscaled at `path`."""
    with Tailscaled(path) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()
