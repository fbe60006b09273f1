"""sd_notify(3) without libsystemd: READY, STOPPING and STATUS to the service manager."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Mapping


def notify(state: str, environment: Mapping[str, str] = os.environ) -> bool:
    """Send `state` (lines of NAME=VALUE) to $NOTIFY_SOCKET; whether it was sent.

    A leading @ is an abstract socket. No service manager, or one that does not listen, is fine.
    """
    address = environment.get("NOTIFY_SOCKET", "")
    if address[:1] not in ("/", "@"):
        return False
    if address.startswith("@"):
        address = "\0" + address[1:]
    with (
        contextlib.suppress(OSError),
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel,
    ):
        channel.connect(address)
        channel.sendall(state.encode())
        return True
    return False
