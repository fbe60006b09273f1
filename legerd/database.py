"""The SQLite file: its schema, reading it without touching it, and commits.

It is read through a read-only connection, which neither checkpoints nor deletes the -wal, so that
a vault that is refused stays as it was found. Only then a writer is opened, in exclusive mode:
the index of the -wal is in memory and no other process can open the database.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from legerd.errors import StoreCorrupt, StoreUnavailable
from legerd.keys import KEK_SLOT, RECOVERY_SLOT, Slot, Unlocker
from legerd.records import (
    DATABASE_BYTES,
    DESCRIPTION,
    EMPTY,
    FORMAT,
    SECRET,
    TAGS,
    VERSION,
    Codec,
    Head,
    Key,
    Row,
    parse_row,
)
from legerd.values import NOTHING_SAID, Description, Secret, Version

MAGIC = b"SQLite format 3\0"
_APPLICATION = 0x4C474452
# https://www.sqlite.org/fileformat2.html#file_format_version_numbers
_JOURNAL_MODES = slice(18, 20)
_ROLLBACK_JOURNAL = b"\1\1"
_VAULT = """CREATE TABLE vault (
    id INTEGER PRIMARY KEY CHECK (id = 1), database BLOB NOT NULL, head BLOB NOT NULL
)"""
_RECORD = """CREATE TABLE record (
    place INTEGER PRIMARY KEY, kind INTEGER NOT NULL, key BLOB NOT NULL, version INTEGER NOT NULL,
    lookup BLOB, box BLOB NOT NULL
)"""
_LOOKUP = "CREATE UNIQUE INDEX record_lookup ON record (lookup) WHERE lookup IS NOT NULL"
_SCHEMA = (_VAULT, _RECORD, _LOOKUP)
_HINT = "put a backup of the folder back, and start with --accept-rollback"
_RECORDS = "SELECT place, kind, key, version, lookup, box FROM record"


class Entry(NamedTuple):
    """Where a row is in its table, and what it adds to the sum over the set."""

    place: int
    mac: int


@dataclass
class Contents:
    """All of a database, authenticated."""

    codec: Codec
    box: bytes
    head: Head
    data_key: bytes = field(repr=False)
    entries: dict[Key, Entry] = field(default_factory=dict)
    secrets: dict[str, Secret] = field(default_factory=dict)
    slots: tuple[Slot, ...] = ()
    tags_root: bytes = field(default=b"", repr=False)

    @property
    def whole(self) -> bool:
        """Whether the rows are the set that the head was made for."""
        macs = (entry.mac for entry in self.entries.values())
        found = EMPTY.changed((), macs)
        return (found.count, found.total) == (self.head.count, self.head.total)


def read(path: Path, unlocker: Unlocker) -> Contents:
    """Everything in the database at `path`, every row authenticated; nothing is written.

    Whether the set of rows is complete is for the caller to ask (`whole`). Raises StoreCorrupt, or
    KeyUnavailable from `unlocker`.
    """
    with _reading(path) as connection, _explained(path):
        return _contents(connection, unlocker)


def parse(data: bytes, unlocker: Unlocker) -> Contents:
    """What `read` reads, of a file that is in memory and needs no -wal."""
    memory = sqlite3.connect(":memory:", isolation_level=None)
    with contextlib.closing(memory) as connection, _explained(Path("a copy in memory")):
        connection.deserialize(data)
        return _contents(connection, unlocker)


def _contents(connection: sqlite3.Connection, unlocker: Unlocker) -> Contents:
    database, box = _vault(connection)
    wrapped = f"{_RECORDS} WHERE kind IN ({KEK_SLOT}, {RECOVERY_SLOT})"
    slots = tuple(Slot(row.key.kind, row.key.id, row.box) for _, row in _rows(connection, wrapped))
    data_key = unlocker.unlock(slots, database)
    codec = Codec(database, data_key)
    contents = Contents(codec, box, codec.open_head(box), data_key, slots=slots)
    _fill(contents, connection)
    _check_structure(connection)
    return contents


def _check_structure(connection: sqlite3.Connection) -> None:
    """Refuse trees and free pages that can be read but would be written to the wrong place."""
    found = connection.execute("PRAGMA integrity_check(1)").fetchone()
    if found != ("ok",):
        raise StoreCorrupt(f"its structure is damaged: {found[0]}".splitlines()[0])


class _Parts:
    """The rows of a database while they are read, and the secrets that they make."""

    def __init__(self, codec: Codec) -> None:
        self._codec = codec
        self._secrets: list[Row] = []
        self._versions: dict[bytes, dict[int, Version]] = {}
        self._about: dict[bytes, Description] = {}
        self.tags_root = b""

    def take(self, row: Row) -> None:
        """Open one row."""
        kind, secret, number = row.key
        if kind == VERSION:
            self._versions.setdefault(secret, {})[number] = self._codec.version(row)
        elif kind == SECRET:
            self._secrets.append(row)
        elif kind == DESCRIPTION:
            self._about[secret] = self._codec.description(row)
        elif kind == TAGS:
            self.tags_root = self._codec.tags_root(row)

    def secrets(self) -> dict[str, Secret]:
        """All secrets by name; StoreCorrupt if anything of one is missing."""
        found = {}
        for row in self._secrets:
            versions = self._versions.pop(row.key.id, {})
            about = self._about.pop(row.key.id, NOTHING_SAID)
            secret = self._codec.secret(row, versions, about)
            found[secret.name] = secret
        if self._versions or self._about or len(self._secrets) != len(found):
            raise StoreCorrupt("rows are missing")
        return found


def _fill(contents: Contents, connection: sqlite3.Connection) -> None:
    parts = _Parts(contents.codec)
    for place, row in _rows(connection, _RECORDS):
        if row.key in contents.entries:
            raise StoreCorrupt("a row is there twice")
        contents.entries[row.key] = Entry(place, contents.codec.mac(row))
        parts.take(row)
    contents.secrets, contents.tags_root = parts.secrets(), parts.tags_root
    if not contents.tags_root:
        raise StoreCorrupt("rows are missing")


def create(path: Path, codec: Codec, rows: Mapping[Key, Row], head: Head) -> None:
    """Make the database at `path`, which must be an empty file with its final mode; durable."""
    with contextlib.closing(_connect(path, "rw")) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(f"PRAGMA application_id = {_APPLICATION}")
        connection.execute(f"PRAGMA user_version = {FORMAT}")
        for statement in _SCHEMA:
            connection.execute(statement)
        for row in rows.values():
            _insert(connection, row)
        connection.execute(
            "INSERT INTO vault VALUES (1, ?, ?)", (codec.database, codec.seal_head(head))
        )
        connection.execute("COMMIT")
    settle(path)


def settle(path: Path) -> None:
    """Make durable what is there, with no connection open.

    A process that was killed may have written a commit to the -wal without syncing it: it can be
    read, and would be gone after a power cut.
    """
    for file in (path, path.with_name(path.name + "-wal")):
        with contextlib.suppress(FileNotFoundError):
            descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


class Writer:
    """The one connection that writes, and that keeps every other process out."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection = _connect(path, "rw", exclusive=True)
        try:
            with _explained(path):
                self._connection.execute("PRAGMA journal_mode = WAL")
                self._connection.execute(f"PRAGMA journal_size_limit = {8 << 20}")
                self._connection.execute("BEGIN IMMEDIATE")
                self._connection.execute("UPDATE vault SET id = 1")  # fails if it is read-only
                self._connection.execute("ROLLBACK")
                self.box = _vault(self._connection)[1]
        except BaseException:
            self._connection.close()
            raise

    def contents(self, unlocker: Unlocker) -> Contents:
        """What `read` reads, by this connection."""
        with _explained(self._path):
            return _contents(self._connection, unlocker)

    def commit(
        self, removed: Mapping[Key, Entry], added: Mapping[Key, Row], box: bytes
    ) -> dict[Key, int]:
        """Remove and add rows and set the head, durable or not at all; where the added rows are.

        A row that is in both is replaced in its place. Raises sqlite3.Error.
        """
        connection = self._connection
        connection.execute("BEGIN IMMEDIATE")
        for key, entry in removed.items():
            if key not in added:
                _one(connection.execute("DELETE FROM record WHERE place = ?", (entry.place,)))
        places = {}
        for key, row in added.items():
            if key in removed:
                places[key] = removed[key].place
                _replace(connection, row, places[key])
            else:
                places[key] = _insert(connection, row)
        _one(connection.execute("UPDATE vault SET head = ? WHERE id = 1", (box,)))
        connection.execute("COMMIT")
        return places

    def serialize(self) -> bytes:
        """A whole database file as of the last commit, which needs no -wal. Raises sqlite3.Error.

        Not read by a descriptor of our own: closing that would give SQLite's locks away.
        """
        data = bytearray(self._connection.serialize())
        data[_JOURNAL_MODES] = _ROLLBACK_JOURNAL
        return bytes(data)

    def close(self) -> None:
        """Close the connection, after bringing everything into the main file if that can be."""
        with contextlib.suppress(sqlite3.Error):
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        with contextlib.suppress(sqlite3.Error):
            self._connection.close()


