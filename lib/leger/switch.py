"""Switching from one generation to another, so that at no moment half of a change is in place.

The order: data/NAME, images → the generation's files, durable → switch.json → stop under the old
definitions → units.json replaced (the commit point) → `current`, the host's own files → reload →
restart and start → quiet time → confirmed, or back to the units of before as a new generation.
Killed before the commit point, `recover` starts again what was stopped; after it, it goes on.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from leger import (
    adoption,
    changes,
    data,
    disk,
    generation,
    images,
    journal,
    judge,
    podman,
    removal,
    switchfile,
)
from leger.changes import Changes
from leger.errors import LegerError
from leger.generation import EMPTY, Current, Generation, Point
from leger.model import Compiled, Unit
from leger.scope import Scope
from leger.switchfile import Switch
from leger.systemd import Manager, State, problems, settled_states

Report = Callable[[str], None]
STOP_SECONDS = 300.0


class NotHealthyError(LegerError):
    """What was switched to did not come up; the units of before run again."""


@dataclass(frozen=True)
class Host:
    """What a switch acts on: the scope's files, its manager, and where progress is told."""

    scope: Scope
    manager: Manager
    report: Report


@dataclass(frozen=True)
class Step:
    """What goes with a switch besides units.

    `definitions` are the deployments.d files to write (None: to remove), `adopt` the host's own
    quadlets to take away, `restore` those to bring back. `timeout` is how long a start may take,
    `quiet` how long it must then stay up, in seconds.
    """

    definitions: Mapping[str, str | None] = field(default_factory=dict)
    adopt: tuple[str, ...] = ()
    restore: tuple[str, ...] = ()
    timeout: float = 60.0
    quiet: float = 5.0


def decide(
    manager: Manager, old: Compiled, new: Compiled, running: Mapping[str, bool] | None = None
) -> Changes:
    """What turns `old`, as it runs now, into `new`; changes nothing.

    `running` are units that count as running although they do not: they did before a switch that
    went wrong.
    """
    both = [*old.deployments.values(), *new.deployments.values()]
    templates = {name for built in both for name in built.units if changes.is_template(name)}
    loaded = manager.instances(sorted(templates))
    before = changes.members(old.deployments.values(), loaded)
    after = changes.members(new.deployments.values(), loaded)
    known = settled_states(manager, [*before, *after])
    with_it: dict[str, frozenset[str]] = {}

    def state(name: str) -> State:
        if name not in known:
            known.update({name: State()} | settled_states(manager, [name]))
        found = known[name]
        if (running or {}).get(name) and not found.live:
            return State(found.load, "failed", found.sub)
        return found

    def stopped_with(name: str) -> frozenset[str]:
        if name not in with_it:
            with_it[name] = manager.stopped_with(name)
        return with_it[name]

    return changes.compare(before, after, state, stopped_with)


def switch(
    host: Host, old: Generation | None, new: Generation, planned: Changes, step: Step
) -> Generation:
    """Make `new` what runs, by `planned`, which `decide` made of both.

    Returns the confirmed generation. Raises NotHealthyError after it went back,
    InterruptedSwitchError when the host shuts down, LegerError when nothing was changed.
    """
    _provide_data(host.scope, old, new.compiled)
    images.provide(_touched(new.compiled, planned), host.report)
    saved = new.save(host.scope)
    todo = Switch(
        origin=old.point if old else Point(),
        target=saved.point,
        boot=switchfile.boot_id(),
        stop=planned.stop,
        networks=planned.networks,
        restart=planned.restart,
        start=planned.start,
        gone=planned.gone,
        run=_to_run(host.manager, planned),
        secrets=removal.unbound(old.compiled if old else EMPTY, new.compiled),
        images=removal.unbuilt(old.compiled if old else EMPTY, new.compiled),
        adopt=step.adopt,
        restore=step.restore,
        definitions=step.definitions,
        previous=_previous(host.scope, step.definitions),
        timeout=step.timeout,
        quiet=step.quiet,
    )
    with _unbroken():
        _to_commit(host, todo)
        finish(host, todo)
    return saved


