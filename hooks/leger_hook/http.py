"""HTTP on unix sockets; http.client costs 20 ms, so nobody imports it before podman is at work."""

from __future__ import annotations

import http.client
import socket
import urllib.parse

from leger_hook.outcomes import BrokenOff

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


def connect(path: str) -> http.client.HTTPConnection:
    """A connection to the unix socket `path`; OSError says why there is none."""
    connection = http.client.HTTPConnection("localhost")
    connection.auto_open = 0
    connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.sock.connect(path)
    return connection


def request(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    body: bytes | None,
    headers: Mapping[str, str],
) -> tuple[int, bytes]:
    """The status and body of the answer; BrokenOff if the other side closes early."""
    try:
        connection.request(method, path, body, dict(headers))
        response = connection.getresponse()
        return response.status, response.read()
    except (OSError, http.client.HTTPException) as error:
        raise BrokenOff(f"broken off: {type(error).__name__}") from error


def quoted(text: str) -> str:
    """`text` for a URL."""
    return urllib.parse.quote(text, safe="")
