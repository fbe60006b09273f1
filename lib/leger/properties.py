"""What a manager knows of single units beyond their state, as `systemctl show` prints it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

from leger import journal, processes

Properties = Mapping[str, str]

_STARTED = re.compile(r"start_time=\[(?:\w+ )?(\d[^\]]*)\]")
_ENDING = (
    "InvocationID",
    "InactiveExitTimestampMonotonic",
    "ConditionResult",
    "ConditionTimestampMonotonic",
    "Result",
    "ExecMainCode",
    "ExecMainStatus",
    "ExecMainExitTimestamp",
    "ExecStop",
)
OUT_OF_MEMORY = "it took more memory than there is or than it may"
_KILLED = "2"
_WITH_STATUS = {
    "exit-code": "exit status",
    "signal": "killed by signal",
    "core-dump": "dumped core on signal",
}
_RESULTS = {
    "start-limit-hit": "it was started too often in a row",
    "timeout": "it did not start or stop within its time limit",
    "oom-kill": OUT_OF_MEMORY,
    "watchdog": "its watchdog was not fed in time",
    "protocol": "it ended before it said that it is ready",
    "resources": "systemd could not set up what it needs",
    "exec-condition": "its ExecCondition= failed",
    "dependency": "a unit that it needs failed",
}


@dataclass(frozen=True)
class Ending:
    """Why a unit does not run: whether this boot `started` it, somebody `stopped` it, or a
    condition of its own kept it from starting (`skipped`); `result` is systemd's word for how it
    ended, `status` its exit status or signal.
    """

    started: bool
    stopped: bool
    skipped: bool
    result: str
    status: str

    @classmethod
    def parse(cls, shown: Properties) -> Self:
        """Read the properties of one unit that does not run."""
        result = shown.get("Result", "")
        return cls(
            started=_is_set(shown, "InactiveExitTimestampMonotonic"),
            stopped=_is_stopped(shown),
            skipped=_is_set(shown, "ConditionTimestampMonotonic")
            and shown.get("ConditionResult") == "no",
            result=result,
            status=shown.get("ExecMainStatus", ""),
        )

    @property
    def by_itself(self) -> bool:
        """Whether it ran and came to its end without being stopped."""
        return self.started and not self.stopped

    @property
    def reason(self) -> str:
        """How it ended, in words."""
        if self.result == "exit-code" and self.status == "0":
            return "a command that runs before or after it failed"
        if self.result in _WITH_STATUS:
            return f"{_WITH_STATUS[self.result]} {self.status}"
        return _RESULTS.get(self.result, self.result)


def show(names: Iterable[str], keys: Sequence[str], *, user: bool) -> dict[str, Properties]:
    """The properties `keys` of each of `names`; one that is set twice has its lines joined.

    Raises LegerError where there is no systemctl.
    """
    wanted = list(dict.fromkeys(names))
    if not wanted:
        return {}
    manager = ["systemctl", *(["--user"] if user else []), "--no-pager", "--timestamp=us+utc"]
    done = processes.run([*manager, "show", "-p", ",".join(keys), "--", *wanted], timeout=60)
    blocks = done.stdout.decode(errors="replace").strip().split("\n\n")
    return dict(zip(wanted, map(_block, blocks), strict=False))


def endings(names: Iterable[str], *, user: bool) -> dict[str, Ending]:
    """How each of `names`, units that do not run, came to its end."""
    shown = show(names, _ENDING, user=user)
    found = {name: Ending.parse(one) for name, one in shown.items()}
    unclear = [name for name, one in found.items() if one.by_itself]
    runs = {name: shown[name].get("InvocationID", "") for name in unclear}
    for name in journal.stopped(runs, user=user):
        found[name] = replace(found[name], stopped=True)
    return found


def _block(text: str) -> Properties:
    found: dict[str, str] = {}
    for line in text.splitlines():
        key, equals, value = line.partition("=")
        if equals:
            found[key] = f"{found[key]}\n{value}" if key in found else value
    return found


def _is_set(shown: Properties, key: str) -> bool:
    return shown.get(key, "0") not in ("", "0")


def _is_stopped(shown: Properties) -> bool:
    """systemd runs ExecStop= also after a main process that ended by itself, but not before it.

    What has no ExecStop= was stopped if its process was killed and systemd calls that a success,
    or if it has no process at all (a timer, a socket) and is down.
    """
    began = _STARTED.search(shown.get("ExecStop", ""))
    if "ExecStop" in shown:
        if began is None:
            return False
        ended = shown.get("ExecMainExitTimestamp", "").partition(" ")[2]
        return not ended or began[1] < ended
    if "ExecMainCode" not in shown:
        return shown.get("Result", "success") == "success"
    return shown["ExecMainCode"] == _KILLED and shown.get("Result") == "success"
