"""The reason in the journal for which a unit did not start, as podman or the hook gave it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

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


def removed_by(unit: str, container: str, *, user: bool) -> str:
    """The command that ended the container of `unit` from outside of it; "" if none did.

    Podman notes in the journal who a container died under: conmon's clean-up, which belongs to
    the unit, or somebody else's `podman rm`. Of that command only the first two words are told.
    """
    entry = _last(["PODMAN_EVENT=died", f"PODMAN_NAME={container}"])
    where = "_SYSTEMD_USER_UNIT" if user else "_SYSTEMD_UNIT"
    if not container or entry.get(where, unit) == unit:
        return ""
    words = str(entry.get("_CMDLINE", "")).split()[:2]
    return " ".join([words[0].rpartition("/")[2], *words[1:]]) if words else ""


def _last(matches: Sequence[str]) -> Mapping[str, Any]:
    """The newest entry of this boot that all of `matches` are true of; empty without one."""
    command = ["journalctl", "-b", "-n", "1", "-o", "json", "--no-pager", "-q", *matches]
    try:
        entry = json.loads(processes.run(command, timeout=10).stdout)
    except (LegerError, ValueError):
        return {}
    return entry if isinstance(entry, dict) else {}


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
