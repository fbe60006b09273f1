"""The files of a vault: what they are called, the lock, and how a whole database is put in place.

A new one is written beside the old, with the sequence number that belongs to it; then the database
is renamed, then the number. Broken off in between, legerd.sequence finds the number where it is.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

from leger import disk
from leger.errors import CancelledError

from legerd import database
from legerd.errors import StoreLocked, StoreUnavailable
from legerd.records import EMPTY, Codec, Head, Row
from legerd.sequence import SequenceFile, pending

DATABASE = "secrets.db"
SEQUENCE = "sequence"
LOCK = "lock"
_NEW = f".{DATABASE}.new"


def write_new(directory: Path, codec: Codec, rows: Iterable[Row], sequence: int) -> Head:
    """Write a database of `rows` beside the one in `directory`, durable; its head.

    Raises OSError, sqlite3.Error, LegerError.
    """
    tidy(directory)
    found = {row.key: row for row in rows}
    head = EMPTY.changed((), map(codec.mac, found.values()))
    head = Head(sequence, head.count, head.total)
    new = directory / _NEW
    os.close(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    database.create(new, codec, found, head)
    SequenceFile.create(pending(directory / SEQUENCE), codec.sequence_key, head.sequence)
    return head


def take_new(directory: Path) -> None:
    """Put what `write_new` wrote in the place of what is there; no connection may be open.

    Raises OSError, and StoreUnavailable if the old one has a -wal, which would be taken for ours.
    """
    old = directory / DATABASE
    log = old.with_name(f"{DATABASE}-wal")
    if log.exists() and log.stat().st_size:
        raise StoreUnavailable(f"{log}: is still needed", hint="make room, or look at the disk")
    log.unlink(missing_ok=True)
    (directory / _NEW).replace(old)
    disk.sync_folder(directory)
    pending(directory / SEQUENCE).replace(directory / SEQUENCE)
    disk.sync_folder(directory)


def tidy(directory: Path) -> None:
    """Remove a new database that was never put in place; the number beside it says nothing."""
    for stale in directory.glob(f"{_NEW}*"):
        stale.unlink()


def hold(lock: Path, store: Path) -> contextlib.ExitStack:
    """The lock of `store`, held until the stack that is returned is closed.

    Raises StoreLocked if another has it, StoreUnavailable if the disk refuses.
    """
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(disk.lock(lock, wait=False))
        except OSError as error:
            raise StoreUnavailable(
                f"{lock}: {error.strerror}", hint=f"make {lock.parent} legerd's to write"
            ) from error
        except CancelledError as error:
            raise StoreLocked(
                f"{store}: another server or command has this vault open",
                hint="systemctl stop legerd.socket legerd-users.socket legerd.service",
            ) from error
        return held.pop_all()


def refused(path: Path, error: Exception) -> StoreUnavailable:
    """What to raise when the disk did not do what was asked of it."""
    return StoreUnavailable(
        f"{path}: the disk refused: {error}", hint="make room, or look at the disk"
    )
