"""What is planned is made what is deployed, without a unit that starts."""

from __future__ import annotations

from leger import generation, planning
from leger.deployment import Target
from leger.generation import Current
from leger.planning import Plan, Wish
from leger.switch import Host, write_definitions


def deploy(host: Host, *targets: Target, adopt: bool = False) -> Plan:
    """Make the plan what is deployed, without starting anything."""
    plan = planning.make(host, Wish(targets, adopt=adopt))
    plan.insist()
    save(host, plan)
    return plan


def save(host: Host, plan: Plan) -> None:
    """Commit to the plan, and write the definitions that belong to it."""
    made = generation.new(host.scope, plan.new, plan.definitions, "test").save(host.scope)
    generation.commit(host.scope, made.point)
    Current(made.point, confirmed=True).write(host.scope)
    write_definitions(host.scope, plan.step.definitions)
