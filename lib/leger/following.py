"""Doing what `leger sync` has decided, and telling what came of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from leger import applying, refreshing, staging, sync, telling
from leger.applying import Outcome
from leger.changes import Changes
from leger.deployment import Target
from leger.errors import LegerError
from leger.judge import InterruptedSwitchError
from leger.planning import Wish
from leger.switch import Host
from leger.sync import Look, Options, Todo


@dataclass(frozen=True)
class Report:
    """What sync did.

    `staged` maps the deployments that were staged now to their commits, `refreshed` are the units
    that got another value of a secret, `failed` what went wrong by deployment or unit ("" is the
    switch as a whole).
    """

    look: Look
    outcome: Outcome | None = None
    staged: Mapping[str, str] = field(default_factory=dict)
    refreshed: Changes = field(default_factory=Changes)
    failed: Mapping[str, LegerError] = field(default_factory=dict)


def follow(host: Host, options: Options) -> Report:
    """Fetch again under the lock, then apply, remove and stage what is new.

    Raises InterruptedSwitchError when the host shuts down; with `strict` any LegerError, before
    anything was changed. Other failures are in the report.
    """
    applying.settled(host)
    look = sync.look(host.scope, options)
    todo = look.todo
    failed = dict(look.outlook.failed)
    outcome = None
    try:
        outcome = _switch(host, todo, options)
        failed |= outcome.refused if outcome else {}
    except InterruptedSwitchError:
        raise
    except LegerError as error:
        if options.strict:
            raise
        failed[""] = error
    for name in todo.stale:
        staging.discard(host.scope, name)
    staged = {}
    for target in todo.stage:
        name = target.deployment.name
        try:
            if applying.stage(host, target):
                staged[name] = target.commit
        except LegerError as error:
            failed[name] = error
    refreshed = refreshing.bring(host, refreshing.due(host))
    failed |= refreshed.failed
    telling.failed(host, "sync", failed)
    return Report(look, outcome, staged, refreshed.changes, failed)


def _switch(host: Host, todo: Todo, options: Options) -> Outcome | None:
    if not todo.apply and not todo.removed:
        return None
    wish = Wish(todo.apply, todo.removed)
    return applying.bring(host, wish, f"sync: {_named(todo)}", strict=options.strict)


def _named(todo: Todo) -> str:
    return ", ".join([*_names(todo.apply), *(f"{name} removed" for name in sorted(todo.removed))])


def _names(targets: Iterable[Target]) -> list[str]:
    return [target.deployment.name for target in targets]
