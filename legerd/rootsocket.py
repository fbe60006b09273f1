"""Calls of root's commands to the running server, on the socket that is root's."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from leger.errors import LegerError, NotAuthorisedError

PATH = Path("/run/legerd/root.sock")
_HEADERS = {"Content-Type": "application/json", "Sec-X-Tailscale-No-Browsers": "setec"}
_SECONDS = 300.0


def ask(call: str, fields: Mapping[str, object] | None = None) -> dict[str, Any]:
    """What legerd answers to /api/leger/CALL.

    Raises LegerError if it does not answer or refuses, NotAuthorisedError for who is not root.
    """
    connection = _Connection()
    try:
        body = json.dumps(fields or {})
        connection.request("POST", f"/api/leger/{call}", body, _HEADERS)
        answer = connection.getresponse()
        data = answer.read()
    except (OSError, http.client.HTTPException) as error:
        raise LegerError(
            f"{PATH}: legerd does not answer: {error}", hint="systemctl status legerd.service"
        ) from error
    finally:
        connection.close()
    if answer.status == http.client.FORBIDDEN:
        raise NotAuthorisedError(f"only root of this host may ask for {call}", hint="use sudo")
    if answer.status != http.client.OK:
        said = data.decode(errors="replace").strip()[:1000]
        raise LegerError(f"legerd: {call}: {said}", hint="journalctl -u legerd.service says more")
    found: dict[str, Any] = json.loads(data)
    return found


class _Connection(http.client.HTTPConnection):
    def __init__(self) -> None:
        super().__init__("localhost", timeout=_SECONDS)

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(PATH))