def recover(host: Host) -> str:
    """Take up an interrupted switch; says in one line what was done ("" if there was none)."""
    todo = Switch.load(host.scope)
    if todo is None:
        return ""
    committed = todo.committed(generation.emitted_point(host.scope))
    if committed is None:
        committed = _restore_side(host.scope, todo)
    with _unbroken():
        if committed:
            finish(host, todo)
            return f"finished the interrupted switch to generation {todo.target.generation}"
        _undo(host, todo)
    return f"took back the interrupted switch to generation {todo.target.generation}"


def finish(host: Host, todo: Switch) -> None:
    """All that follows the commit point; may be done again after it was interrupted."""
    scope, manager = host.scope, host.manager
    Current(todo.target, confirmed=False).write(scope)
    adoption.take(scope, todo.adopt)
    adoption.give_back(scope, todo.restore)
    _write_definitions(scope, todo.definitions)
    manager.reload()
    manager.reset_failed(todo.gone)
    jobs = _jobs(manager, todo)
    for verb, name in jobs:
        host.report(f"{verb} {name}")
    verdict = judge.start(manager, jobs, timeout=todo.timeout, quiet=todo.quiet)
    ours = _units(generation.load(scope, todo.target.generation).compiled)
    bad = {
        name: _explained(scope, name, reason)
        for name, reason in verdict.bad.items()
        if name in ours
    }
    for name in verdict.bad.keys() - bad.keys():
        host.report(f"warning: {name} {verdict.bad[name]}; it does not belong to Leger")
    if bad:
        go_back(host, todo, judge.Verdict(bad))
    removal.tidy(todo.secrets, todo.images)
    confirm(scope, todo.target)


def _explained(scope: Scope, name: str, reason: str) -> str:
    said = journal.reason(name, user=scope.name == "user")
    return f"{reason} ({said})" if said else reason


def confirm(scope: Scope, point: Point) -> None:
    """Mark the current generation as seen healthy; the switch is over."""
    Current(point, confirmed=True).write(scope)
    switchfile.remove(scope)


def go_back(host: Host, todo: Switch, verdict: judge.Verdict) -> None:
    """Return to the units before `todo`, as a new generation. Always raises NotHealthyError."""
    scope = host.scope
    failed = generation.load(scope, todo.target.generation)
    replace(failed, bad=str(verdict)).save_manifest(scope)
    hint = f"journalctl -b -u {next(iter(verdict.bad))}"
    if todo.back:
        switchfile.remove(scope)
        raise NotHealthyError(
            f"generation {failed.number}, which was to bring back what ran before: {verdict}",
            hint=hint,
        )
    origin = _load_or_empty(scope, todo.origin)
    host.report(f"{verdict}; going back to the units of generation {origin.number}")
    target = replace(
        generation.new(scope, origin.compiled, origin.definitions, f"back from {failed.number}"),
        who=failed.who,
    )
    planned = decide(host.manager, failed.compiled, origin.compiled, todo.run)
    saved = target.save(scope)
    back = Switch(
        origin=failed.point,
        target=saved.point,
        boot=switchfile.boot_id(),
        stop=planned.stop,
        networks=planned.networks,
        restart=planned.restart,
        start=_resumed(host.manager, planned, todo.run, origin.compiled),
        gone=planned.gone,
        run=todo.run,
        secrets=removal.unbound(failed.compiled, origin.compiled),
        images=removal.unbuilt(failed.compiled, origin.compiled),
        adopt=todo.restore,
        restore=todo.adopt,
        definitions=todo.previous,
        previous=todo.definitions,
        timeout=todo.timeout,
        quiet=min(todo.quiet, 1.0),
        back=True,
    )
    _to_commit(host, back)
    finish(host, back)
    raise NotHealthyError(
        f"{verdict}; the units of generation {origin.number} run again", hint=hint
    )


def _to_commit(host: Host, todo: Switch) -> None:
    """Stop what must stop under its old definition, and replace units.json."""
    todo.save(host.scope)
    try:
        if todo.stop:
            host.report(f"stop {' '.join(todo.stop)}")
        host.manager.run([("stop", name) for name in todo.stop], STOP_SECONDS)
        for network in todo.networks:
            podman.remove_network(network)
        generation.commit(host.scope, todo.target)
    except (LegerError, OSError):
        if generation.emitted_point(host.scope) != todo.target:
            _undo(host, todo)
            raise


