"""A legerd on a port and one on a unix socket, for clients that know setec only."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from leger.setec import Client

from tests.legerd.daemon import Daemon, tcp_daemon, unix_daemon
from tests.legerd.tailscaled import whois

ACTIONS = ["get", "info", "put", "create-version", "activate", "delete"]
ALLOWED = ["ours/*", ""]  # what lies elsewhere is denied
POLICY = f"""\
rules:
  - uid: {os.getuid()}
    action: [{", ".join(ACTIONS)}]
    secret: ["ours/*", ""]
"""


def allow(daemon: Daemon, *patterns: str) -> None:
    """Let the callers of a port do everything with the names that match."""
    assert daemon.tailscaled is not None
    daemon.tailscaled.answer = whois({"action": ACTIONS, "secret": list(patterns)})


@contextlib.contextmanager
def on_port(folder: Path) -> Iterator[Daemon]:
    """legerd on a loopback port; its callers may do everything below ours/."""
    folder.mkdir(exist_ok=True)
    with tcp_daemon(folder) as daemon:
        allow(daemon, *ALLOWED)
        yield daemon


@contextlib.contextmanager
def on_socket(folder: Path) -> Iterator[Daemon]:
    """legerd on a unix socket; this user may do everything below ours/."""
    folder.mkdir(exist_ok=True)
    (folder / "policy.yaml").write_text(POLICY)
    with unix_daemon(folder) as daemon:
        yield daemon


def url(daemon: Daemon) -> str:
    """Where it listens, as the client is told."""
    if isinstance(daemon.address, Path):
        return f"unix:{daemon.address}"
    return f"http://{daemon.address[0]}:{daemon.address[1]}"


def client(daemon: Daemon) -> Client:
    """A client of it."""
    return Client(url(daemon))
