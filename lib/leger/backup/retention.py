"""How long backups are kept: by number and by age, and the newest one always."""

from __future__ import annotations

import time
from collections.abc import Sequence

from leger import disk
from leger.backup import kept
from leger.backup.inside import Inside
from leger.scope import Scope


def surplus(ids: Sequence[str], *, keep: int, days: int, now: float) -> list[str]:
    """Which of `ids` (oldest first) go: all but the newest `keep`, and what is older than `days`.

    `days` 0 is any age, `now` Unix time in seconds. The newest stays.
    """
    oldest = kept.stamp(now - days * 86400.0) if days else ""
    older = ids[:-1]
    return [one for place, one in enumerate(older) if len(ids) - place > keep or one < oldest]


def prune(scope: Scope, name: str, *, keep: int, days: int, dry_run: bool = False) -> list[str]:
    """Remove the backups of `name` that are not kept; which they are, or would be."""
    gone = surplus(kept.ids(scope, name), keep=keep, days=days, now=time.time())
    for one in () if dry_run else gone:
        remove(scope, name, one)
    return gone


def remove(scope: Scope, name: str, id_: str) -> None:
    """Remove one backup: out of sight first, so that it is whole or not there."""
    folder = kept.folder(scope, name)
    aside = folder / f".gone-{id_}"
    Inside().remove(aside)
    (folder / id_).rename(aside)
    disk.sync_folder(folder)
    Inside().remove(aside)
