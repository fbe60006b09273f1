"""The way back: what an earlier generation had, deployed again as a new generation."""

from __future__ import annotations

from leger import applying, generation, planning, quadlet
from leger.applying import Outcome
from leger.backup import automatic
from leger.deployed import Deployed
from leger.deployment import is_defined_elsewhere
from leger.errors import LegerError
from leger.faults import FaultsError
from leger.scope import Scope
from leger.switch import Host, Step


def roll_back(host: Host, number: int | None, *, dry_run: bool = False) -> Outcome:
    """Deploy again what generation `number` had (None: the one before that was not bad).

    Raises LegerError if it is not kept, FaultsError if this podman does not take it any more.
    """
    from leger import compile as compiler

    scope = host.scope
    applying.settled(host)
    old = generation.load_current(scope)
    if old is None:
        raise LegerError("nothing is deployed")
    target = generation.load(scope, _before(scope, old.number) if number is None else number)
    prepared = Deployed(scope, target).all_prepared()
    compiled = compiler.compile_scope(scope, prepared, quadlet=quadlet.installed())
    if compiled.faults:
        raise FaultsError(compiled.faults)
    names = old.compiled.deployments.keys() | prepared.keys()
    step = Step(
        definitions={
            name: target.definitions.get(name)
            for name in names
            if not is_defined_elsewhere(scope, name)
        },
    )
    plan = planning.between(host, Deployed(scope, old), compiled, target.definitions, step)
    if dry_run:
        return applying.foresee(plan)
    for _, error in automatic.before_switch(host, plan.old, plan.new, plan.changes):
        raise error
    return applying.apply(host, plan, f"roll back to generation {target.number}")


def _before(scope: Scope, current: int) -> int:
    for number in reversed(generation.numbers(scope)):
        if number < current and not generation.load(scope, number).bad:
            return number
    raise LegerError(f"no generation before {current} is kept", hint="leger history")