def _insert(connection: sqlite3.Connection, row: Row) -> int:
    values = (row.key.kind, row.key.id, row.key.version, row.lookup or None, row.box)
    place = connection.execute("INSERT INTO record VALUES (NULL, ?, ?, ?, ?, ?)", values).lastrowid
    return place or 0


def _replace(connection: sqlite3.Connection, row: Row, place: int) -> None:
    _one(connection.execute("UPDATE record SET box = ? WHERE place = ?", (row.box, place)))


def _one(cursor: sqlite3.Cursor) -> None:
    if cursor.rowcount != 1:
        raise sqlite3.DatabaseError("a row is not in its place")


def _connect(path: Path, mode: str, *, exclusive: bool = False) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        timeout=2,
    )
    try:
        for pragma in (
            f"locking_mode = {'EXCLUSIVE' if exclusive else 'NORMAL'}",
            "temp_store = MEMORY",
            "secure_delete = ON",
            "cell_size_check = ON",
            "trusted_schema = OFF",
            "synchronous = FULL",
        ):
            connection.execute(f"PRAGMA {pragma}")
    except BaseException:
        connection.close()
        raise
    return connection


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that changes nothing."""
    companions = [path.with_name(path.name + suffix) for suffix in ("-wal", "-shm")]
    new = [companion for companion in companions if not companion.exists()]
    try:
        with contextlib.closing(_reader(path)) as connection:
            yield connection
    finally:
        for companion in new:
            with contextlib.suppress(OSError):
                companion.unlink(missing_ok=True)


def _reader(path: Path) -> sqlite3.Connection:
    """A read-only connection; on a full disk, where there is no room for its -shm, another.

    Setting it up reads the database and makes the -shm. The other connection would checkpoint the
    -wal at its end, were it not told otherwise (Python 3.12).
    """
    with _explained(path):
        with path.open("rb") as file:
            if file.read(len(MAGIC)) != MAGIC:  # SQLite would delete the -wal of an empty file
                raise StoreCorrupt("not a database")
        try:
            return _connect(path, "ro")
        except sqlite3.OperationalError:
            connection = _connect(path, "rw", exclusive=True)
        if sys.version_info >= (3, 12):
            connection.setconfig(sqlite3.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE)
        return connection


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Whatever SQLite says of a damaged file becomes StoreCorrupt, with the path."""
    try:
        yield
    except OSError as error:
        raise StoreUnavailable(
            f"{path}: cannot be read: {error.strerror}", hint="look at its owner and mode"
        ) from error
    except (sqlite3.Error, UnicodeError, OverflowError, MemoryError) as error:
        raise StoreCorrupt(f"{path}: cannot be read: {error}", hint=_HINT) from error
    except StoreCorrupt as error:
        raise StoreCorrupt(f"{path}: {error}", hint=error.hint or _HINT) from error


