"""tailscaled's LocalAPI: HTTP over its unix socket, of which legerd asks two questions."""

from __future__ import annotations

import http.client
import json
import socket
from pathlib import Path
from typing import Any
from urllib.parse import quote

_HOST = "local-tailscaled.sock"
_SECONDS = 5.0
_MAX_ANSWER = 16 << 20


class LocalApiError(Exception):
    """tailscaled does not answer, or not with what was asked for."""


class LocalApi:
    """tailscaled at the unix socket `path`; every question is a connection of its own."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def whois(self, address: str) -> object:
        """Who has `address` (ip:port): node, user and capabilities."""
        return self._get(f"/localapi/v0/whois?addr={quote(address)}")

    def status(self) -> object:
        """This node's state, without its peers."""
        return self._get("/localapi/v0/status?peers=false")

    def _get(self, path: str) -> object:
        connection = _Connection(self._path)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            if answer.status != 200:
                raise LocalApiError(f"tailscaled answers {answer.status}")
            return json.loads(answer.read(_MAX_ANSWER))
        except (OSError, http.client.HTTPException, ValueError, RecursionError) as error:
            raise LocalApiError("tailscaled cannot be asked") from error
        finally:
            connection.close()


def mapping(value: object) -> dict[str, Any]:
    """A JSON object; null counts as an empty one. LocalApiError if it is neither."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise LocalApiError("an answer of the wrong shape")
    return value


def texts(value: object) -> list[str]:
    """A list of texts; null counts as empty, a null in it as an empty text, as in Go."""
    if value is None:
        return []
    if not isinstance(value, list):
        raise LocalApiError("a list of the wrong shape")
    if not all(item is None or isinstance(item, str) for item in value):
        raise LocalApiError("a list of the wrong shape")
    return [item or "" for item in value]


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__(_HOST, timeout=_SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(_SECONDS)
        self.sock.connect(str(self._path))
