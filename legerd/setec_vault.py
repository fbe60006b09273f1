"""setec's file as a store: read whole at the start, written whole and afresh by each commit.

The DEK goes from file to file as it is, so that setec's server opens what was written here. It
takes no lock, and must not run meanwhile; a file that another program has replaced all the same
is read again before the next commit.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Self

from leger import disk
from leger.errors import LegerError

from legerd import crypto, setec_file
from legerd.errors import KeyUnavailable, NotSupported, StoreCorrupt, StoreUnavailable
from legerd.keys import Cipher, Kek, Slot
from legerd.records import Key
from legerd.setec_file import SetecFile
from legerd.snapshot import Snapshot
from legerd.values import Secret
from legerd.vault import Copy, Item
from legerd.vault_files import hold, refused

MAX_BYTES = 1 << 30
_TEMPORARY = re.compile(r"[0-9a-f]{8}")


class SetecVault:
    """An open file of setec's. Not thread-safe but for `snapshot`, which is replaced as a whole."""

    slots: tuple[Slot, ...] = ()
    describes = False
    opened_with = ""

    def __init__(self, path: Path, keys: Sequence[Cipher], held: contextlib.ExitStack) -> None:
        self._path = path
        self._keys = keys
        self._held = held
        self._closed = False
        self._identity = _identity(path)
        self._file, secrets = load(path, keys)
        self.snapshot = Snapshot(secrets, 1)

    @classmethod
    def open(cls, path: Path, keys: Sequence[Cipher]) -> Self:
        """Lock the file `path`, read and check all of it; it is opened by one of `keys`.

        Raises KeyUnavailable, StoreLocked, StoreUnavailable, StoreCorrupt (nothing was written).
        """
        path = path.resolve()
        if not path.exists():
            raise KeyUnavailable(
                f"{path}: there is no such file", hint="put it back, or: legerd export FILE"
            )
        with contextlib.ExitStack() as held:
            held.enter_context(hold(path.with_name(f"{path.name}.lock"), path))
            try:
                vault = cls(path, keys, held)
                _tidy(path)
            except OSError as error:
                raise refused(path, error) from error
            vault._held = held.pop_all()
        return vault

    @property
    def tags_root(self) -> bytes:
        """What the key of tags is derived from: of the data key, which no commit changes."""
        return crypto.derive(self._file.keyset.primary.secret, "legerd/1 tags of setec's file")

    def ready(self) -> None:
        """Return if a commit can be tried, after reading a file that is not the one known.

        Raises StoreUnavailable.
        """
        if self._closed:
            raise StoreUnavailable(f"{self._path}: the file is closed")
        try:
            if _identity(self._path) != self._identity:
                self._reload()
        except (OSError, LegerError) as error:
            raise refused(self._path, error) from error

    def commit(self, items: Mapping[Key, Item], snapshot: Snapshot) -> None:
        """Replace the file by one with `snapshot`; durable when this returns.

        Raises StoreUnavailable if the disk refuses; then `snapshot` is what the disk says.
        """
        try:
            disk.write_file(self._path, self._file.encode(snapshot.values()), 0o600)
            self._identity = _identity(self._path)
        except (OSError, LegerError) as error:
            with contextlib.suppress(StoreUnavailable):
                self.ready()
            raise refused(self._path, error) from error
        self.snapshot = snapshot

    def replace_slots(self, kind: int, wrap: Callable[[bytes, bytes], Slot]) -> None:
        """Refuse: setec's file has room for one key only."""
        raise _not_here()

    def add_kek(self, kek: Kek) -> None:
        """Refuse, likewise."""
        raise _not_here()

    def renew(self, *, data_key: bool) -> None:
        """Refuse, likewise."""
        raise _not_here()

    def copy(self) -> Copy:
        """Refuse: a copy of the file is a backup of it, at any moment."""
        raise _not_here()

    def verify(self) -> None:
        """Read the file from the disk again. Raises StoreCorrupt, KeyUnavailable, LegerError."""
        _, secrets = load(self._path, self._keys)
        told = (secrets.values(), self.snapshot.values())
        if len({setec_file.cleartext(each) for each in told}) > 1:
            raise StoreCorrupt(f"{self._path}: not what was written last", hint="put a backup back")

    def close(self) -> None:
        """Give the lock back; a second time does nothing."""
        self._closed = True
        self._held.close()

    def _reload(self) -> None:
        identity = _identity(self._path)
        self._file, secrets = load(self._path, self._keys)
        self._identity = identity
        self.snapshot = Snapshot(secrets, self.snapshot.sequence + 1)


def load(path: Path, keys: Sequence[Cipher]) -> tuple[SetecFile, dict[str, Secret]]:
    """setec's file `path` and its secrets by name, opened by one of `keys`.

    Raises KeyUnavailable, StoreCorrupt, LegerError if it cannot be read.
    """
    return setec_file.parse(disk.read_file(path, MAX_BYTES), keys, path)


def create(path: Path, key: Cipher, secrets: Iterable[Secret] = ()) -> None:
    """Make a file of setec's with a new data key, sealed with `key`; it must not be there.

    Raises StoreCorrupt if it is, StoreUnavailable.
    """
    if os.path.lexists(path):
        raise StoreCorrupt(f"{path}: is there already", hint="name a file that is not there")
    try:
        disk.write_file(path, SetecFile.make(key).encode(secrets), 0o600)
    except LegerError as error:
        raise StoreUnavailable(str(error), hint=error.hint) from error


def _not_here() -> NotSupported:
    return NotSupported(
        "setec's own file has no place for this", hint="legerd import makes a vault of it"
    )


def _identity(path: Path) -> tuple[int, ...]:
    """What a file that another program wrote does not have in common with the one before."""
    found = path.stat()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _tidy(path: Path) -> None:
    """Remove what a commit that was killed left beside the file."""
    prefix = f".{path.name}."
    for name in os.listdir(path.parent):
        if name.startswith(prefix) and _TEMPORARY.fullmatch(name.removeprefix(prefix)):
            path.with_name(name).unlink()
