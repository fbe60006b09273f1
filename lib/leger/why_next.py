"""What will become of a unit: commits that are not applied, faults, secrets that changed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath

from leger import (
    badcommits,
    disk,
    intent,
    outlook,
    planning,
    rotation,
    staging,
    systemd,
)
from leger.badcommits import Bad
from leger.deployment import Target
from leger.errors import LegerError
from leger.finding import Finding
from leger.generation import Generation
from leger.model import Unit
from leger.planning import Plan
from leger.scope import Scope
from leger.switch import Host


def findings(scope: Scope, current: Generation, unit: Unit, name: str) -> Iterator[Finding]:
    """What the next `leger apply` will do with `unit`, which runs under `name`, and why."""
    yield from _rotated(scope, current, name)
    yield from _staged(scope, unit.deployment)
    if bad := _bad(scope, unit.deployment):
        yield _given_up(bad)
        return  # leger apply leaves it alone
    try:
        plan = _plan(scope, unit.deployment)
    except LegerError as error:
        yield Finding(f"what leger apply would do cannot be told: {error}", error.hint)
        return
    if plan is None:
        return
    yield from _refused(plan, unit.deployment)
    if name in plan.changes.why:
        verb = "stopped" if name in plan.changes.gone else "restarted"
        yield Finding(f"leger apply: {verb}: {plan.changes.why[name]}", "leger plan")


def missing(scope: Scope, name: str, unit: str) -> Iterator[Finding]:
    """Whether a unit that the current generation does not have is to come, or is kept out."""
    try:
        seen = outlook.look(scope, fetch=False)
    except LegerError:
        return
    for failed in seen.failed.values():
        yield from _told(failed, name, unit)
    for deployment, target in seen.new().items():
        bad = seen.bad.get(deployment)
        if bad and unit in bad.reason:
            yield _given_up(bad)
        else:
            yield from _coming(scope, target, (name, unit), bad)


def _coming(
    scope: Scope, target: Target, names: tuple[str, str], bad: Bad | None
) -> Iterator[Finding]:
    """What a commit that was fetched and is not applied does about a unit or file of `names`."""
    deployment, commit = target.deployment.name, target.commit[:12]
    try:
        plan = _plan(scope, deployment, retry=True)
    except LegerError as error:
        yield from _told(error, *names)
        return
    for refused in plan.refused.values() if plan else ():
        yield from _told(refused, *names)
    built = plan.new.deployments.get(deployment) if plan else None
    if built and names[1] in built.units and bad:
        yield _given_up(bad)
    elif built and names[1] in built.units:
        text = f"commit {commit} of {deployment} brings it, which is not applied"
        yield Finding(text, "leger apply")
        yield from _staged(scope, deployment)


def _told(error: LegerError, name: str, unit: str) -> Iterator[Finding]:
    """The lines of an error that are about the unit or its file."""
    stem = PurePosixPath(name).name.rpartition(".")[0] or name
    lines = str(error).splitlines()
    about = [line for line in lines if unit in line or f"{stem}." in line]
    for line in about:
        yield Finding(f"refused: {line}", error.hint or "leger plan")


def _rotated(scope: Scope, current: Generation, name: str) -> Iterator[Finding]:
    try:
        found = rotation.changed(scope, systemd.connect(scope), current)
    except LegerError:
        return  # that legerd does not answer is said by who needs it
    for one in found:
        if one.unit == name:
            yield Finding(f"{one.why}: leger sync will {one.how} it", "leger sync")


def _staged(scope: Scope, deployment: str) -> Iterator[Finding]:
    found = staging.read(scope)[0].get(deployment)
    if found is not None:
        text = f"commit {found.commit[:12]} of {deployment} is staged and waits"
        yield Finding(text, f"leger staged apply {deployment}")


def _bad(scope: Scope, deployment: str) -> Bad | None:
    """The newest commit that was fetched, if it was given up."""
    known = badcommits.load(scope).get(deployment)
    if known is None:
        return None
    try:
        seen = outlook.look(scope, fetch=False)
    except LegerError:
        return known
    return seen.bad.get(deployment) if deployment in seen.new() else None


def _given_up(bad: Bad) -> Finding:
    text = f"commit {bad.commit[:12]} of {bad.deployment} was given up: {bad.reason}"
    return Finding(text, f"leger apply --retry {bad.deployment}, or push a commit that mends it")


def _plan(scope: Scope, deployment: str, *, retry: bool = False) -> Plan | None:
    """The plan for a commit that was fetched and is not applied; None if there is none."""
    wanted = intent.read(scope, [deployment], fetch=False, retry=retry)
    if deployment not in wanted.outlook.new() or not wanted.wish.targets:
        return None
    acting = Host(scope, systemd.connect(scope), lambda _text: None)
    with disk.lock_folder(scope.store, shared=True):
        return planning.make(acting, wanted.wish)


def _refused(plan: Plan, deployment: str) -> Iterator[Finding]:
    refused = plan.refused.get(deployment)
    for line in str(refused).splitlines() if refused else ():
        yield Finding(f"the newest commit is refused: {line}", f"leger plan {deployment}")
