"""The manager of a scope: its units' states, its jobs and their results, by pystemd or systemctl.

The only importer of pystemd. Where there is no bus (early at boot), systemctl does the same.
The interface is org.freedesktop.systemd1(5).
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from leger import properties
from leger.errors import LegerError
from leger.scope import Scope
from leger.systemctl import Systemctl, Tell, untold

_NAME = b"org.freedesktop.systemd1"
_PATH = b"/org/freedesktop/systemd1"
_MANAGER = b"org.freedesktop.systemd1.Manager"
_UNIT = b"org.freedesktop.systemd1.Unit"
_SERVICE = b"org.freedesktop.systemd1.Service"
_METHODS = {
    "start": b"StartUnit",
    "stop": b"StopUnit",
    "restart": b"RestartUnit",
    "reload": b"ReloadUnit",
}
_QUEUED_SECONDS = 180.0
_STOPPED_WITH = (
    b"RequiredBy",
    b"RequisiteOf",
    b"BoundBy",
    b"ConsistsOf",
    b"PropagatesStopTo",
    b"Triggers",
)


@dataclass(frozen=True)
class State:
    """What the manager says of a unit, in its own words (systemctl's LOAD, ACTIVE and SUB)."""

    load: str = "not-found"
    active: str = "inactive"
    sub: str = "dead"

    @property
    def live(self) -> bool:
        """Whether the unit runs or is to run: anything but stopped."""
        return self.active in ("active", "activating", "reloading", "refreshing", "failed")

    @property
    def stoppable(self) -> bool:
        """Whether there is anything to stop."""
        return self.active not in ("inactive", "failed")


class Manager(Protocol):
    """What the library needs of a service manager."""

    def phase(self) -> str:
        """The manager's own state: starting, running, degraded, stopping, ..."""

    def reload(self) -> None:
        """Run the generators and load all units anew (daemon-reload)."""

    def states(self, names: Iterable[str]) -> dict[str, State]:
        """The state of each of `names`, loaded or not."""

    def present(self) -> dict[str, State]:
        """The state of every unit that the manager has in memory; all others do not run."""

    def instances(self, templates: Iterable[str]) -> list[str]:
        """The loaded instances of `templates` (names that end in @.service and the like)."""

    def stopped_with(self, name: str) -> frozenset[str]:
        """The units that stop when `name` is stopped, and what a socket of that name triggers."""

    def fragment(self, name: str) -> Path | None:
        """The file that defines a loaded unit."""

    def restarts(self, name: str) -> int:
        """How often the manager restarted the service by itself."""

    def was_stopped(self, name: str) -> bool:
        """Whether a service that is not up was stopped, rather than ended by itself.

        What ends with a status of its own when it is stopped (143, say) reads "failed" all the
        same. systemd runs ExecStop= only when it stops a unit, but a reload makes it forget that.
        """

    def reset_failed(self, names: Iterable[str]) -> None:
        """Forget failures and start limits of `names`."""

    def can_reload(self, name: str) -> bool:
        """Whether the unit, as it is loaded, has an ExecReload=."""

    def run(
        self, jobs: Sequence[tuple[str, str]], timeout: float, tell: Tell = untold
    ) -> dict[str, str]:
        """Queue the jobs (start | stop | restart | reload, unit) in order, wait for all.

        That is for `timeout` seconds; `tell` gets the units that are waited for, now and then.

        The time counts from when the last unit began: one may wait for others, within a limit.
        Maps each unit to its job's result (done, failed, dependency, timeout, canceled, skipped,
        ...), "unfinished" after `timeout`, or "refused: REASON".
        """

    def queue(self, verb: str, name: str) -> None:
        """Queue a job and do not wait for it."""


def connect(scope: Scope) -> Manager:
    """The manager of `scope`. Raises LegerError where systemd does not run."""
    insist()
    user = scope.name == "user"
    try:
        return _Bus(user)
    except _NoBusError:
        return Systemctl(user)


def insist() -> None:
    """Raise LegerError where systemd does not run."""
    if not Path("/run/systemd/system").is_dir():
        raise LegerError(
            "systemd does not run here", hint="Leger needs a host whose PID 1 is systemd"
        )


class _NoBusError(Exception):
    """There is no bus to talk to."""


class _Bus:
    """The manager over D-Bus."""

    def __init__(self, user: bool) -> None:
        self._user = user
        os.environ.setdefault("SYSTEMD_BUS_TIMEOUT", "180s")
        try:
            from pystemd import dbuslib

            self._signature = dbuslib.apply_signature
            self._bus = dbuslib.DBus(user_mode=user)
            self._bus.open()
        except Exception as error:  # pystemd has no common error that is exported
            raise _NoBusError from error
        self._removed: dict[str, str] = {}
        removed = self._removed

        # pystemd sets an attribute on it, so no method or partial, and does not keep it alive
        def job_removed(message: Any, error: object = None, userdata: object = None) -> None:
            message.process_reply(False)
            _, job, _, result = message.body
            removed[job.decode()] = result.decode()

        self._callback = job_removed
        self._bus.match_signal(_NAME, _PATH, _MANAGER, b"JobRemoved", job_removed, None)

    def phase(self) -> str:
        return str(self._bus.get_property(_NAME, _PATH, _MANAGER, b"SystemState", b"s").decode())

    def reload(self) -> None:
        try:
            self._call(b"Reload", b"")
        except Exception as error:
            raise LegerError(f"daemon-reload failed: {_reason(error)}") from error

    def states(self, names: Iterable[str]) -> dict[str, State]:
        wanted = list(dict.fromkeys(names))
        if not wanted:
            return {}
        return _states(self._call(b"ListUnitsByNames", b"as", wanted))

    def present(self) -> dict[str, State]:
        return _states(self._call(b"ListUnits", b""))

    def instances(self, templates: Iterable[str]) -> list[str]:
        patterns = [name.replace("@.", "@?*.", 1) for name in templates]
        if not patterns:
            return []
        rows = self._call(b"ListUnitsByPatterns", b"asas", [], patterns)
        return sorted(row[0].decode() for row in rows if row[2] == b"loaded")

    def stopped_with(self, name: str) -> frozenset[str]:
        return frozenset(
            other.decode()
            for kind in _STOPPED_WITH
            if kind != b"Triggers" or name.endswith(".socket")
            for other in self._property(name, _UNIT, kind, b"as") or ()
        )

    def fragment(self, name: str) -> Path | None:
        path = self._property(name, _UNIT, b"FragmentPath", b"s")
        return Path(path.decode()) if path else None

    def restarts(self, name: str) -> int:
        if not name.endswith(".service"):
            return 0
        return int(self._property(name, _SERVICE, b"NRestarts", b"u") or 0)

    def was_stopped(self, name: str) -> bool:
        commands = self._property(name, _SERVICE, b"ExecStop", b"a(sasbttttuii)")
        return any(command[3] for command in commands or ()) or _is_stopped(name, self._user)

    def reset_failed(self, names: Iterable[str]) -> None:
        for name in names:
            with contextlib.suppress(Exception):
                self._call(b"ResetFailedUnit", b"s", name)

    def can_reload(self, name: str) -> bool:
        return bool(self._property(name, _UNIT, b"CanReload", b"b"))

    def run(
        self, jobs: Sequence[tuple[str, str]], timeout: float, tell: Tell = untold
    ) -> dict[str, str]:
        results: dict[str, str] = {}
        waiting: dict[str, str] = {}
        for verb, name in jobs:
            try:
                waiting[self._call(_METHODS[verb], b"ss", name, "replace").decode()] = name
            except Exception as error:  # noqa: BLE001 - each reason is told, none ends the switch
                results[name] = f"refused: {_reason(error)}"
        end = time.monotonic() + timeout
        last = end + _QUEUED_SECONDS
        while True:
            self._pump(waiting.keys(), 1.0)
            done = {job for job in waiting if job in self._removed}
            results |= {waiting.pop(job): self._removed.pop(job) for job in done}
            if not waiting or time.monotonic() >= end:
                return results | dict.fromkeys(waiting.values(), "unfinished")
            tell(waiting.values())
            if self._is_queued(waiting.values()):
                end = min(last, time.monotonic() + timeout)

    def _is_queued(self, names: Iterable[str]) -> bool:
        """Whether a unit has not begun yet, because it waits for something else (the network)."""
        return any(state.active in ("inactive", "failed") for state in self.states(names).values())

    def queue(self, verb: str, name: str) -> None:
        try:
            self._call(_METHODS[verb], b"ss", name, "replace")
        except Exception as error:
            raise LegerError(f"{name}: cannot be {verb}ed: {_reason(error)}") from error

    def _call(self, method: bytes, signature: bytes, *arguments: object) -> Any:
        return self._bus.call_method(
            _NAME, _PATH, _MANAGER, method, self._signature(signature, list(arguments))
        ).body

    def _property(self, name: str, interface: bytes, key: bytes, kind: bytes) -> Any:
        try:
            path = self._call(b"LoadUnit", b"s", name)
            return self._bus.get_property(_NAME, path, interface, key, kind)
        except Exception:  # noqa: BLE001 - a unit without the property has none
            return None

    def _pump(self, jobs: Collection[str], seconds: float) -> None:
        """Take in what the bus has to say; wait `seconds` at most if that is nothing of `jobs`."""
        for _ in range(256):
            if self._bus.process().is_empty():
                break
        if jobs and not any(job in self._removed for job in jobs):
            select.select([self._bus.get_fd()], [], [], seconds)
            for _ in range(256):
                if self._bus.process().is_empty():
                    break


def _is_stopped(name: str, user: bool) -> bool:
    found = properties.endings([name], user=user).get(name)
    return found is not None and found.stopped


def _states(rows: Iterable[Sequence[bytes]]) -> dict[str, State]:
    return {
        row[0].decode(): State(row[2].decode(), row[3].decode(), row[4].decode()) for row in rows
    }


def _reason(error: Exception) -> str:
    """What the manager said, without pystemd's wrapping ([err -2]: b'...')."""
    found = re.search(r"b(['\"])(.*)\1", str(error))
    return (found[2] if found else str(error) or type(error).__name__).rstrip(".")


def stopped_together(
    manager: Manager, names: Iterable[str], own: Collection[str] = ()
) -> list[str]:
    """`names`, and all that the manager stops when it stops them.

    But for targets and slices that are none of our `own`: to start multi-user.target again would
    start all that it wants, and what an administrator stopped.
    """
    found = dict.fromkeys(names)
    waiting = list(found)
    while waiting:
        for name in sorted(manager.stopped_with(waiting.pop())):
            is_hosts = name.endswith((".target", ".slice")) and name not in own
            if name not in found and not is_hosts:
                found[name] = None
                waiting.append(name)
    return list(found)


def settled_states(manager: Manager, names: Iterable[str]) -> dict[str, State]:
    """The states of `names`, where "failed" means that nobody stopped the unit."""
    return settled(manager, manager.states(names))


def settled(manager: Manager, states: Mapping[str, State]) -> dict[str, State]:
    """`states`, where "failed" means that nobody stopped the unit."""
    return {
        name: State(state.load, "inactive", "dead")
        if state.active == "failed" and manager.was_stopped(name)
        else state
        for name, state in states.items()
    }


def problems(results: Mapping[str, str]) -> dict[str, str]:
    """The jobs that did not bring their unit up, with their results; cancelled ones are none."""
    fine = ("done", "skipped", "canceled", "collected", "once")
    return {name: result for name, result in results.items() if result not in fine}
