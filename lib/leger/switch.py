"""Switching from one generation to another, so that at no moment half of a change is in place.

The order: data/NAME, images → the generation's files, durable → switch.json → stop under the old
definitions → units.json replaced (the commit point) → `current`, the host's own files → reload →
restart and start → health and quiet time → confirmed. The deployments whose units are not well go
back, with those that they refer to or that refer to them, as a new generation by the same steps;
the others stay (`leger.goback`). Killed before the commit point, `recover` starts again what was
stopped; after it, and on the way back, it goes on.
"""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from leger import (
    adoption,
    badcommits,
    changes,
    data,
    generation,
    goback,
    health,
    imageids,
    images,
    journal,
    judge,
    owndefinitions,
    podman,
    refresh,
    removal,
    switchfile,
)
from leger.badcommits import Bad
from leger.changes import Changes
from leger.errors import LegerError
from leger.generation import EMPTY, Current, Generation, Point
from leger.model import Compiled, Unit
from leger.scope import Scope
from leger.switchfile import Returned, Switch
from leger.systemd import Manager, State, problems

Report = Callable[[str], None]
STOP_SECONDS = 300.0


class NotHealthyError(LegerError):
    """Units that were switched to did not come up or did not stay up.

    `bad` are those units, with the reason; `returned` the deployments that run as before again,
    and the commits they went back from.
    """

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        returned: tuple[Returned, ...] = (),
        bad: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.returned = returned
        self.bad = bad or {}


@dataclass(frozen=True)
class Host:
    """What a switch acts on: the scope's files, its manager, and where progress is told.

    `report` takes a line for each step, `progress` what is waited for, about once a second.
    """

    scope: Scope
    manager: Manager
    report: Report
    progress: judge.Tell = judge.untold