def _undo(host: Host, todo: Switch) -> None:
    """Start again what was stopped before the commit point, and forget the switch."""
    jobs = [("start", name) for name in reversed(todo.stop) if todo.run.get(name)]
    for _ in range(2):  # once more: what was killed may have left a container behind
        host.manager.reset_failed(name for _, name in jobs)
        failed = problems(host.manager.run(jobs, todo.timeout))
        judge.refuse_when_stopping(host.manager)
        jobs = [("start", name) for name in failed]
    for name, reason in failed.items():
        host.report(f"warning: {name} ran before and could not be started again: {reason}")
    switchfile.remove(host.scope)
    if todo.origin.generation != todo.target.generation:
        generation.forget(host.scope, todo.target.generation)


def _jobs(manager: Manager, todo: Switch) -> list[tuple[str, str]]:
    """What is to be restarted and started; after a reboot, only what the boot did not start."""
    if todo.boot == switchfile.boot_id():
        return [("restart", name) for name in todo.restart] + [
            ("start", name) for name in todo.start
        ]
    return [("start", name) for name in (*todo.restart, *todo.start)]


def _restore_side(scope: Scope, todo: Switch) -> bool:
    """units.json is neither side's: bring back the side that `current` names."""
    current = Current.read(scope)
    committed = current is not None and current.point == todo.target
    point = todo.target if committed else todo.origin
    if point.generation:
        generation.commit(scope, point)
    else:
        scope.units.unlink(missing_ok=True)
    return committed


def _provide_data(scope: Scope, old: Generation | None, new: Compiled) -> None:
    """Make what the trees that are new expect of the host."""
    known = {built.tree.path for built in old.compiled.deployments.values()} if old else set()
    for built in new.deployments.values():
        if built.tree.path not in known:
            data.provide(scope, built.name, built.tree)


def _touched(compiled: Compiled, planned: Changes) -> list[Unit]:
    names = {*planned.restart, *planned.start}
    names |= {changes.template_of(name) for name in names}
    return [unit for name, unit in _units(compiled).items() if name in names]


def _units(compiled: Compiled) -> dict[str, Unit]:
    units = {
        name: unit for built in compiled.deployments.values() for name, unit in built.units.items()
    }
    return units | {name: unit for unit in units.values() for name in unit.instances}


def _to_run(manager: Manager, planned: Changes) -> dict[str, bool]:
    names = [*planned.stop, *planned.restart]
    states = manager.states(names)
    return {name: states.get(name, State()).live for name in names}


def _resumed(
    manager: Manager, planned: Changes, run: Mapping[str, bool], compiled: Compiled
) -> tuple[str, ...]:
    """`planned.start` and what ran before the failed switch and does not run now."""
    known = _units(compiled)
    names = [name for name, was in run.items() if was and name in known]
    states = manager.states(names)
    idle = [name for name in names if not states.get(name, State()).stoppable]
    return tuple(dict.fromkeys([*planned.start, *(n for n in idle if n not in planned.restart)]))


def _load_or_empty(scope: Scope, point: Point) -> Generation:
    if point.generation == 0:
        return Generation(0, scope.name, EMPTY)
    return generation.load(scope, point.generation)


def _previous(scope: Scope, names: Iterable[str]) -> dict[str, str | None]:
    paths = {name: scope.deployments / f"{name}.yaml" for name in names}
    return {
        name: disk.read_file(path).decode() if path.exists() else None
        for name, path in paths.items()
    }


def _write_definitions(scope: Scope, definitions: Mapping[str, str | None]) -> None:
    for name, text in definitions.items():
        path = scope.deployments / f"{name}.yaml"
        if text is not None:
            disk.make_folder(scope.deployments, 0o755)
            disk.write_file(path, text.encode())
        elif path.exists():
            path.unlink()
            disk.sync_folder(path.parent)


@contextlib.contextmanager
def _unbroken() -> Iterator[None]:
    """From the first stop to the verdict an interrupt from the terminal waits."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
