"""A vault on the disk: lock, database, sequence number, and the snapshot that they amount to."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Self

from leger import disk
from leger.errors import CancelledError, LegerError

from legerd import crypto, database
from legerd.database import Contents, Entry, Writer
from legerd.errors import KeyUnavailable, StoreCorrupt, StoreLocked, StoreUnavailable
from legerd.keys import Kek, Slot, Unlocker
from legerd.records import DATABASE_BYTES, EMPTY, Codec, Key, Row
from legerd.sequence import SequenceFile
from legerd.snapshot import Snapshot
from legerd.values import Description, Secret, Version

DATABASE = "secrets.db"
SEQUENCE = "sequence"
LOCK = "lock"

Item = Secret | Version | Description | Slot | None
"""What is to be in a row; None if the row is to go."""


class Vault:
    """An open vault. Not thread-safe but for `snapshot`, which is replaced as a whole."""

    describes = True

    def __init__(self, directory: Path, key: Unlocker, held: contextlib.ExitStack) -> None:
        self._path = directory / DATABASE
        self._key = key
        self._held = held
        self._contents = database.read(self._path, key)
        self._sequence = SequenceFile(directory / SEQUENCE, self._contents.codec.sequence_key)
        self._writer: Writer | None = None
        self._closed = False
        self.snapshot = _snapshot(self._contents)

    @staticmethod
    def exists(directory: Path) -> bool:
        """Whether there is a database, of whatever state, in `directory`."""
        return os.path.lexists(directory / DATABASE)

    @staticmethod
    def sealed_with(directory: Path, kek: Kek) -> bool:
        """Whether `kek` is the key of the vault in `directory`. Raises StoreCorrupt."""
        try:
            database.read(directory / DATABASE, kek)
        except KeyUnavailable:
            return False
        return True

    @staticmethod
    def create(directory: Path, kek: Kek) -> None:
        """Make an empty vault sealed with `kek`; complete, or not there at all.

        Raises StoreCorrupt if there is one, StoreLocked, StoreUnavailable.
        """
        path = directory / DATABASE
        try:
            disk.make_folder(directory)
            with hold(directory / LOCK, directory):
                if Vault.exists(directory):
                    raise StoreCorrupt(f"{path}: is there already", hint="open it")
                _create(directory, kek)
        except (OSError, sqlite3.Error) as error:
            raise refused(path, error) from error

    @classmethod
    def open(cls, directory: Path, key: Unlocker, *, accept_rollback: bool = False) -> Self:
        """Lock the vault in `directory`, read and check all of it, then make it writable.

        Raises what legerd.store.Store.open does.
        """
        if not cls.exists(directory):
            raise KeyUnavailable(
                f"{directory / DATABASE}: there is no database, but there is a key for one",
                hint=f"put a backup of {directory} back; to begin with an empty vault, remove "
                "/var/lib/legerd-key/kek.cred and start legerd-keygen.service",
            )
        with contextlib.ExitStack() as held:
            held.enter_context(hold(directory / LOCK, directory))
            try:
                vault = cls(directory, key, held)
            except OSError as error:
                raise refused(directory, error) from error
            held.callback(vault._release)
            vault._begin(accept_rollback)
            vault._held = held.pop_all()
        return vault

    @property
    def slots(self) -> tuple[Slot, ...]:
        """For whom the data key is wrapped."""
        return self._contents.slots

    @property
    def tags_root(self) -> bytes:
        """What the key of tags is derived from; it survives a new data key."""
        return self._contents.tags_root

    def ready(self) -> None:
        """Return if commits can be tried; after a failure, when the disk has been read again.

        Raises StoreUnavailable while the disk cannot be read or is not what it was.
        """
        if self._closed:
            raise StoreUnavailable(f"{self._path}: the vault is closed")
        if self._writer is None:
            try:
                self._recover()
            except (OSError, sqlite3.Error, LegerError) as error:
                raise refused(self._path, error) from error

    def commit(self, items: Mapping[Key, Item], snapshot: Snapshot) -> None:
        """Make `items` durable, and then `snapshot`, which has them, the current one.

        Raises StoreUnavailable if the disk refuses; then `snapshot` is what the disk says.
        """
        contents = self._contents
        added = {key: self._row(key, item) for key, item in items.items() if item is not None}
        macs = {key: contents.codec.mac(row) for key, row in added.items()}
        removed = {key: contents.entries[key] for key in items if key in contents.entries}
        head = contents.head.changed((entry.mac for entry in removed.values()), macs.values())
        box = contents.codec.seal_head(head)
        try:
            places = self._write(removed, added, box)
            self._sequence.write(head.sequence)
        except BaseException as error:
            self._failed()
            if isinstance(error, sqlite3.Error | OSError | LegerError):
                raise refused(self._path, error) from error
            raise
        for key in removed:
            del contents.entries[key]
        for key, place in places.items():
            contents.entries[key] = Entry(place, macs[key])
        contents.head, contents.box = head, box
        self.snapshot = snapshot.numbered(head.sequence)

    def replace_slots(self, kind: int, wrap: Callable[[bytes, bytes], Slot]) -> None:
        """Wrap the data key anew for holders of `kind`; every slot of that kind before is gone."""
        self.ready()
        contents = self._contents
        slot = wrap(contents.data_key, contents.codec.database)
        others = tuple(old for old in self.slots if old.kind != kind)
        items: dict[Key, Item] = {
            Key(old.kind, old.id): None for old in self.slots if old.kind == kind
        }
        items[Key(kind, slot.id)] = slot
        self.commit(items, self.snapshot)
        self._contents.slots = (*others, slot)

    def close(self) -> None:
        """Give everything back; a second time does nothing."""
        self._closed = True
        self._held.close()

    def _begin(self, accept_rollback: bool) -> None:
        """Refuse what is not the newest vault; else make durable what was read, and writable."""
        contents = self._contents
        problem = _problem(contents, self._sequence.read())
        if problem and not accept_rollback:
            raise StoreCorrupt(
                f"{self._path}: {problem}",
                hint="put the newest database back, or, if what is missing may be lost, "
                "start once with --accept-rollback",
            )
        try:
            self._open_writer()
            self._reload()
            if problem:
                self._accept()
            else:
                self._sequence.write(contents.head.sequence)
        except (OSError, sqlite3.Error) as error:
            raise refused(self._path, error) from error

    def _accept(self) -> None:
        """Make the head fit the rows, above every sequence number that there was."""
        contents = self._contents
        last = max(contents.head.sequence, self._sequence.read() or 0)
        macs = (entry.mac for entry in contents.entries.values())
        contents.head = replace(EMPTY.changed((), macs), sequence=last)
        self.commit({}, self.snapshot)

    def _row(self, key: Key, item: Secret | Version | Description | Slot) -> Row:
        codec = self._contents.codec
        match item:
            case Secret():
                return codec.secret_row(item)
            case Version():
                return codec.version_row(key.id, key.version, item)
            case Description():
                return codec.description_row(key.id, item)
            case Slot():
                return Row(key, item.wrap)

    def _write(
        self, removed: Mapping[Key, Entry], added: Mapping[Key, Row], box: bytes
    ) -> dict[Key, int]:
        if self._writer is None:
            raise OSError("the database is not open")
        return self._writer.commit(removed, added, box)

    def _open_writer(self) -> None:
        database.settle(self._path)
        self._writer = Writer(self._path)

    def _failed(self) -> None:
        """After a commit of which nothing is known: believe the disk, as soon as it can be read."""
        self._close_writer()
        with contextlib.suppress(OSError, sqlite3.Error, LegerError):
            self._recover()

    def _recover(self) -> None:
        self._open_writer()
        try:
            self._reload()
        except BaseException:
            self._close_writer()
            raise

    def _reload(self) -> None:
        """Take over what the disk says, unless it is what is known: one head, one set of rows."""
        if self._writer is None or self._writer.box == self._contents.box:
            return
        contents = self._writer.contents(self._key)
        problem = _problem(contents, self._contents.head.sequence)
        if problem:
            raise StoreCorrupt(problem)
        self._sequence.write(contents.head.sequence)
        self._contents = contents
        self.snapshot = _snapshot(contents)

    def _close_writer(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _release(self) -> None:
        self._close_writer()
        self._sequence.close()


def _create(directory: Path, kek: Kek) -> None:
    path = directory / DATABASE
    data_key = crypto.random_key()
    codec = Codec(os.urandom(DATABASE_BYTES), data_key)
    slot = kek.wrap(data_key, codec.database)
    slot_row = Row(Key(slot.kind, slot.id), slot.wrap)
    rows = {row.key: row for row in (slot_row, codec.tags_row(crypto.random_key()))}
    head = EMPTY.changed((), map(codec.mac, rows.values()))
    new = path.with_name(f".{DATABASE}.new")
    for stale in directory.glob(f"{new.name}*"):
        stale.unlink()
    os.close(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    database.create(new, codec, rows, head)
    SequenceFile.create(directory / SEQUENCE, codec.sequence_key, head.sequence)
    new.rename(path)
    disk.sync_folder(directory)


def _snapshot(contents: Contents) -> Snapshot:
    """The secrets of `contents`, which does not keep them: what is deleted is to go."""
    snapshot = Snapshot(contents.secrets, contents.head.sequence)
    contents.secrets = {}
    return snapshot


def _problem(contents: Contents, acknowledged: int | None) -> str:
    """Why a database is not the newest and complete one; empty if it is."""
    if not contents.whole:
        return "rows are missing, or are not those of the last commit"
    if acknowledged is None:
        return f"nothing authentic in {SEQUENCE} beside it says how new it has to be"
    if contents.head.sequence < acknowledged:
        return f"older than it was: commit {contents.head.sequence}, not {acknowledged}"
    return ""


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
