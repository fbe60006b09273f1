"""The reason in the journal for which a unit did not start, as podman or the hook gave it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from leger import processes
from leger.errors import LegerError

_STOPPING = "de5b426a63be47a7b6ac3eaac82e2f6f"  # sd-messages.h: a unit is being stopped
_MEMORY = (  # sd-messages.h: the kernel, or systemd-oomd, killed something of a unit
    "fe6faa94e7774663a0da52717891d8ef",
    "d989611b15e44c9dbf31e3c81256e4ed",
)
_SPEAKERS = ("podman", "secrets-hook")


def reason(unit: str, *, user: bool, since: float = 0.0, run: str = "") -> str:
    """The last error of podman or secrets-hook in this unit; "" without one.

    Those before `since` (Unix time in seconds) do not count: they had another reason. Nor do those
    of another run than that with the id `run`, where it is known.
    What the container itself wrote is left out: it may hold anything, secrets too.
    """
    matches = [f"_COMM={name}" for name in _SPEAKERS]
    where = f"_SYSTEMD_USER_UNIT={unit}" if user else f"_SYSTEMD_UNIT={unit}"
    options = ["-n", "40", f"--since=@{int(since)}"]
    options += [f"_SYSTEMD_INVOCATION_ID={run}"] if run else []
    found = [said for entry in _entries([*options, where, *matches]) if (said := _error(entry))]
    return found[-1] if found else ""


def generator() -> list[str]:
    """The generator's last words in this boot, where it left no note."""
    found = _entries(["-n", "5", "SYSLOG_IDENTIFIER=leger-generator"])
    return [str(entry.get("MESSAGE", "")) for entry in found]


def loading(unit: str, *, user: bool) -> list[str]:
    """What the manager did not like about the unit's text when it read it last."""
    where = f"USER_UNIT={unit}" if user else f"UNIT={unit}"
    found = _entries(["-n", "20", "_COMM=systemd", where])
    told = [str(one["MESSAGE"]) for one in found if _is_about_text(one, unit)]
    return list(dict.fromkeys(told))


def _is_about_text(entry: Mapping[str, Any], unit: str) -> bool:
    message = str(entry.get("MESSAGE", ""))
    return "CONFIG_LINE" in entry or (message.startswith(f"{unit}: ") and "efus" in message)


def stopped(invocations: Mapping[str, str], *, user: bool) -> set[str]:
    """The units, given with the id of their last run, that somebody or something had stopped.

    The manager says so when it begins. It forgets by a reload which ExecStop= commands it ran.
    """
    unit, run = ("USER_UNIT", "USER_INVOCATION_ID") if user else ("UNIT", "INVOCATION_ID")
    matches = [f"{unit}={name}" for name in invocations]
    found = _entries(["_COMM=systemd", f"MESSAGE_ID={_STOPPING}", *matches]) if matches else ()
    ended = {(entry.get(unit), entry.get(run)) for entry in found}
    return {name for name, id_ in invocations.items() if (name, id_) in ended}


def out_of_memory(unit: str, run: str, *, user: bool) -> bool:
    """Whether something of the unit's run with the id `run` was killed for want of memory."""
    keys = ("USER_UNIT", "USER_INVOCATION_ID") if user else ("UNIT", "INVOCATION_ID")
    where = [f"{key}={value}" for key, value in zip(keys, (unit, run), strict=True)]
    messages = [f"MESSAGE_ID={id_}" for id_ in _MEMORY]
    return any(_entries(["-n", "1", "_COMM=systemd", *where, *messages]))


def removed_by(unit: str, container: str, *, user: bool) -> str:
    """The command that ended the container of `unit` from outside of it; "" if none did.

    Podman notes in the journal who a container died under: conmon's clean-up, which belongs to
    the unit, or somebody else's `podman rm`. Of that command only the first two words are told.
    """
    found = list(_entries(["-n", "1", "PODMAN_EVENT=died", f"PODMAN_NAME={container}"]))
    entry = found[0] if found else {}
    where = "_SYSTEMD_USER_UNIT" if user else "_SYSTEMD_UNIT"
    if not container or entry.get(where, unit) == unit:
        return ""
    words = str(entry.get("_CMDLINE", "")).split()[:2]
    return " ".join([words[0].rpartition("/")[2], *words[1:]]) if words else ""


def _entries(matches: Sequence[str]) -> Iterator[Mapping[str, Any]]:
    """The entries of this boot that all of `matches` are true of, oldest first."""
    command = ["journalctl", "-b", "-q", "-o", "json", "--no-pager", *matches]
    try:
        lines = processes.run(command, timeout=10).stdout.splitlines()
    except LegerError:
        return
    for line in lines:
        with contextlib.suppress(ValueError):
            yield json.loads(line)


def _error(entry: Mapping[str, Any]) -> str:
    message = entry.get("MESSAGE")
    if not isinstance(message, str):
        return ""
    if entry.get("_COMM") == "secrets-hook":
        return message.removeprefix("leger: error: ")
    return message.removeprefix("Error: ") if message.startswith("Error: ") else ""
