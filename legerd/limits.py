"""What a listener bears, and what each caller may hold of it."""

from __future__ import annotations

import resource
import threading
from dataclasses import dataclass
from typing import Any

from legerd.identity import Peer

_UNKNOWN, _CONTAINED = -1, -2

MAX_BODY = 16 << 20
WORKERS = 16
CONNECTIONS = 8192


@dataclass(frozen=True)
class Limits:
    """What one listener bears: bytes of a body, seconds for a request and of silence."""

    body: int = MAX_BODY
    request_seconds: float = 60.0
    idle_seconds: float = 120.0
    connections: int = CONNECTIONS
    workers: int = WORKERS


def most_connections() -> int:
    """How many connections a listener may have with the descriptors that this process may open.

    The soft limit is raised first; an accept that fails for want of one would be tried for ever.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    descriptors = min(hard, 8 * CONNECTIONS)
    resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, hard))
    return min(CONNECTIONS, descriptors // 4)


def share(peer: Peer | None, address: Any) -> int | str:
    """Whose share a connection counts in: a uid's, all containers', or a host's by its address."""
    if peer is not None:
        return _CONTAINED if peer.contained else peer.uid
    return str(address[0]) if isinstance(address, tuple) else _UNKNOWN


class Shares:
    """What each holds of a listener: connections, and bytes of requests not yet answered.

    Each is a uid, or an address of the tailnet. No single one may have so much that others find no
    room; root may, but not in a container.
    """

    def __init__(self, limits: Limits) -> None:
        self._connections = limits.connections // 2
        self._bytes = limits.body * 8
        self._held: dict[int | str, list[int]] = {}
        self._lock = threading.Lock()

    def add(self, holder: int | str, connections: int, size: int) -> bool:
        """Count what came (or, negative, went); False if that is too much."""
        with self._lock:
            held = self._held.setdefault(holder, [0, 0])
            held[0] += connections
            held[1] += size
            if held == [0, 0]:
                del self._held[holder]
            return holder == 0 or (held[0] <= self._connections and held[1] <= self._bytes)