@dataclass(frozen=True)
class Step:
    """What goes with a switch besides units.

    `definitions` are the deployments.d files to write (None: to remove), `adopt` the host's own
    quadlets to take away, `restore` those to bring back, `refused` the commits that are not to be
    deployed again, `tags` the ids that images are to have again. `timeout` is how long a start
    may take, `quiet` how long it must then stay up, in seconds.
    """

    definitions: Mapping[str, str | None] = field(default_factory=dict)
    adopt: tuple[str, ...] = ()
    restore: tuple[str, ...] = ()
    refused: tuple[Returned, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    timeout: float = 60.0
    quiet: float = 5.0


def switch(
    host: Host, old: Generation | None, new: Generation, planned: Changes, step: Step
) -> Generation:
    """Make `new` what runs, by `planned`, which `decide` made of both.

    Returns the confirmed generation. Raises NotHealthyError after it went back,
    InterruptedSwitchError when the host shuts down, LegerError when nothing was changed, or when
    switch.json is left: then the next command goes on.
    """
    if host.scope.switch.exists():
        raise LegerError("an earlier switch is not over", hint="leger settle goes on with it")
    _provide_data(host.scope, old, new.compiled)
    again = imageids.present(step.tags)
    tags = images.provide(_touched(new.compiled, planned), host.report, again) | again
    before, compiled = old.compiled if old else EMPTY, new.compiled
    saved = replace(new, images=_image_ids(host.scope, old, new, planned, tags)).save(host.scope)
    todo = Switch(
        origin=old.point if old else Point(),
        target=saved.point,
        base=old.point if old else Point(),
        boot=switchfile.boot_id(),
        stop=planned.stop,
        networks=planned.networks,
        restart=planned.restart,
        reload=planned.reload,
        start=planned.start,
        held=planned.held,
        gone=planned.gone,
        run=_to_run(host.manager, planned),
        secrets=removal.unbound(before, compiled),
        images=removal.unbuilt(before, compiled),
        adopt=step.adopt,
        restore=step.restore,
        tags=tags,
        definitions=step.definitions,
        previous=owndefinitions.texts(host.scope, step.definitions),
        timeout=step.timeout,
        quiet=step.quiet,
        refused=step.refused,
    )
    with unbroken():
        _to_commit(host, todo)
        finish(host, todo)
    return saved


def _image_ids(
    scope: Scope,
    old: Generation | None,
    new: Generation,
    planned: Changes,
    tags: Mapping[str, str],
) -> Mapping[str, str]:
    """What the names of images mean with `tags`; what they mean until then is noted with `old`."""
    known: Mapping[str, str] = {}
    if old is not None and old.created:
        names = imageids.named(old.compiled, (*planned.stop, *planned.restart))
        imageids.as_it_runs(scope, old, names)
        known = old.images
    touched = imageids.named(new.compiled, (*planned.restart, *planned.start))
    own = imageids.named(new.compiled, _units(new.compiled))
    still = {name: id_ for name, id_ in known.items() if name in own}
    return {**still, **imageids.keep(touched, known, tags)}


def recover(host: Host, todo: Switch) -> str:
    """Take up the interrupted switch `todo`; says in one line what was done."""
    generation.forget_after(host.scope, max(todo.origin.generation, todo.target.generation))
    committed = todo.committed(generation.emitted_point(host.scope))
    if committed is None:
        committed = _restore_side(host.scope, todo)
    with unbroken():
        if not committed and not todo.goes_back:
            _undo(host, todo)
            return f"took back the interrupted switch to generation {todo.target.generation}"
        if not committed:
            todo = replace(todo, boot=switchfile.boot_id())
            _to_commit(host, todo)
        finish(host, todo)
    return f"finished the interrupted switch to generation {todo.target.generation}"


def finish(host: Host, todo: Switch) -> None:
    """All that follows the commit point; may be done again after it was interrupted.

    Raises NotHealthyError when something went back or could not.
    """
    while bad := _carry_out(host, todo):
        todo = _go_on(host, todo, bad)
    removal.tidy(todo.secrets, todo.images)
    if todo.lost:
        switchfile.remove(host.scope)
    else:
        confirm(host.scope, todo.target)
    if todo.bad:
        hint = f"journalctl -b -u {next(iter(todo.bad))}"
        message = goback.told(todo)
        raise NotHealthyError(message, hint=hint, returned=todo.returned, bad=todo.bad)


def go_back(host: Host, todo: Switch, bad: Mapping[str, str]) -> None:
    """Return to what was before `todo` because of `bad` (unit -> reason).

    Raises NotHealthyError when that is done.
    """
    with unbroken():
        finish(host, _go_on(host, todo, bad))


def _go_on(host: Host, todo: Switch, bad: Mapping[str, str]) -> Switch:
    """Commit the switch that takes back what is not well; what remains to be done then."""
    for name, reason in bad.items():
        host.report(f"{name} {reason}")
    try:
        following = _way_back(host, todo, bad)
        if following.target == todo.target:
            following.save(host.scope)
        else:
            names = [item.deployment for item in following.returned]
            host.report(f"going back to generation {todo.base.generation}: {', '.join(names)}")
            _to_commit(host, following)
    except (LegerError, OSError) as error:
        raise LegerError(
            f"{goback.text(bad)}; it cannot go back: {error}",
            hint="once that is mended: leger settle (the next sync goes on, too)",
        ) from error
    return following


def _way_back(host: Host, todo: Switch, bad: Mapping[str, str]) -> Switch:
    """The switch that takes back what is not well. If it cannot be made, each try to go on starts
    what is `bad` once more, and nothing else: what is well is not restarted for it.
    """
    try:
        return goback.prepare(host.scope, host.manager, todo, bad)
    except (LegerError, OSError):
        well = tuple(name for name in goback.started(todo) if name not in bad)
        with contextlib.suppress(LegerError):
            replace(todo, restart=(), reload=(), start=tuple(bad), watch=well).save(host.scope)
        raise


def _carry_out(host: Host, todo: Switch) -> dict[str, str]:
    """Bring up what units.json holds now; which units are not well, with the reason."""
    scope, manager = host.scope, host.manager
    Current(todo.target, confirmed=False).write(scope)
    badcommits.remember(scope, map(_bad, todo.refused))
    adoption.take(scope, todo.adopt)
    adoption.give_back(scope, todo.restore)
    owndefinitions.write(scope, todo.definitions)
    imageids.give_back(todo.tags)
    manager.reload()
    compiled = generation.load(scope, todo.target.generation).compiled
    began = time.time()
    jobs = todo.jobs(switchfile.boot_id())
    manager.reset_failed((*todo.gone, *started_with(compiled, jobs)))
    for verb, name in jobs:
        host.report(f"{verb} {name}")
    unrefreshed = refresh.secrets(scope, compiled, todo.reload)
    probes = health.probes(compiled, goback.started(todo))
    watch = judge.Watch(manager, probes, timeout=todo.timeout, quiet=todo.quiet)
    verdict = watch.start(jobs, todo.watch, host.progress)
    bad = {}
    for name, reason in (verdict | unrefreshed).items():
        if goback.owner(compiled, name):
            bad[name] = _explained(scope, name, reason, began)
        else:
            host.report(f"warning: {name} {reason}; it does not belong to Leger")
    return bad


def started_with(compiled: Compiled, jobs: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    """The units whose start limits the jobs count against."""
    begun = [name for verb, name in jobs if verb != "stop"]
    return changes.started_with(compiled.deployments.values(), begun)


def _bad(item: Returned) -> Bad:
    found = badcommits.now(item.deployment, item.commit, item.definition, item.reason)
    return replace(found, others=item.others)


def _explained(scope: Scope, name: str, reason: str, since: float) -> str:
    said = journal.reason(name, user=scope.name == "user", since=since)
    return f"{reason} ({said})" if said else reason


def confirm(scope: Scope, point: Point) -> None:
    """Mark the current generation as seen healthy, whatever was found of it before; the switch is
    over.
    """
    current = generation.load(scope, point.generation)
    if current.bad:
        replace(current, bad="").save_manifest(scope)
    Current(point, confirmed=True).write(scope)
    switchfile.remove(scope)


def _to_commit(host: Host, todo: Switch) -> None:
    """Stop what must stop under its old definition, and replace units.json.

    What fails before that is undone, but for the way back, which is gone on with later.
    """
    todo.save(host.scope)
    try:
        if todo.stop:
            host.report(f"stop {' '.join(todo.stop)}")
        host.manager.run([("stop", name) for name in todo.stop], STOP_SECONDS)
        remove_networks(host, todo.networks)
        generation.commit(host.scope, todo.target)
    except (LegerError, OSError):
        if generation.emitted_point(host.scope) != todo.target:
            if not todo.goes_back:
                _undo(host, todo)
            raise


def remove_networks(host: Host, networks: Iterable[str]) -> None:
    """Remove Podman networks, to be made anew; one that podman keeps is told."""
    for name, reason in podman.remove_networks(networks).items():
        host.report(f"warning: the network {name} stays as it was: {reason}")


def _undo(host: Host, todo: Switch) -> None:
    """Start again what was stopped before the commit point, and forget the switch."""
    jobs = [("start", name) for name in reversed(todo.stop) if todo.run.get(name)]
    before = EMPTY
    with contextlib.suppress(LegerError):
        before = goback.load_or_empty(host.scope, todo.origin).compiled
    for _ in range(2):  # once more: what was killed may have left a container behind
        host.manager.reset_failed(started_with(before, jobs))
        failed = problems(host.manager.run(jobs, todo.timeout))
        judge.refuse_when_stopping(host.manager)
        jobs = [("start", name) for name in failed]
    for name, reason in failed.items():
        host.report(f"warning: {name} ran before and could not be started again: {reason}")
    switchfile.remove(host.scope)
    if todo.origin.generation != todo.target.generation:
        generation.forget(host.scope, todo.target.generation)


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
        place = f"{scope.data / built.name}/"  # quadlet writes each such path into its unit
        is_used = any(place in unit.text for unit in built.units.values())
        if is_used and built.tree.path not in known:
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


@contextlib.contextmanager
def unbroken() -> Iterator[None]:
    """From the first stop to the verdict an interrupt from the terminal waits."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
