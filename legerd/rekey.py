"""A new key-encryption key for a running legerd, sealed to this host; run by root.

legerd may not write the sealed key, and root does not touch the vault: so the vault is first opened
by both keys, then the sealed key is replaced, then legerd is started anew and has to open it with
the new one, and only then the old one is dropped. Killed in between, either key that may be in
place opens the vault, and the next run begins afresh.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from leger import disk
from leger.errors import LegerError

from legerd import crypto, keygen
from legerd.errors import KeyUnavailable, LegerdError
from legerd.keygen import KEY_FOLDER, NAME
from legerd.keys import Kek

NEXT = f"{NAME}.next"
BEFORE = f"{NAME}.before"

Ask = Callable[[str, Mapping[str, object]], Mapping[str, Any]]
"""legerd.rootsocket.ask, or what stands for it."""


def run(ask: Ask, restart: Callable[[], None], keys: Path = KEY_FOLDER) -> str:
    """Replace the sealed key by a new one; what was done, for the terminal.

    Raises KeyUnavailable if legerd does not use the sealed key, LegerError if legerd or
    systemd-creds refuse; then the vault opens with the key that is in place.
    """
    credential, before = keys / NAME, keys / BEFORE
    with keygen.disk_errors():
        sealed = disk.read_file(credential)
        _check_in_use(Kek.of(keygen.unseal(sealed)), ask, credential)
        key = crypto.random_key()
        new = Kek.of(key)
        disk.write_file(keys / NEXT, keygen.seal(key), 0o600)
        ask("rekey", {"Key": base64.b64encode(key).decode()})
        disk.write_file(before, sealed, 0o600)
        keygen.finish(keys / NEXT, credential)
        _start_anew(new, ask, restart, credential)
        ask("rekey", {})
        before.unlink()
        disk.sync_folder(keys)
    return f"{credential} is a new key, {new.id.hex()}; the one before opens nothing any more"


def _check_in_use(kek: Kek, ask: Ask, credential: Path) -> None:
    used = ask("status", {})["Key"]
    if used != kek.id.hex():
        raise KeyUnavailable(
            f"legerd was started with key {used or 'of another kind'}, not with {credential}",
            hint="systemctl restart legerd.service; for a key file: --key-file, --new-key-file",
        )


def _start_anew(new: Kek, ask: Ask, restart: Callable[[], None], credential: Path) -> None:
    """Start legerd with the new key; if it does not open the vault, put the old one back."""
    try:
        restart()
        if ask("status", {})["Key"] == new.id.hex():
            return
        problem = "it has another key"
    except LegerError as error:
        problem = str(error)
    credential.with_name(BEFORE).replace(credential)
    disk.sync_folder(credential.parent)
    restart()
    raise LegerdError(
        f"legerd did not start with the new key: {problem}; the key before is back",
        hint="journalctl -u legerd.service",
    )
