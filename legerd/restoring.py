"""Puts a backup in place, sealed to this host: on a fresh machine, or in the place of a vault.

The vault is made ready in a folder beside, and renamed at the end; so it is there as a whole or
not at all, and whatever was there before is put aside, not deleted. Killed, it can be run again.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from leger import disk
from leger.errors import UsageError

from legerd import keygen
from legerd.backup import Backup
from legerd.errors import LegerdError
from legerd.keygen import KEY_FOLDER, NAME, PENDING, as_owner
from legerd.keys import Kek
from legerd.recovery import RecoveryKey
from legerd.vault import Vault
from legerd.vault_files import DATABASE, LOCK, SEQUENCE, hold

_STAGE = ".restore"


def restore(
    backup: Backup,
    kek: Kek | None,
    ask: Callable[[], RecoveryKey],
    state: Path,
    *,
    keys: Path = KEY_FOLDER,
    replace: bool = False,
) -> str:
    """Make `backup` the vault in `state`; what was done, for the terminal.

    If `kek`, this host's key, opens it, it stays; else the recovery key is asked for and a new key
    is made and sealed to this host. `replace` puts a vault that is there aside. Raises UsageError,
    and what Vault.open and keygen raise.
    """
    if not state.is_dir():
        raise LegerdError(
            f"{state}: there is no such folder", hint="systemd-tmpfiles --create legerd.conf"
        )
    with keygen.disk_errors(), contextlib.ExitStack() as held:
        with as_owner(state):
            held.enter_context(hold(state / LOCK, state))
            if Vault.exists(state) and not replace:
                raise UsageError(
                    f"{state}: there is a vault already", hint="--replace puts it aside"
                )
            stage = _staged(backup, state)
            held.callback(shutil.rmtree, stage, ignore_errors=True)
            known = kek is not None and Vault.sealed_with(stage, kek)
        if not known:
            keygen.seal_vault(ask(), keys, stage)
        with as_owner(state):
            aside = _put_aside(state)
            _put_in_place(stage, state)
        if not known:
            _keep_old_key(keys, aside)
            keygen.finish(keys / PENDING, keys / NAME)
    how = "opened by the key that is here" if known else f"sealed to this host by {keys / NAME}"
    before = f"; the vault before is in {aside}" if aside else ""
    return f"the vault of {backup.host}, commit {backup.commit}, is in {state}, {how}{before}"


def _staged(backup: Backup, state: Path) -> Path:
    stage = state / _STAGE
    if stage.exists():
        shutil.rmtree(stage)
    disk.make_folder(stage)
    disk.write_file(stage / DATABASE, backup.database, 0o600)
    disk.write_file(stage / SEQUENCE, backup.sequence, 0o600)
    return stage


def _put_aside(state: Path) -> Path | None:
    """Move a vault that is there into a folder of its own."""
    files = [path for path in state.glob(f"{DATABASE}*") if path.is_file()]
    if not files:
        return None
    aside = state / time.strftime("replaced-%Y%m%dT%H%M%SZ", time.gmtime())
    disk.make_folder(aside)
    for path in (*files, state / SEQUENCE):
        if path.exists():
            path.rename(aside / path.name)
    disk.sync_folder(aside)
    return aside


def _put_in_place(stage: Path, state: Path) -> None:
    for name in (SEQUENCE, DATABASE):
        (stage / name).replace(state / name)
    disk.sync_folder(state)


def _keep_old_key(keys: Path, aside: Path | None) -> None:
    """The vault that was put aside is opened by the key of before only."""
    credential = keys / NAME
    if aside and credential.exists():
        disk.write_file(keys / f"{NAME}.{aside.name}", disk.read_file(credential), 0o600)