def _vault(connection: sqlite3.Connection) -> tuple[bytes, bytes]:
    """Database id and head box, if the file is a vault of our format and nothing else."""
    if connection.execute("PRAGMA application_id").fetchone() != (_APPLICATION,):
        raise StoreCorrupt("not a database of legerd")
    (number,) = connection.execute("PRAGMA user_version").fetchone()
    if number != FORMAT:
        raise StoreCorrupt(f"format {number} is not known", hint="use the newer legerd")
    schema = connection.execute("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL").fetchall()
    if Counter(schema) != Counter((statement,) for statement in _SCHEMA):
        raise StoreCorrupt("the tables are not those of a vault")
    rows = connection.execute("SELECT id, database, head FROM vault").fetchall()
    if len(rows) != 1:
        raise StoreCorrupt("there is no head row")
    number, database, head = rows[0]
    if not (number == 1 and isinstance(database, bytes) and isinstance(head, bytes)):
        raise StoreCorrupt("the head row has not its form")
    if len(database) != DATABASE_BYTES:
        raise StoreCorrupt("the database's id has not its form")
    return database, head


def _rows(connection: sqlite3.Connection, query: str) -> Iterator[tuple[int, Row]]:
    for place, *columns in connection.execute(query):
        if not isinstance(place, int):
            raise StoreCorrupt("a row has no place")
        yield place, parse_row(*columns)
