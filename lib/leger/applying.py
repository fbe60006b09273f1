"""Doing what a plan says: the switch, and what follows it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from leger import collect, generation, planning, settle, switch
from leger.changes import Changes
from leger.errors import LegerError
from leger.model import Fault
from leger.planning import Plan
from leger.scope import Scope
from leger.switch import Host


@dataclass(frozen=True)
class Outcome:
    """What was done; `left` names what of removed deployments stays on the host."""

    generation: int
    commits: Mapping[str, str]
    changes: Changes
    warnings: tuple[Fault, ...] = ()
    refused: Mapping[str, LegerError] | None = None
    left: tuple[str, ...] = ()


def settled(host: Host) -> None:
    """First take up what was interrupted, so that each command finds a whole generation."""
    for line in settle.mend(host):
        host.report(line)


def foresee(plan: Plan) -> Outcome:
    """What `apply` would tell, nothing done."""
    number = plan.old.number if plan.old else 0
    return Outcome(
        number, planning.commits(plan.new), plan.changes, plan.warnings, refused=plan.refused
    )


def apply(host: Host, plan: Plan, why: str) -> Outcome:
    """Switch to what `plan` says; `why` is what the history tells.

    The caller holds the lock since before the plan was made. Raises NotHealthyError after it went
    back, InterruptedSwitchError when the host shuts down, LegerError when nothing was changed.
    """
    number = plan.old.number if plan.old else 0
    if not plan.is_same:
        target = generation.new(host.scope, plan.new, plan.definitions, why)
        number = switch.switch(host, plan.old, target, plan.changes, plan.step).number
        collect.collect(host.scope)
    return Outcome(
        number,
        planning.commits(plan.new),
        plan.changes,
        plan.warnings,
        plan.refused,
        _leave(host.scope, plan),
    )


def _leave(scope: Scope, plan: Plan) -> tuple[str, ...]:
    from leger import removal

    if plan.old is None:
        return ()
    built = plan.old.compiled.deployments
    return tuple(
        item
        for name in sorted(plan.removed)
        for item in removal.leave(scope, built[name], plan.new)
    )
