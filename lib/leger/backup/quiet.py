"""Nobody writes for the time: units stopped, or containers paused, and all of them back after.

Meanwhile none of them starts, whoever asks for it (`hold`).

What has to come back is in the journal before anything is stopped, so that it comes back after a
failure and after `kill -9` as well.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import Path

from leger import changes, comparing, generation, podman
from leger.backup import hold, journal
from leger.backup.inside import Inside
from leger.backup.journal import Work
from leger.backup.what import Users
from leger.errors import LegerError
from leger.generation import Generation
from leger.switch import STOP_SECONDS, Host, unbroken
from leger.switchfile import boot_id
from leger.systemd import problems, stopped_together

_START_SECONDS = 300.0
_FULL = ("disk is full", "no space left")


def active(host: Host, current: Generation | None) -> dict[str, bool]:
    """Every unit of Leger's, and whether there is something to stop."""
    compiled = current.compiled if current else generation.EMPTY
    built = compiled.deployments.values()
    loaded = comparing.instances(host.manager, built)
    states = host.manager.states(changes.members(built, loaded))
    return {name: state.stoppable for name, state in states.items()}


def stopped(host: Host, work: Work, units: Collection[str]) -> Work:
    """Stop `units`; returns the journal, saved, with what has to be started again.

    Raises LegerError when a unit does not stop; then the caller resumes.
    """
    if not units:
        return work
    current = generation.load_current(host.scope)
    own = current.compiled.files if current else ()
    both = stopped_together(host.manager, units, own)
    states = host.manager.states(both)
    back = [name for name in both if states[name].stoppable]
    work = replace(work, start=tuple(dict.fromkeys([*work.start, *back])))
    work.save(host.scope)
    host.report(f"stop {' '.join(units)}")
    results = host.manager.run([("stop", name) for name in units], STOP_SECONDS)
    if bad := problems(results):
        raise LegerError(f"{next(iter(bad))} could not be stopped: {next(iter(bad.values()))}")
    return work


def paused(host: Host, work: Work, containers: Collection[str]) -> Work:
    """Freeze those of `containers` (ids) that run; returns the journal, saved, with them."""
    running = podman.those("running", containers)
    if not running:
        return work
    work = replace(work, paused=running)
    work.save(host.scope)
    podman.pause(running)
    return work


def resume(host: Host, work: Work) -> dict[str, str]:
    """Bring back what `work` stopped or paused; maps what did not come back to the reason.

    After a reboot nothing of it is left to do: the boot has started what it starts.
    """
    if work.boot != boot_id():
        return {}
    hold.release(host.scope)
    podman.changed()
    bad = podman.unpause(work.paused) if work.paused else {}
    for _ in range(2):  # once more: what was killed may have left a container behind
        states = host.manager.states(work.start)
        idle = [name for name, state in states.items() if not state.stoppable]
        host.manager.reset_failed(_started_with(host, idle))
        failed = problems(host.manager.run([("start", name) for name in idle], _START_SECONDS))
        if not failed:
            break
    return bad | (failed if work.start else {})


def _started_with(host: Host, names: Collection[str]) -> Collection[str]:
    """The units whose start limits a start of `names` counts against."""
    with contextlib.suppress(LegerError):
        if current := generation.load_current(host.scope):
            return changes.started_with(current.compiled.deployments.values(), names)
    return names


@contextlib.contextmanager
def still(host: Host, work: Work, users: Users, method: str) -> Iterator[Work]:
    """While it lasts, `users` do not write (method stop or pause; run lets them).

    To pause is to freeze containers; what writes without one is stopped all the same.

    Raises LegerError at the end if something did not come back, unless another error is on its
    way.
    """
    done = work
    try:
        if method != "run":
            hold.take(host.scope, users.held)
            done = stopped(host, work, users.units if method == "stop" else users.plain)
        if method == "pause":
            done = paused(host, done, users.containers)
        yield done
    except BaseException:
        _tell(host, _resumed(host, done))
        raise
    if bad := _resumed(host, done):
        _tell(host, bad)
        raise LegerError(
            f"{', '.join(bad)} did not come back afterwards",
            hint=f"journalctl -b -u {next(iter(bad))}",
        )


def insist(users: Users) -> None:
    """Raise LegerError if there are units to stop, now that all of them were."""
    if users.units:
        raise LegerError(
            f"{', '.join(users.units)} was started meanwhile, so nothing was saved or replaced",
            hint=f"journalctl -b -u {users.units[0]}",
        )


def clean(host: Host) -> None:
    """Remove what was temporary, once all runs again; after an exchange that is the old content.

    What podman keeps stays in the journal, for the next command to remove.
    """
    work = Work.load(host.scope)
    if work is None or work.start or work.paused or work.pairs:
        return
    for folder in work.folders:
        Inside.of(host.scope).remove(Path(folder))
    kept = _removed(host, work.volumes)
    for name, reason in kept.items():
        host.report(f"warning: volume {name} is left over: {reason}")
    journal.settle(host.scope, replace(work, volumes=tuple(kept), folders=()))


def _removed(host: Host, names: Collection[str]) -> dict[str, str]:
    """Remove these volumes; maps those that podman keeps to its reason.

    On a full disk it cannot note that a volume is gone, so what the volume holds goes first.
    """
    kept = podman.remove_volumes(names)
    full = [name for name, reason in kept.items() if any(text in reason for text in _FULL)]
    if full:
        there = podman.volumes()
        for name in full:
            Inside.of(host.scope).remove(there[name].folder)
        kept |= dict.fromkeys(full, "") | podman.remove_volumes(full)
    return {name: reason for name, reason in kept.items() if reason}


def _resumed(host: Host, work: Work) -> dict[str, str]:
    """As `resume`, by what the journal says now; then nothing of that is in it any more.

    An interrupt waits, as in a switch: one that ends a backup is often given twice.
    """
    work = Work.load(host.scope) or work
    with unbroken():
        bad = resume(host, work)
        journal.settle(host.scope, work)
    return bad


def _tell(host: Host, bad: dict[str, str]) -> None:
    for name, reason in bad.items():
        host.report(f"warning: {name} ran before and could not be started again: {reason}")
