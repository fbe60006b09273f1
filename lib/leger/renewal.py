"""Units start again as they are: by a switch to the same units.

Like any other switch it may be killed at any moment, is in the history, and is judged.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from leger import deployed, generation, goback, switch, telling
from leger.changes import Changes
from leger.deployed import Deployed
from leger.deployment import Health
from leger.generation import Generation
from leger.scope import Scope
from leger.switch import Host, NotHealthyError, Step


def renew(host: Host, current: Generation, planned: Changes, why: str) -> None:
    """Do to the units of `current` what `planned` says, and tell of it.

    The caller holds the lock. Raises NotHealthyError if a unit did not come up, otherwise what
    `switch.switch` raises.
    """
    target = generation.new(host.scope, current.compiled, current.definitions, why)
    begun = (*planned.restart, *planned.reload, *planned.start)
    health = patience(host.scope, current, begun)
    step = Step(timeout=health.timeout, quiet=health.quiet)
    try:
        switch.switch(host, current, replace(target, images=current.images), planned, step)
    except NotHealthyError as error:
        telling.went_back(host, why, (), error)
        raise
    telling.changed(host, why, (), planned)


def patience(scope: Scope, current: Generation, units: Iterable[str]) -> Health:
    """How long `units` may take to start and must stay up then, as their deployments ask for."""
    names = {goback.owner(current.compiled, unit) for unit in units}
    others = current.compiled.deployments.keys() - names
    return deployed.health(Deployed(scope, current).prepared(others).values())
