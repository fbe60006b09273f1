"""The tailnet's listeners: on the addresses that tailscaled says are this node's, and no others.

tailscaled may start later, log out or get other addresses; every few seconds it is asked, a new
address gets a listener, and the listener of one that is gone is drained.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self

from legerd import log, server
from legerd.localapi import LocalApi, LocalApiError, mapping, texts

SECONDS = 5.0


@dataclass(frozen=True)
class Node:
    """This node on its tailnet: its addresses, and the names by which it may be asked."""

    addresses: frozenset[str] = frozenset()
    names: frozenset[str] = frozenset()

    @classmethod
    def parse(cls, status: object, now: datetime) -> Self:
        """What tailscaled's status says; no addresses unless the node is on its tailnet now.

        Every field is optional. Raises LocalApiError if one has the wrong shape.
        """
        whole = mapping(status)
        this = mapping(whole.get("Self"))
        on = (
            whole.get("BackendState") == "Running"
            and whole.get("CurrentTailnet") is not None
            and not this.get("Expired")
            and not _past(this.get("KeyExpiry"), now)
        )
        if not on:
            return cls()
        addresses = frozenset(texts(this.get("TailscaleIPs")))
        full = this.get("DNSName")
        name = full.rstrip(".").lower() if isinstance(full, str) else ""
        return cls(addresses, addresses | ({name, name.partition(".")[0]} if name else set()))


def _past(expiry: object, now: datetime) -> bool:
    """Whether the RFC 3339 time `expiry` is over; one that cannot be read counts as over."""
    if expiry is None:
        return False
    try:
        return datetime.fromisoformat(str(expiry)) <= now
    except (ValueError, TypeError):
        return True


Serve = Callable[[socket.socket, Node], server.Listener]


class Follower:
    """Keeps one listener per address of the node; `serve` makes them, on `port` (0: none)."""

    def __init__(self, tailscaled: LocalApi, port: int, serve: Serve) -> None:
        self._tailscaled = tailscaled
        self._port = port
        self._serve = serve
        self._node = Node()
        self._listeners: Mapping[str, server.Listener] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="legerd-follower", daemon=True)

    @property
    def listeners(self) -> list[server.Listener]:
        """The listeners of now."""
        return list(self._listeners.values())

    def start(self) -> None:
        """Begin to follow."""
        if self._port:
            self._thread.start()

    def stop(self) -> None:
        """Follow no more; the listeners go on until they are drained."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def step(self) -> None:
        """Ask once, and do what follows from it."""
        try:
            node = Node.parse(self._tailscaled.status(), datetime.now(UTC))
        except LocalApiError:
            node = Node()
        renamed = node.names != self._node.names
        gone = {a for a in self._listeners if renamed or a not in node.addresses}
        kept = {a: each for a, each in self._listeners.items() if a not in gone}
        server.drain([self._listeners[address] for address in gone])
        for address in sorted(node.addresses - kept.keys()):
            if listener := self._listen(address, node):
                kept[address] = listener
        self._node, self._listeners = node, kept

    def _listen(self, address: str, node: Node) -> server.Listener | None:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        try:
            bound = socket.create_server((address, self._port), family=family, backlog=1024)
        except OSError as error:
            log.error(f"{address} port {self._port}: {error.strerror}: tried again")
            return None
        listener = self._serve(bound, node)
        listener.start()
        log.note(f"listening on {address} port {self._port}")
        return listener

    def _run(self) -> None:
        while not self._stopping.is_set():
            self.step()
            self._stopping.wait(SECONDS)
