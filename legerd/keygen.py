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
from legerd.keys import CREDENTIAL, KEK_SLOT, Kek
from legerd.recovery import RecoveryKey
from legerd.vault import Vault

KEY_FOLDER = Path("/var/lib/legerd-key")
STATE_FOLDER = Path("/var/lib/legerd")
NAME = f"{CREDENTIAL}.cred"
PENDING = f"{NAME}.new"
_TIMEOUT = 60.0


def run(keys: Path = KEY_FOLDER, state: Path = STATE_FOLDER) -> str:
    """Make key and vault unless they are there; what was done, for the log.

    Raises KeyUnavailable, and writes nothing, if one of the two is there without the other;
    StoreUnavailable if the disk refuses; LegerdError if systemd-creds does.
    """
    credential, pending = keys / NAME, keys / PENDING
    sealed, vault = os.path.lexists(credential), Vault.exists(state)
    if sealed and vault:
        return f"{credential} and the vault in {state} are there: nothing to do"
    if sealed:
        raise KeyUnavailable(
            f"{credential} is there, but the vault in {state} is gone",
            hint=f"put a backup of {state} back; to begin with an empty vault, "
            f"remove {credential} and start legerd-keygen.service again",
        )
    if vault and not _opens(pending, state):
        raise KeyUnavailable(
            f"the vault in {state} is there, but {credential} is gone",
            hint=f"put {credential} back, or: legerd restore --recovery-key FILE",
        )
    with disk_errors():
        if not vault:
            _make(pending, state)
        finish(pending, credential)
    return f"made {credential} and an empty vault in {state}"


def restore(
    recovery: RecoveryKey,
    keys: Path = KEY_FOLDER,
    state: Path = STATE_FOLDER,
    *,
    accept_rollback: bool = False,
) -> str:
    """Seal a vault whose key is lost, or that came from another host, to this host.

    `state` has the files of the vault. It gets a new key-encryption key, and the one before opens
    it no longer. Killed at any step, it can be run again. Raises what Vault.open does, and what
    `run` does.
    """
    if not Vault.exists(state):
        raise KeyUnavailable(
            f"there is no vault in {state}", hint="put secrets.db and sequence of a backup there"
        )
    with disk_errors():
        seal_vault(recovery, keys, state, accept_rollback=accept_rollback)
        finish(keys / PENDING, keys / NAME)
    return f"the vault in {state} is sealed to this host: made {keys / NAME}"


def seal_vault(
    recovery: RecoveryKey, keys: Path, state: Path, *, accept_rollback: bool = False
) -> None:
    """Make a sealed key that is ready, and let it open the vault in `state` in its host's place."""
    key = crypto.random_key()
    disk.make_folder(keys)
    disk.write_file(keys / PENDING, seal(key), 0o600)
    with as_owner(state):
        vault = Vault.open(state, recovery, accept_rollback=accept_rollback)
        with contextlib.closing(vault):
            vault.replace_slots(KEK_SLOT, Kek.of(key).wrap)


def _make(pending: Path, state: Path) -> None:
    """The sealed key, durable, and then the vault that it opens."""
    if not state.is_dir():
        raise LegerdError(
            f"{state}: there is no such folder", hint="systemd-tmpfiles --create legerd.conf"
        )
    key = crypto.random_key()
    disk.make_folder(pending.parent)
    disk.write_file(pending, seal(key), 0o600)
    with as_owner(state):
        Vault.create(state, Kek.of(key))


def finish(pending: Path, credential: Path) -> None:
    """Make a sealed key that is ready the host's."""
    pending.replace(credential)
    disk.sync_folder(credential.parent)


def _opens(pending: Path, state: Path) -> bool:
    """Whether a run that was broken off left the key of this vault."""
    if not os.path.lexists(pending):
        return False
    key = unseal(disk.read_file(pending))
    with as_owner(state):
        return Vault.sealed_with(state, Kek.of(key))


@contextlib.contextmanager
def disk_errors() -> Iterator[None]:
    """Whatever the disk refuses in here becomes StoreUnavailable."""
    try:
        yield
    except OSError as error:
        raise StoreUnavailable(
            f"{error.filename}: {error.strerror}", hint="make room, or look at the disk"
        ) from error


def seal(key: bytes) -> bytes:
    """The encrypted credential of `key`, which has been opened again to see that it can be."""
    sealed = _creds("encrypt", key)
    if unseal(sealed) != key:
        raise LegerdError("systemd-creds: what it sealed does not open again")
    return sealed


def unseal(sealed: bytes) -> bytes:
    """The key in an encrypted credential of this host. Raises LegerdError."""
    return _creds("decrypt", sealed)


def _creds(verb: str, data: bytes) -> bytes:
    command = ["systemd-creds", verb, f"--name={CREDENTIAL}", "-", "-"]
    done = processes.run(command, timeout=_TIMEOUT, data=data)
    if done.code:
        raise LegerdError(
            f"systemd-creds {verb}: {done.message}",
            hint="systemd-creds setup; journalctl -u legerd-keygen.service",
        )
    return done.stdout


@contextlib.contextmanager
def as_owner(folder: Path) -> Iterator[None]:
    """Act with the rights of whoever owns `folder`: nothing there can send root elsewhere."""
    owner = folder.stat()
    user, group = os.geteuid(), os.getegid()
    if user or not owner.st_uid:
        yield
        return
    os.setegid(owner.st_gid)
    os.seteuid(owner.st_uid)
    try:
        yield
    finally:
        os.seteuid(user)
        os.setegid(group)
