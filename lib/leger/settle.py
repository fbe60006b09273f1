"""What a generator cannot mend: run once late in each boot, and before each command that changes.

Nothing waits for it and nothing of the user's is ordered behind it. It never blames a commit for
jobs that were cancelled or for a manager that is on its way down.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Mapping
from dataclasses import replace

from leger import (
    changes,
    comparing,
    emitted,
    generation,
    health,
    judge,
    owndefinitions,
    restarting,
    switch,
    switchfile,
)
from leger.errors import LegerError
from leger.generation import Current, Generation, Point
from leger.model import Compiled
from leger.scope import Scope
from leger.switch import Host
from leger.switchfile import Switch
from leger.systemd import State, settled_states

_BUSY = ("activating", "deactivating", "reloading", "refreshing")


def mend(host: Host) -> list[str]:
    """Take up an interrupted switch and restore units.json; says what was done, line by line.

    That something of it went back is one of the lines: whoever calls this has other things to do.
    Raises InterruptedSwitchError when the system shuts down.
    """
    done = _end_backup(host)
    try:
        return done + _mend(host)
    except switch.NotHealthyError as error:
        return [*done, f"warning: {error}"]


def _end_backup(host: Host, *, again: bool = False) -> list[str]:
    """Take up an interrupted backup or restore: what it stopped runs again, whatever else."""
    if not os.path.lexists(host.scope.backup_journal):
        return []
    from leger.backup import restore

    try:
        return restore.recover(host, again=again)
    except LegerError as error:
        return [f"warning: {error}" + (f" ({error.hint})" if error.hint else "")]


def _mend(host: Host) -> list[str]:
    done = [] if host.scope.deployments.is_dir() else owndefinitions.restore(host.scope)
    done += _recover(host)
    done += _restore_units(host.scope) + _record(host.scope)
    _forget_unborn(host.scope)
    current = generation.load_current(host.scope)
    if current is not None and emitted.point(host.scope) != current.point:
        done += _catch_up(host, current)
    return done


def _recover(host: Host) -> list[str]:
    todo = Switch.load(host.scope)
    if todo is None:
        return []
    return restarting.resume(host, todo) if todo.is_restart else [switch.recover(host, todo)]


def settle(host: Host, timeout: float = 300.0) -> list[str]:
    """All of it, as leger-settle.service does late in the boot; says what was done.

    Waits at most `timeout` seconds for the boot's own jobs before it judges. Raises
    NotHealthyError after going back, InterruptedSwitchError when the system shuts down.
    """
    judge.refuse_when_stopping(host.manager)
    done = _end_backup(host, again=True) + _mend(host)
    current = generation.load_current(host.scope)
    if current is None:
        return done
    done += _catch_up(host, current)
    marked = Current.read(host.scope)
    if marked is not None and not marked.confirmed:
        done += _judge(host, current, timeout)
    return done


def _restore_units(scope: Scope) -> list[str]:
    """Put units.json back if /etc was reset or rolled back under us."""
    current = Current.read(scope)
    if current is None or current.point.generation == 0:
        return []
    if generation.is_in_place(scope, current.point):
        return []
    emitted = generation.emitted_point(scope)
    if emitted is not None and _is_later(scope, emitted, current.point):
        Current(emitted, confirmed=False).write(scope)
        return [f"{scope.current} was behind: generation {emitted.generation} is in place"]
    back = owndefinitions.restore(scope)  # first: once the units are in place nobody looks again
    generation.commit(scope, current.point)
    return [
        f"{scope.units} was not that of generation {current.point.generation}: restored",
        *back,
    ]


def _record(scope: Scope) -> list[str]:
    """Know what is in place, be /var lost: what is switched to next can go back to it."""
    current = Current.read(scope)
    if current is not None and generation.is_known(scope, current.point):
        return []
    number = generation.record(scope)
    return (
        [f"{scope.state} had lost generation {number}: taken from {scope.units}"] if number else []
    )


def _forget_unborn(scope: Scope) -> None:
    """Remove generations that were saved and never switched to, or a roll back might find them."""
    current = Current.read(scope)
    if current is not None:
        generation.forget_after(scope, current.point.generation)


def _is_later(scope: Scope, emitted: Point, current: Point) -> bool:
    """/var fell back rather than /etc: units.json is of a later generation that is known whole."""
    return emitted.generation > current.generation and generation.is_known(scope, emitted)


def _catch_up(host: Host, current: Generation) -> list[str]:
    """Load the current generation if the generator emitted less or another; start what it missed.

    What an administrator stopped stays stopped: only units that were not loaded count as new.
    """
    note = emitted.point(host.scope)
    planned = comparing.decide(host.manager, _loaded(host, note, current), current.compiled)
    todo = Switch(
        origin=current.point,
        target=current.point,
        base=current.point,
        boot=switchfile.boot_id(),
        stop=planned.stop,
        networks=planned.networks,
        restart=(*planned.restart, *planned.reload),
        start=planned.start,
        held=planned.held,
    )
    jobs = todo.jobs(todo.boot)
    if note == current.point and not jobs:
        return []
    results = restarting.run(host, todo, reload=True)
    done = [f"generation {current.number} was not what the generator had emitted: loaded"]
    done += [f"{verb} {name}" for verb, name in jobs]
    return done + restarting.told(results)


def _loaded(host: Host, note: Point | None, current: Generation) -> Compiled:
    """The units that are loaded, as the generation that the generator emitted knows them."""
    emitted = current
    if note not in (None, current.point):
        with contextlib.suppress(LegerError):
            emitted = generation.load(host.scope, note.generation)
    states = host.manager.states(_own(emitted))
    absent = {name for name, state in states.items() if state.load == "not-found"}
    return replace(
        emitted.compiled,
        deployments={
            name: replace(
                built,
                units={unit: one for unit, one in built.units.items() if unit not in absent},
            )
            for name, built in emitted.compiled.deployments.items()
        },
    )


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
        probes = health.probes(current.compiled, came_up)
        before = {name: host.manager.restarts(name) for name in came_up}
        bad = judge.Watch(host.manager, probes).stay(before)
    if bad:
        judge.refuse_when_stopping(host.manager)
        _go_back(host, current, bad)
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


def _go_back(host: Host, current: Generation, bad: Mapping[str, str]) -> None:
    before = generation.good_before(host.scope, current.number)
    origin = generation.load(host.scope, before).point if before else Point()
    states = host.manager.states(_own(current))
    todo = Switch(
        origin=origin,
        target=current.point,
        base=origin,
        boot="",
        run={name: state.live for name, state in states.items()},
    )
    switch.go_back(host, todo, bad)
