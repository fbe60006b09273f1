"""Which store is meant, and with which keys: the vault in a folder, or a file of setec's."""

from __future__ import annotations

import contextlib
import enum
import os
from collections.abc import Iterator
from pathlib import Path

from leger.errors import UsageError

from legerd import database, keygen, setec_vault
from legerd.errors import KeyUnavailable, StoreCorrupt
from legerd.keys import Cipher, Kek
from legerd.options import Options
from legerd.setec_file import DummyKey
from legerd.setec_vault import SetecVault
from legerd.store import Store
from legerd.vault_files import DATABASE

_MAKING = ("serve", "import")


class Kind(enum.Enum):
    """Whose database a file is."""

    VAULT = "legerd's own"
    SETEC = "setec's"


def kind_of(path: Path) -> Kind:
    """Whose database the file `path` is, by how it begins.

    Raises KeyUnavailable if it cannot be read, StoreCorrupt if it is neither.
    """
    try:
        with path.open("rb") as file:
            head = file.read(len(database.MAGIC))
    except OSError as error:
        raise KeyUnavailable(
            f"{path}: no database: {error.strerror}", hint="put it back, or: legerd export FILE"
        ) from error
    if head == database.MAGIC:
        return Kind.VAULT
    if head.startswith(b"{"):
        return Kind.SETEC
    raise StoreCorrupt(
        f"{path}: neither setec's database nor legerd's own", hint="put a backup of it back"
    )


def file_keys(options: Options, kek: Kek) -> tuple[Cipher, ...]:
    """What opens a file of setec's; a new one is sealed with the first."""
    if not options.dev:
        return (kek,)
    return (kek, DummyKey()) if options.key_file else (DummyKey(), kek)


def open_store(options: Options, kek: Kek) -> Store:
    """The store that `options` name: --db, else the vault in the state folder.

    With --dev one that is not there is made. Raises what Store.open and SetecVault.open do.
    """
    path = options.db
    if path is None:
        return _vault(options, options.state, kek)
    keys = file_keys(options, kek)
    if options.dev and options.command in _MAKING and not os.path.lexists(path):
        if path.name == DATABASE:
            return _vault(options, path.parent, kek)
        setec_vault.create(path, keys[0])
    if kind_of(path) is Kind.SETEC:
        return Store(SetecVault.open(path, keys))
    if path.name != DATABASE:
        raise UsageError(
            f"{path}: legerd's own database has to be called {DATABASE}",
            hint="other files in its folder belong to it: move the folder as a whole",
        )
    return _vault(options, path.parent, kek)


@contextlib.contextmanager
def opened(options: Options, kek: Kek) -> Iterator[Store]:
    """The store, used with the rights of whoever owns its folder, and closed at the end."""
    folder = Path(os.path.realpath(options.db)).parent if options.db else options.state
    with contextlib.ExitStack() as held:
        if os.path.isdir(folder):
            held.enter_context(keygen.as_owner(folder))
        yield held.enter_context(contextlib.closing(open_store(options, kek)))


def _vault(options: Options, folder: Path, kek: Kek) -> Store:
    return Store.open(
        folder,
        kek,
        accept_rollback=options.accept_rollback,
        create=options.dev and options.command in _MAKING,
    )
