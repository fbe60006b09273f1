"""The sockets that systemd passes: sd_listen_fds(3), by the environment."""

from __future__ import annotations

import os
import socket
from collections.abc import MutableMapping

FIRST = 3
_NAMES = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PIDFDID")


def inherited(environment: MutableMapping[str, str]) -> list[tuple[str, socket.socket]]:
    """Name and socket of what was passed to this very process; the variables are taken out.

    Variables that are meant for another process (LISTEN_PID is not ours) yield nothing.
    """
    values = {name: environment.pop(name, "") for name in _NAMES}
    if values["LISTEN_PID"] != str(os.getpid()):
        return []
    count = int(values["LISTEN_FDS"]) if values["LISTEN_FDS"].isdigit() else 0
    names = values["LISTEN_FDNAMES"].split(":") if values["LISTEN_FDNAMES"] else []
    found = []
    for index in range(count):
        os.set_inheritable(FIRST + index, False)
        name = names[index] if index < len(names) else "unknown"
        found.append((name, socket.socket(fileno=FIRST + index)))
    return found
