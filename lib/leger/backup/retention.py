"""How long backups are kept: by number and by age, and the newest one always."""

from __future__ import annotations

import time
from collections.abc import Mapping

from leger import disk
from leger.backup import kept
from leger.backup.inside import Inside
from leger.errors import LegerError
from leger.quantities import DAY
from leger.scope import Scope


def surplus(made: Mapping[str, str], *, keep: int, days: int, now: float) -> list[str]:
    """Which backups go: all but the newest `keep`, and what is older than `days`.

    `made` says of each ID, oldest first, when it was made, as `kept.stamp` does. `keep` 0 is any
    number, `days` 0 any age, `now` Unix time in seconds. The newest stays.
    """
    oldest = kept.stamp(now - days * DAY) if days else ""
    older = list(made)[:-1]
    most = keep or len(made)
    return [
        one for place, one in enumerate(older) if len(made) - place > most or made[one] < oldest
    ]


def prune(scope: Scope, name: str, *, keep: int, days: int, dry_run: bool = False) -> list[str]:
    """Remove the backups of `name` that are not kept; which they are, or would be."""
    made = {one: kept.made(scope, name, one) for one in kept.ids(scope, name)}
    gone = surplus(made, keep=keep, days=days, now=time.time())
    for one in () if dry_run else gone:
        remove(scope, name, one)
    return gone


def remove(scope: Scope, name: str, id_: str) -> None:
    """Remove one backup: out of sight first, so that it is whole or not there.

    Raises LegerError.
    """
    folder = kept.folder(scope, name)
    aside = folder / f".gone-{id_}"
    Inside().remove(aside)
    try:
        (folder / id_).rename(aside)
        disk.sync_folder(folder)
    except OSError as error:
        raise LegerError(
            f"{folder / id_}: cannot be removed: {error.strerror}",
            hint="check permissions and mounts",
        ) from error
    Inside().remove(aside)
