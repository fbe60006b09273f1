"""What a deployment's `backup:` asks for, and the backup before an update."""

from __future__ import annotations

from collections.abc import Iterator

from leger import changes as changed
from leger import generation, yamlfile
from leger.backup import kept
from leger.backup.rules import Rules
from leger.changes import Changes
from leger.deployment import Deployment, definitions, load
from leger.errors import LegerError
from leger.generation import Generation
from leger.model import Compiled
from leger.scope import Scope
from leger.switch import Host


def rules(scope: Scope, name: str) -> Rules:
    """What the host's file says of `name` now, else what it said when it was deployed or saved.

    Where nobody knows any more, all backups are kept. Raises ConfigError for a faulty file.
    """
    path = definitions(scope).get(name)
    if path is not None:
        return load(scope, path).backup or Rules()
    current = generation.load_current(scope)
    text = current.definitions.get(name, "") if current else ""
    text = text or kept.definition(scope, name)
    if not text:
        return Rules(keep=0)
    node = yamlfile.parse(text.encode(), f"the last definition of {name}")
    return Deployment.parse(node, name=name, scope=scope.name).backup or Rules()


def before_switch(
    host: Host, old: Generation | None, new: Compiled, changes: Changes
) -> Iterator[tuple[str, LegerError]]:
    """Back up the deployments that ask for it, another tree or commit of which touches its units.

    Yields those that cannot be backed up, with the reason: they are not to be updated.
    """
    touched = {*changes.stop, *changes.restart, *changes.start, *changes.gone}
    for name, before in old.compiled.deployments.items() if old else ():
        after = new.deployments.get(name)
        if after is None or not touched & changed.members([before]).keys():
            continue
        if (before.commit, before.tree.digest) != (after.commit, after.tree.digest):
            try:
                before_update(host, name, after.commit)
            except LegerError as error:
                yield name, error


def before_update(host: Host, name: str, commit: str) -> None:
    """Back up what the deployment `name` has, before it is brought to `commit`, if it asks for it.

    Raises LegerError when that fails: then it is not to be updated.
    """
    asked = rules(host.scope, name)
    if not asked.before_update:
        return
    from leger.backup import create, retention  # most updates need none of it

    try:
        made = create.create(host, name, asked, f"before the update to {commit[:12]}")
    except LegerError as error:
        raise LegerError(
            f"{name} is not updated, because the backup before it failed: {error}",
            hint=error.hint or "to update without it, set before-update: false",
        ) from error
    if made is not None:
        host.report(f"{name}: backup {made.id}")
        retention.prune(host.scope, name, keep=asked.keep, days=asked.days)
