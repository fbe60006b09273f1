"""What is planned is made what is deployed, without a unit that starts."""

from __future__ import annotations

from collections.abc import Iterable

from leger import generation, owndefinitions, planning
from leger.deployment import Target
from leger.generation import Current
from leger.planning import Plan, Wish
from leger.switch import Host
from leger.systemd import State


def deploy(host: Host, *targets: Target, adopt: bool = False) -> Plan:
    """Make the plan what is deployed, without starting anything."""
    plan = planning.make(host, Wish(targets, adopt=adopt))
    plan.insist()
    save(host, plan)
    return plan


def save(host: Host, plan: Plan) -> None:
    """Commit to the plan, and write the definitions that belong to it."""
    written = [name for name, text in plan.step.definitions.items() if text is not None]
    made = generation.new(host.scope, plan.new, plan.definitions, "test", written)
    made = made.save(host.scope)
    generation.commit(host.scope, made.point)
    Current(made.point, confirmed=True).write(host.scope)
    owndefinitions.write(host.scope, plan.step.definitions)


class Running:
    """A manager under which every unit runs."""

    up = State("loaded", "active", "running")

    def __init__(self, *names: str) -> None:
        self.names = names

    def present(self) -> dict[str, State]:
        return dict.fromkeys(self.names, self.up)

    def states(self, names: Iterable[str]) -> dict[str, State]:
        return {name: self.present().get(name, State()) for name in names}

    def instances(self, _templates: Iterable[str]) -> list[str]:
        return []

    def stopped_with(self, _name: str) -> frozenset[str]:
        return frozenset()

    def can_reload(self, _name: str) -> bool:
        return False
