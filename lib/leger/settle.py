"""What a generator cannot mend: run once late in each boot, and before each command that changes.

Nothing waits for it and nothing of the user's is ordered behind it. It never blames a commit for
jobs that were cancelled or for a manager that is on its way down.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

from leger import changes, disk, generation, judge, switch
from leger.errors import LegerError
from leger.generation import Current, Generation, Point
from leger.scope import Scope
from leger.switch import Host
from leger.switchfile import Switch
from leger.systemd import State, settled_states

_BUSY = ("activating", "deactivating", "reloading", "refreshing")


def mend(host: Host) -> list[str]:
    """Take up an interrupted switch and restore units.json; says what was done, line by line.

    Raises NotHealthyError after going back, InterruptedSwitchError when the system shuts down.
    """
    if host.scope.switch.exists():
        return [switch.recover(host)]
    return _restore_units(host)


def settle(host: Host, timeout: float = 300.0) -> list[str]:
    """All of it, as leger-settle.service does late in the boot; says what was done.

    Waits at most `timeout` seconds for the boot's own jobs before it judges.
    """
    judge.refuse_when_stopping(host.manager)
    done = mend(host)
    current = generation.load_current(host.scope)
    if current is None:
        return done
    done += _start_missing(host, current)
    marked = Current.read(host.scope)
    if marked is not None and not marked.confirmed and not host.scope.switch.exists():
        done += _judge(host, current, timeout)
    return done


def _restore_units(host: Host) -> list[str]:
    """Put units.json back if /etc was reset or rolled back under us."""
    scope = host.scope
    current = Current.read(scope)
    emitted = generation.emitted_point(scope)
    if current is None or current.point == emitted or current.point.generation == 0:
        return []
    if emitted is not None and _is_later(scope, emitted, current.point):
        Current(emitted, confirmed=False).write(scope)
        return [f"{scope.current} was behind: generation {emitted.generation} is in place"]
    generation.commit(scope, current.point)
    host.manager.reload()
    return [f"{scope.units} was not that of generation {current.point.generation}: restored"]


def _is_later(scope: Scope, emitted: Point, current: Point) -> bool:
    """/var fell back rather than /etc: units.json is of a later generation that is known whole."""
    if emitted.generation <= current.generation:
        return False
    try:
        return generation.load(scope, emitted.generation).digest == emitted.digest
    except LegerError:
        return False


def _start_missing(host: Host, current: Generation) -> list[str]:
    """Reload if the generator emitted less than it should, and start what the boot missed."""
    names = _own(current)
    states = host.manager.states(names)
    absent = [name for name in names if states[name].load == "not-found"]
    if not absent and _emitted(host.scope) in ("", current.digest):
        return []
    host.manager.reload()
    host.manager.queue("start", "default.target")
    if not absent:
        return ["the generator had not emitted the current generation: loaded again"]
    return [f"not loaded at boot, started now: {' '.join(sorted(absent))}"]


def _emitted(scope: Scope) -> str:
    """The checksum of what the generator emitted last; "" if it left no note."""
    try:
        raw = json.loads(disk.read_file(scope.runtime / "emitted.json"))
        return str(raw.get("blake2b", ""))
    except (LegerError, ValueError, AttributeError):
        return ""


def _own(current: Generation) -> list[str]:
    """The units that can run: no templates, but their known instances."""
    return list(changes.members(current.compiled.deployments.values()))


def _judge(host: Host, current: Generation, timeout: float) -> list[str]:
    """Confirm a generation that was in place when the power went, or go back from it."""
    wanted = [
        name
        for name, member in changes.members(current.compiled.deployments.values()).items()
        if member.unit.wanted
    ]
    states = _quiet_states(host, wanted, timeout)
    bad = {name: "is failed" for name, state in states.items() if state.active == "failed"}
    if not bad:
        came_up = [name for name, state in states.items() if state.active == "active"]
        bad = judge.watch(host.manager, came_up, 5.0)
    if bad:
        judge.refuse_when_stopping(host.manager)
        _go_back(host, current, judge.Verdict(bad))
    switch.confirm(host.scope, current.point)
    return [f"generation {current.number} is confirmed"]


def _quiet_states(host: Host, names: list[str], timeout: float) -> dict[str, State]:
    """The states once no unit is on its way up or down, or after `timeout` seconds."""
    end = time.monotonic() + timeout
    while True:
        states = settled_states(host.manager, names)
        restarting = [n for n, s in states.items() if s.sub == "auto-restart"]
        busy = [n for n, s in states.items() if s.active in _BUSY and n not in restarting]
        if not busy or time.monotonic() > end:
            return states
        judge.refuse_when_stopping(host.manager)
        time.sleep(1)


def _go_back(host: Host, current: Generation, verdict: judge.Verdict) -> None:
    before = max(_good_before(host.scope, current.number), default=0)
    origin = generation.load(host.scope, before).point if before else Point()
    states = host.manager.states(_own(current))
    todo = Switch(
        origin=origin,
        target=current.point,
        boot="",
        run={name: state.live for name, state in states.items()},
    )
    switch.go_back(host, todo, verdict)


def _good_before(scope: Scope, number: int) -> Iterator[int]:
    for other in generation.numbers(scope):
        if other < number and not generation.load(scope, other).bad:
            yield other
