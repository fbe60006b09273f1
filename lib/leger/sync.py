"""leger sync: the host follows its repositories, each deployment as its `update:` says.

A source that fails, or content that cannot be deployed, is reported and holds back nobody else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from leger import outlook, staging
from leger.accepted import Accept
from leger.badcommits import Bad
from leger.deployment import Target
from leger.outlook import Outlook
from leger.scope import Scope
from leger.staging import Staged


@dataclass(frozen=True)
class Options:
    """What the command line may ask for.

    `retry` tries commits again that were given up, `accept_rewind` follows a branch that was
    rewritten, for all or for those named, `strict` deploys nothing as long as anything is wrong.
    """

    retry: bool = False
    accept_rewind: Accept = False
    strict: bool = False


@dataclass(frozen=True)
class Todo:
    """What to do with what is new: deploy, stage, leave to an administrator, or wait."""

    apply: tuple[Target, ...] = ()
    stage: tuple[Target, ...] = ()
    manual: tuple[Target, ...] = ()
    waiting: tuple[Bad, ...] = ()
    removed: frozenset[str] = frozenset()
    stale: frozenset[str] = frozenset()

    @property
    def is_idle(self) -> bool:
        """Whether nothing is to be done with the host."""
        return not (self.apply or self.stage or self.removed or self.stale)


@dataclass(frozen=True)
class Look:
    """What sync sees before it does anything."""

    outlook: Outlook
    todo: Todo


def look(scope: Scope, options: Options) -> Look:
    """Fetch, and decide what is to be done; only sources/ is written.

    Raises LegerError for the host's own files, and with `strict` for anything that failed.
    """
    seen = outlook.look(scope, accept_rewind=options.accept_rewind)
    if options.strict and seen.failed:
        raise next(iter(seen.failed.values()))
    staged, _ = staging.read(scope)
    return Look(seen, decide(seen, staged, retry=options.retry))


def decide(seen: Outlook, staged: Mapping[str, Staged], *, retry: bool = False) -> Todo:
    """What follows from what is wanted and what is there; touches nothing."""
    new = seen.new()
    bad = {} if retry else {name: seen.bad[name] for name in new if name in seen.bad}
    todo: dict[str, list[Target]] = {"apply": [], "stage": [], "manual": []}
    for name, target in sorted(new.items()):
        if name in bad or (target.deployment.update == "stage" and _waits(staged, target)):
            continue
        todo[target.deployment.update].append(target)
    return Todo(
        **{key: tuple(targets) for key, targets in todo.items()},
        waiting=tuple(bad.values()),
        removed=seen.vanished,
        stale=frozenset(name for name, item in staged.items() if _is_stale(seen, item)),
    )


def _waits(staged: Mapping[str, Staged], target: Target) -> bool:
    """Whether it is staged just so already."""
    item = staged.get(target.deployment.name)
    return item is not None and (item.commit, item.definition) == (
        target.commit,
        target.definition,
    )


def _is_stale(seen: Outlook, item: Staged) -> bool:
    """Whether a staged deployment is deployed already, or its definition is gone."""
    now = seen.now.get(item.name)
    if now is not None and (now.commit, now.definition) == (item.commit, item.definition):
        return item.name not in seen.new()
    return bool(item.before) and item.name not in {*seen.wanted, *seen.failed}
