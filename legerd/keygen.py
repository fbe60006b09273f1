"""Makes a host's key-encryption key and its empty vault, once: what legerd-keygen.service runs.

Both are made by one program in one order, so that afterwards one without the other is a loss and
never a beginning: seal the key to kek.cred.new, make the vault, rename to kek.cred. Killed or cut
off between any two steps, the next run goes on. It is root that runs it, because systemd-creds
seals for root only; the vault is made with the rights of the user who owns its folder.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from leger import disk, processes

from legerd import crypto
from legerd.errors import KeyUnavailable, LegerdError, StoreUnavailable
from legerd.keys import CREDENTIAL, Kek
from legerd.vault import Vault

KEY_FOLDER = Path("/var/lib/legerd-key")
STATE_FOLDER = Path("/var/lib/legerd")
NAME = f"{CREDENTIAL}.cred"
_TIMEOUT = 60.0


def run(keys: Path = KEY_FOLDER, state: Path = STATE_FOLDER) -> str:
    """Make key and vault unless they are there; what was done, for the log.

    Raises KeyUnavailable, and writes nothing, if one of the two is there without the other;
    StoreUnavailable if the disk refuses; LegerdError if systemd-creds does.
    """
    credential, pending = keys / NAME, keys / f"{NAME}.new"
    sealed, vault = os.path.lexists(credential), Vault.exists(state)
    if sealed and vault:
        return f"{credential} and the vault in {state} are there: nothing to do"
    if sealed:
        raise KeyUnavailable(
            f"{credential} is there, but the vault in {state} is gone",
            hint="restore a backup (legerd restore); to begin with an empty vault, "
            f"remove {credential} and start legerd-keygen.service again",
        )
    if vault and not os.path.lexists(pending):
        raise KeyUnavailable(
            f"the vault in {state} is there, but {credential} is gone",
            hint=f"put {credential} back, or restore with the recovery key (legerd restore)",
        )
    try:
        if not vault:
            _make(pending, state)
        pending.replace(credential)
        disk.sync_folder(keys)
    except OSError as error:
        raise StoreUnavailable(
            f"{error.filename}: {error.strerror}", hint="make room, or look at the disk"
        ) from error
    return f"made {credential} and an empty vault in {state}"


def _make(pending: Path, state: Path) -> None:
    """The sealed key, durable, and then the vault that it opens."""
    if not state.is_dir():
        raise LegerdError(
            f"{state}: there is no such folder", hint="systemd-tmpfiles --create legerd.conf"
        )
    key = crypto.random_key()
    disk.make_folder(pending.parent)
    disk.write_file(pending, _seal(key), 0o600)
    with _as_owner(state):
        Vault.create(state, Kek.of(key))


def _seal(key: bytes) -> bytes:
    """The encrypted credential of `key`, which has been opened again to see that it can be."""
    name = f"--name={CREDENTIAL}"
    sealed = _creds(["encrypt", name, "-", "-"], key)
    if _creds(["decrypt", name, "-", "-"], sealed) != key:
        raise LegerdError("systemd-creds: what it sealed does not open again")
    return sealed


def _creds(arguments: list[str], data: bytes) -> bytes:
    done = processes.run(["systemd-creds", *arguments], timeout=_TIMEOUT, data=data)
    if done.code:
        raise LegerdError(
            f"systemd-creds {arguments[0]}: {done.message}",
            hint="systemd-creds setup; journalctl -u legerd-keygen.service",
        )
    return done.stdout


@contextlib.contextmanager
def _as_owner(folder: Path) -> Iterator[None]:
    """Act with the rights of whoever owns `folder`: nothing there can send root elsewhere."""
    owner = folder.stat()
    user, group = os.geteuid(), os.getegid()
    if owner.st_uid == user:
        yield
        return
    os.setegid(owner.st_gid)
    os.seteuid(owner.st_uid)
    try:
        yield
    finally:
        os.seteuid(user)
        os.setegid(group)
