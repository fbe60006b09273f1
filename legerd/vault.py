"""A vault on the disk: lock, database, sequence number, and the snapshot that they amount to."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, Self

from leger import disk
from leger.errors import LegerError

from legerd import crypto, database, sequence, vault_files
from legerd.database import Contents, Entry, Writer
from legerd.errors import KeyUnavailable, Rejected, StoreCorrupt, StoreUnavailable
from legerd.keys import RECOVERY_SLOT, Kek, Slot, Unlocker
from legerd.records import DATABASE_BYTES, EMPTY, Codec, Key, Row, all_rows, slot_row
from legerd.recovery import PublicKey
from legerd.sequence import SequenceFile
from legerd.snapshot import Snapshot
from legerd.values import Description, Secret, Version
from legerd.vault_files import DATABASE, LOCK, SEQUENCE, hold, refused

_HINT = (
    "put the newest database back, or, if what is missing may be lost, "
    "start once with --accept-rollback"
)
Item = Secret | Version | Description | Slot | None
"""What is to be in a row; None if the row is to go."""


class Copy(NamedTuple):
    """The files of a vault as of one commit: secrets.db, sequence, and the commit's number."""

    database: bytes
    sequence: bytes
    commit: int


class Vault:
    """An open vault. Not thread-safe but for `snapshot`, which is replaced as a whole."""

    describes = True

    def __init__(self, directory: Path, key: Unlocker, held: contextlib.ExitStack) -> None:
        self._directory = directory
        self._path = directory / DATABASE
        self._key = key
        self._held = held
        self._contents = database.read(self._path, key)
        self._sequence = self._opened_sequence(self._contents)
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
    def opened_with(self) -> str:
        """The id of the key-encryption key that opened it, in hex; empty for a recovery key."""
        return self._key.id.hex() if isinstance(self._key, Kek) else ""

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

    def add_kek(self, kek: Kek) -> None:
        """Wrap the data key with `kek` as well."""
        self.ready()
        slot = kek.wrap(self._contents.data_key, self._contents.codec.database)
        self.commit({Key(slot.kind, slot.id): slot}, self.snapshot)
        self._contents.slots = (*(old for old in self.slots if old.id != slot.id), slot)

    def renew(self, *, data_key: bool) -> None:
        """Write the whole database afresh, with a new data key or the one before.

        Only the key that it was opened with and the recovery key open it then; no file holds what
        was wrapped or encrypted before. Raises Rejected, StoreUnavailable.
        """
        if not isinstance(self._key, Kek):
            raise Rejected("opened with a recovery key", hint="open it with the host's own key")
        self.ready()
        contents = self._contents
        key = crypto.random_key() if data_key else contents.data_key
        codec = Codec(contents.codec.database, key)
        slots = [
            self._key.wrap(key, codec.database),
            *(
                PublicKey(slot.id).wrap(key, codec.database)
                for slot in contents.slots
                if slot.kind == RECOVERY_SLOT
            ),
        ]
        rows = all_rows(codec, self.snapshot.values(), slots, contents.tags_root)
        try:
            vault_files.write_new(self._directory, codec, rows, contents.head.sequence + 1)
            self._close_writer()
            try:
                vault_files.take_new(self._directory)
            finally:
                self._sequence.close()
                self._sequence = self._opened_sequence(contents)
            self._recover()
        except (OSError, sqlite3.Error, LegerError) as error:
            self._failed()
            raise refused(self._path, error) from error

    def copy(self) -> Copy:
        """A whole vault as of now, which has been opened to see that it can be.

        Raises StoreUnavailable, StoreCorrupt.
        """
        self.ready()
        contents = self._contents
        try:
            data = self._database().serialize()
        except sqlite3.Error as error:
            raise refused(self._path, error) from error
        if database.parse(data, self._key).box != contents.box:
            raise StoreCorrupt(f"{self._path}: the copy is not what was written")
        number = contents.head.sequence
        return Copy(data, sequence.encoded(contents.codec.sequence_key, number), number)

    def verify(self) -> None:
        """Read all of it from the disk again; StoreCorrupt says what is not as it should be."""
        self.ready()
        self._close_writer()
        try:
            contents = database.read(self._path, self._key)
            problem = _problem(contents, self._sequence.read())
            if not problem and contents.box != self._contents.box:
                problem = "not what was written last"
            if problem:
                raise StoreCorrupt(f"{self._path}: {problem}", hint=_HINT)
        finally:
            self._failed()

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
                hint=_HINT,
            )
        try:
            self._open_writer()
            self._reload()
            self._sequence.settle()
            vault_files.tidy(self._directory)
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
                return slot_row(item)

    def _write(
        self, removed: Mapping[Key, Entry], added: Mapping[Key, Row], box: bytes
    ) -> dict[Key, int]:
        return self._database().commit(removed, added, box)

    def _database(self) -> Writer:
        if self._writer is None:
            raise OSError("the database is not open")
        return self._writer

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
        if contents.codec.sequence_key == self._contents.codec.sequence_key:
            self._sequence.settle()
            self._sequence.write(contents.head.sequence)
        else:
            self._renew_sequence(contents)
        self._contents = contents
        self.snapshot = _snapshot(contents)

    def _renew_sequence(self, contents: Contents) -> None:
        """Take over the sequence number that belongs to a new data key."""
        with contextlib.ExitStack() as held:
            sequence = self._opened_sequence(contents)
            held.callback(sequence.close)
            sequence.settle()
            sequence.write(contents.head.sequence)
            held.pop_all()
        self._sequence.close()
        self._sequence = sequence

    def _opened_sequence(self, contents: Contents) -> SequenceFile:
        path = self._directory / SEQUENCE
        return SequenceFile.opened(path, contents.codec.sequence_key)

    def _close_writer(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _release(self) -> None:
        self._close_writer()
        self._sequence.close()


def _create(directory: Path, kek: Kek) -> None:
    data_key = crypto.random_key()
    codec = Codec(os.urandom(DATABASE_BYTES), data_key)
    rows = (slot_row(kek.wrap(data_key, codec.database)), codec.tags_row(crypto.random_key()))
    vault_files.write_new(directory, codec, rows, 1)
    vault_files.take_new(directory)


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
