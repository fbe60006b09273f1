"""What this host is on its tailnet, from tailscaled's LocalAPI on the same host."""

from __future__ import annotations

import http.client
import json
import socket
from pathlib import Path

SOCKET = Path("/run/tailscale/tailscaled.sock")
_HOST = "local-tailscaled.sock"
_SECONDS = 2.0
_MAX_BYTES = 4 << 20


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__(_HOST, timeout=_SECONDS)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(_SECONDS)
        self.sock.connect(str(self.path))


def tags(path: Path = SOCKET) -> tuple[str, ...] | None:
    """The tags of this node, without "tag:"; None when nobody knows, because it is not up, say."""
    connection = _Connection(path)
    try:
        connection.request("GET", "/localapi/v0/status?peers=false")
        answer = connection.getresponse()
        raw = json.loads(answer.read(_MAX_BYTES))
        if answer.status != 200 or raw["BackendState"] != "Running":
            return None
        return tuple(str(tag).removeprefix("tag:") for tag in raw["Self"].get("Tags") or ())
    except (OSError, http.client.HTTPException, ValueError, LookupError, TypeError, AttributeError):
        return None
    finally:
        connection.close()
