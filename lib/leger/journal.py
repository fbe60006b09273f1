"""The reason in the journal for which a unit did not start, as podman or the hook gave it."""

from __future__ import annotations

import json

from leger import processes
from leger.errors import LegerError

_SPEAKERS = ("podman", "secrets-hook")


def reason(unit: str, *, user: bool) -> str:
    """The last error of podman or secrets-hook in this unit; "" without one.

    What the container itself wrote is left out: it may hold anything, secrets too.
    """
    matches = [f"_COMM={name}" for name in _SPEAKERS]
    where = f"_SYSTEMD_USER_UNIT={unit}" if user else f"_SYSTEMD_UNIT={unit}"
    command = ["journalctl", "-b", "-n", "40", "-o", "json", "--no-pager", where, *matches]
    try:
        done = processes.run(command, timeout=10)
    except LegerError:
        return ""
    found = [line for text in done.stdout.splitlines() if (line := _error(text))]
    return found[-1] if found else ""


def _error(text: bytes) -> str:
    try:
        entry = json.loads(text)
    except ValueError:
        return ""
    message = entry.get("MESSAGE")
    if not isinstance(message, str):
        return ""
    if entry.get("_COMM") == "secrets-hook":
        return message
    return message.removeprefix("Error: ") if message.startswith("Error: ") else ""
