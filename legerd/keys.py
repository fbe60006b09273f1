"""The two keys above every record: the key-encryption key (KEK), and the data key that it wraps.

The KEK is 32 bytes from a systemd credential or a key file; legerd never makes one (legerd.keygen
does). The data key is random, lives in the database wrapped by the KEK as nonce (24) || ciphertext
|| tag (16) under XChaCha20-Poly1305, and every other key is derived from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, Self

from legerd import crypto
from legerd.errors import KeyUnavailable, StoreCorrupt

CREDENTIAL = "kek"
KEK_SLOT = 3
RECOVERY_SLOT = 4
_WRAP = b"legerd/1 data key for a key-encryption key:"


@dataclass(frozen=True, slots=True)
class Slot:
    """The data key, wrapped for one holder: a KEK (id: 8 bytes) or a recovery key (id: public)."""

    kind: int
    id: bytes
    wrap: bytes = field(repr=False)


class Unlocker(Protocol):
    """Whoever can open a vault: a KEK or a recovery key."""

    def unlock(self, slots: Sequence[Slot], database: bytes) -> bytes:
        """The data key of the database with that id; KeyUnavailable if none of the slots is ours.

        Raises StoreCorrupt if one is, but does not authenticate.
        """
        ...


class Cipher(Protocol):
    """What seals and opens small things: a key that is held here, or elsewhere."""

    def seal(self, data: bytes, associated: bytes) -> bytes:
        """`data`, encrypted and bound to `associated`."""

    def unseal(self, box: bytes, associated: bytes) -> bytes:
        """What `seal` got; crypto.ForgeryError if it is not that."""


@dataclass(frozen=True)
class _KeyBytes:
    """A key that is held here: nonce (24) || ciphertext || tag (16), as setec's TPM keys do."""

    key: bytes = field(repr=False)

    def seal(self, data: bytes, associated: bytes) -> bytes:
        """See Cipher."""
        return crypto.seal(self.key, data, associated)

    def unseal(self, box: bytes, associated: bytes) -> bytes:
        """See Cipher."""
        return crypto.unseal(self.key, box, associated)


@dataclass(frozen=True)
class Kek:
    """A key-encryption key. `id` names it in the database and in messages and tells nothing."""

    id: bytes
    _cipher: Cipher = field(repr=False)

    @classmethod
    def of(cls, key: bytes) -> Self:
        """The KEK with these 32 bytes."""
        name = crypto.derive(key, "legerd/1 id of a key-encryption key", length=8)
        return cls(name, _KeyBytes(key))

    def seal(self, data: bytes, associated: bytes) -> bytes:
        """See Cipher."""
        return self._cipher.seal(data, associated)

    def unseal(self, box: bytes, associated: bytes) -> bytes:
        """See Cipher."""
        return self._cipher.unseal(box, associated)

    def wrap(self, data_key: bytes, database: bytes) -> Slot:
        """The slot by which this key opens the database with that id."""
        return Slot(KEK_SLOT, self.id, self.seal(data_key, _WRAP + database))

    def unlock(self, slots: Sequence[Slot], database: bytes) -> bytes:
        """See Unlocker."""
        for slot in slots:
            if (slot.kind, slot.id) == (KEK_SLOT, self.id):
                try:
                    return self.unseal(slot.wrap, _WRAP + database)
                except crypto.ForgeryError:
                    raise StoreCorrupt(
                        f"the data key wrapped for key {self.id.hex()} is damaged",
                        hint="restore a backup, or open it with the recovery key",
                    ) from None
        held = ", ".join(slot.id.hex() for slot in slots if slot.kind == KEK_SLOT) or "none"
        raise KeyUnavailable(
            f"the database is sealed with key {held}, the key that was given is {self.id.hex()}",
            hint="put back the key that belongs to it, or: legerd restore --recovery-key FILE",
        )


def load_kek(credentials: Path | None, key_file: Path | None = None) -> Kek:
    """The KEK from `key_file` if one is given, else from the folder $CREDENTIALS_DIRECTORY.

    Raises KeyUnavailable, with what mends it, if there is none or it is not 32 bytes.
    """
    if key_file is not None:
        return Kek.of(_private(key_file))
    if credentials is None:
        raise KeyUnavailable(
            "no key-encryption key: neither a credential nor a key file was given",
            hint="run legerd as legerd.service, or name a key file",
        )
    return Kek.of(_read(credentials / CREDENTIAL))


def _private(path: Path) -> bytes:
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise _unreadable(path, error) from error
    if mode & 0o077:
        raise KeyUnavailable(f"{path}: a key file that others may read", hint=f"chmod 600 {path}")
    return _read(path)


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            key = file.read(crypto.KEY_BYTES + 1)
    except OSError as error:
        raise _unreadable(path, error) from error
    if len(key) != crypto.KEY_BYTES:
        raise KeyUnavailable(
            f"{path}: not a key-encryption key, which has {crypto.KEY_BYTES} bytes",
            hint="put back the file that legerd-keygen.service made",
        )
    return key


def _unreadable(path: Path, error: OSError) -> KeyUnavailable:
    return KeyUnavailable(
        f"{path}: no key-encryption key: {error.strerror}",
        hint="on a new host: systemctl start legerd-keygen.service; where there were secrets: "
        "put /var/lib/legerd-key/kek.cred back, or: legerd restore --recovery-key FILE",
    )
