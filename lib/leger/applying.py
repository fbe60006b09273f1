"""Doing what a plan says: the switch, and what follows it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Self

from leger import (
    badcommits,
    changes,
    collect,
    deployed,
    generation,
    goback,
    imageids,
    images,
    owndefinitions,
    planning,
    podman,
    settle,
    staging,
    switch,
    telling,
)
from leger.backup import automatic
from leger.changes import Changes
from leger.deployment import Target
from leger.errors import LegerError
from leger.model import Fault, Move
from leger.planning import Plan, Wish
from leger.scope import Scope
from leger.switch import Host


@dataclass(frozen=True)
class Outcome:
    """What was done, and is so now.

    `refused` says why deployments are not as they were wished; of those that were and went back,
    `returned`, it does so together, by the name "". `left` names what of removed deployments
    stays on the host, `lost` their volumes that went.
    """

    generation: int
    commits: Mapping[str, str]
    changes: Changes
    warnings: tuple[Fault, ...] = ()
    refused: Mapping[str, LegerError] = field(default_factory=dict)
    returned: frozenset[str] = frozenset()
    left: tuple[str, ...] = ()
    moves: tuple[Move, ...] = ()
    lost: tuple[str, ...] = ()

    def insist(self) -> Self:
        """Itself; raises NotHealthyError if anything went back."""
        if "" in self.refused:
            raise self.refused[""]
        return self


def settled(host: Host) -> None:
    """First take up what was interrupted, so that each command finds a whole generation."""
    for line in settle.mend(host):
        host.report(line)


def foresee(plan: Plan) -> Outcome:
    """What `apply` would tell, nothing done."""
    return _outcome(plan, plan.old.number if plan.old else 0)


def _outcome(plan: Plan, number: int) -> Outcome:
    commits = planning.commits(plan.new)
    return Outcome(number, commits, plan.changes, plan.warnings, plan.refused, moves=plan.moves)


def bring(host: Host, wish: Wish, why: str, *, strict: bool = False) -> Outcome:
    """Come as near to `wish` as can be: what cannot be deployed stays as it is (`refused`).

    With `strict` that is raised, and nothing was changed. Raises what `apply` raises.
    """
    look_at_images(host, wish)
    plan = with_images(host, wish)
    if strict:
        plan.insist()
    plan = _with_backups(host, wish, plan)
    if strict:
        plan.insist()
    outcome = apply(host, plan, why)
    done = {move.name for move in plan.moves} | {target.deployment.name for target in wish.targets}
    done -= outcome.refused.keys() | outcome.returned
    for name in sorted(done):
        staging.discard(host.scope, name)
    badcommits.forget(host.scope, done)
    return outcome


def look_at_images(host: Host, wish: Wish) -> None:
    """Begin to ask podman for the images of what is to be updated: most name the same again."""
    current = generation.load_current(host.scope)
    known = current.compiled.deployments if current else {}
    updated = [
        known[item.deployment.name]
        for item in wish.targets
        if item.deployment.name in known and known[item.deployment.name].commit != item.commit
    ]
    if current and updated:
        names = (name for built in updated for name in built.units)
        podman.look_at_images(imageids.named(current.compiled, names))


def with_images(host: Host, wish: Wish) -> Plan:
    """The plan for `wish`, with every image at hand that it needs.

    A deployment whose image cannot be had is refused like one that is faulty, and so is one whose
    tree somebody changed, if it is to have the same tree again.
    """
    refused: dict[str, LegerError] = {}
    while True:
        plan = planning.make(host, wish)
        names = {item.deployment.name for item in wish.targets}
        lacking = dict(_lacking(host, plan, names & plan.new.deployments.keys()))
        refused |= lacking
        if not lacking:
            refused |= _altered(plan, names)
            return replace(plan, refused={**plan.refused, **refused})
        wish = _without(wish, refused)


def _altered(plan: Plan, names: Collection[str]) -> Iterator[tuple[str, LegerError]]:
    """Those of `names` that stay as they are because their tree is not what they were made of."""
    for name in sorted(names & plan.altered.keys()):
        path = plan.new.deployments[name].tree.path / plan.altered[name][0]
        yield name, deployed.altered(name, path)


def _without(wish: Wish, names: Collection[str]) -> Wish:
    return replace(
        wish,
        targets=tuple(item for item in wish.targets if item.deployment.name not in names),
        removed=wish.removed.difference(names),
    )


def _with_backups(host: Host, wish: Wish, plan: Plan) -> Plan:
    """Back up what asks for it before an update; what cannot be is refused, and planned without."""
    failed = dict(automatic.before_switch(host, plan.old, plan.new, plan.changes))
    if not failed:
        return plan
    without = with_images(host, _without(wish, failed))
    return replace(without, refused={**without.refused, **plan.refused, **failed})


def _lacking(host: Host, plan: Plan, names: Collection[str]) -> Iterator[tuple[str, LegerError]]:
    """Those of the deployments `names` whose images cannot be had, with the reason."""
    touched = {*plan.changes.restart, *plan.changes.start}
    touched |= {changes.template_of(name) for name in touched}
    for name in sorted(names):
        units = plan.new.deployments[name].units
        wanted = [
            unit for unit in units.values() if unit.name in touched or touched & set(unit.instances)
        ]
        try:
            images.provide(wanted, host.report)
        except images.ImageError as error:
            yield name, error


def stage(host: Host, target: Target) -> bool:
    """Check `target` and let it wait in staged/, with its images; whether there is anything new.

    Raises FaultsError if it cannot be deployed; an earlier one waits on then.
    """
    name = target.deployment.name
    plan = with_images(host, Wish((target,)))
    plan.insist()
    if plan.is_same:
        staging.discard(host.scope, name)
        return False
    staging.stage(host.scope, target, plan.new.deployments[name].tree.path)
    telling.staged(host, f"stage {name}", plan.moves)
    return True


def apply(host: Host, plan: Plan, why: str) -> Outcome:
    """Switch to what `plan` says; `why` is what the history tells.

    The caller holds the lock since before the plan was made. Raises InterruptedSwitchError when
    the host shuts down, LegerError when nothing was changed, or when the next command goes on.
    """
    outcome = _outcome(plan, plan.old.number if plan.old else 0)
    if plan.is_same:
        owndefinitions.write(host.scope, plan.step.definitions)
    else:
        written = [name for name, text in plan.step.definitions.items() if text is not None]
        target = generation.new(host.scope, plan.new, plan.definitions, why, written)
        try:
            switched = switch.switch(host, plan.old, target, plan.changes, plan.step)
            outcome = replace(outcome, generation=switched.number)
        except switch.NotHealthyError as error:
            outcome = _with_returned(host, plan, outcome, error)
        collect.collect(host.scope)
        _tell(host, plan, outcome, why)
    return replace(outcome, left=_leave(host.scope, plan, outcome.returned))


def _with_returned(
    host: Host, plan: Plan, outcome: Outcome, error: switch.NotHealthyError
) -> Outcome:
    """`outcome` without what went back."""
    now = generation.load_current(host.scope)
    if now is None:
        raise error
    back = frozenset(item.deployment for item in error.returned)
    sets = [plan.new, *([plan.old.compiled] if plan.old else ())]
    why = {
        unit: reason
        for unit, reason in plan.changes.why.items()
        if back.isdisjoint(goback.owner(compiled, unit) for compiled in sets)
    }
    return replace(
        outcome,
        generation=now.number,
        commits=planning.commits(now.compiled),
        changes=replace(plan.changes, why=why),
        refused={**outcome.refused, "": error},
        returned=back,
        moves=tuple(move for move in outcome.moves if move.name not in back),
    )


def _tell(host: Host, plan: Plan, outcome: Outcome, why: str) -> None:
    """What stayed and what went back are two events."""
    error = outcome.refused.get("")
    if error is None or (outcome.returned and (outcome.moves or outcome.changes.why)):
        telling.changed(host, why, outcome.moves, outcome.changes)
    if error is not None:
        back = [move for move in plan.moves if move.name in outcome.returned]
        telling.went_back(host, why, back or plan.moves, error)


def _leave(scope: Scope, plan: Plan, returned: Collection[str]) -> tuple[str, ...]:
    from leger import removal

    if plan.old is None:
        return ()
    built = plan.old.compiled.deployments
    return tuple(
        item
        for name in sorted(plan.removed.difference(returned))
        for item in removal.leave(scope, built[name], plan.new, plan.changes.gone)
    )
