"""The recovery key: opens a vault on another host, and is kept off this one.

An X25519 key pair. The host keeps the public half, as the id of a slot that wraps the data key for
it: ephemeral public key (32) || nonce (24) || ciphertext || tag (16), under HKDF-SHA256 of the
shared secret with both public keys as salt. The private half is shown once, as base32 in groups:
format (1 byte), key (32), checksum (7, of SHA-256), which is 64 letters and digits.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self, TextIO

from leger import disk
from leger.errors import UsageError

from legerd import crypto
from legerd.errors import KeyUnavailable, LegerdError, Rejected, StoreCorrupt
from legerd.keys import RECOVERY_SLOT, Slot

_FORMAT = b"\x01"
_CHECKSUM = 7
_WRAP = b"legerd/1 data key for a recovery key:"
_MISREAD = str.maketrans("018", "OIB")


@dataclass(frozen=True, slots=True)
class PublicKey:
    """The half that a host keeps (32 bytes)."""

    raw: bytes

    @classmethod
    def parse(cls, raw: bytes) -> Self:
        """The public key with these bytes; Rejected if it is none that one can wrap for."""
        key = cls(raw)
        if len(raw) != crypto.KEY_BYTES:
            raise Rejected(f"a public key has {crypto.KEY_BYTES} bytes")
        try:
            crypto.agree(crypto.random_key(), raw)
        except crypto.ForgeryError as error:
            raise Rejected(str(error)) from error
        return key

    @property
    def name(self) -> str:
        """A short name (8 hex digits), which the printed key bears as well."""
        return hashlib.sha256(self.raw).hexdigest()[:8]

    def wrap(self, data_key: bytes, database: bytes) -> Slot:
        """The slot by which the private half opens the database with that id."""
        ephemeral = crypto.random_key()
        public = crypto.public_half(ephemeral)
        key = _wrapping_key(crypto.agree(ephemeral, self.raw), public, self.raw)
        return Slot(RECOVERY_SLOT, self.raw, public + crypto.seal(key, data_key, _WRAP + database))


@dataclass(frozen=True)
class RecoveryKey:
    """Both halves; an Unlocker, so that Store.open takes it where the host's key is lost."""

    public: PublicKey
    _private: bytes = field(repr=False)

    @classmethod
    def of(cls, private: bytes) -> Self:
        """The key pair of a private half."""
        return cls(PublicKey(crypto.public_half(private)), private)

    @classmethod
    def generate(cls) -> Self:
        """A new key pair."""
        return cls.of(crypto.random_key())

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what `text` wrote: case, spaces, dashes and lines with # do not matter.

        Raises KeyUnavailable if letters are wrong, missing or in another order.
        """
        lines = (line for line in text.splitlines() if not line.lstrip().startswith("#"))
        letters = "".join("".join(lines).replace("-", "").split()).upper().translate(_MISREAD)
        try:
            data = base64.b32decode(letters)
        except ValueError:
            data = b""
        body, checksum = data[:-_CHECKSUM], data[-_CHECKSUM:]
        if len(body) != 1 + crypto.KEY_BYTES or body[:1] != _FORMAT or _sum(body) != checksum:
            raise KeyUnavailable(
                "this is not a recovery key, or a letter of it is wrong",
                hint="type all 64 letters and digits as they were printed",
            )
        return cls.of(body[1:])

    def text(self) -> str:
        """16 groups of 4 letters and digits, in 4 lines."""
        body = _FORMAT + self._private
        letters = base64.b32encode(body + _sum(body)).decode()
        groups = [letters[at : at + 4] for at in range(0, len(letters), 4)]
        return "\n".join("-".join(groups[at : at + 4]) for at in range(0, len(groups), 4))

    def unlock(self, slots: Sequence[Slot], database: bytes) -> bytes:
        """See legerd.keys.Unlocker."""
        for slot in slots:
            if (slot.kind, slot.id) == (RECOVERY_SLOT, self.public.raw):
                return self._unwrap(slot, database)
        raise KeyUnavailable(
            f"the database was not made recoverable with recovery key {self.public.name}",
            hint="look for a later recovery key, or for an older backup",
        )

    def _unwrap(self, slot: Slot, database: bytes) -> bytes:
        public, box = slot.wrap[: crypto.KEY_BYTES], slot.wrap[crypto.KEY_BYTES :]
        try:
            key = _wrapping_key(crypto.agree(self._private, public), public, slot.id)
            return crypto.unseal(key, box, _WRAP + database)
        except (crypto.ForgeryError, ValueError):
            raise StoreCorrupt(
                f"the data key wrapped for recovery key {self.public.name} is damaged",
                hint="restore another backup",
            ) from None


def make(register: Callable[[bytes], None], terminal: TextIO, output: Path | None) -> PublicKey:
    """Make a recovery key, hand it out, and `register` its public half (32 bytes) at the vault.

    It is written to `output` (0600, must not exist) or else to `terminal`, before the vault knows
    of it: a key that nobody has seen never counts. What `register` raises passes, after the file
    was removed. Raises UsageError if it would go into a pipe or a log, LegerdError if it cannot be
    written.
    """
    if output is None and not terminal.isatty():
        raise UsageError(
            "a recovery key is shown on a terminal only", hint="or written: --output FILE"
        )
    key = RecoveryKey.generate()
    text = f"# leger recovery key {key.public.name}: keep it off this host\n{key.text()}\n"
    if output is None:
        terminal.write(text)
        terminal.flush()
    else:
        _write(output, text)
    try:
        register(key.public.raw)
    except BaseException:
        if output is not None:
            output.unlink(missing_ok=True)
        else:
            terminal.write(f"# recovery key {key.public.name} is NOT in use: throw it away\n")
        raise
    return key.public


def _write(path: Path, text: str) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags, 0o600)
    except OSError as error:
        raise LegerdError(
            f"{path}: cannot be made: {error.strerror}", hint="name a file that does not exist"
        ) from error
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        disk.sync_folder(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
        raise LegerdError(f"{path}: cannot be written: {error.strerror}") from error


def _wrapping_key(shared: bytes, ephemeral: bytes, public: bytes) -> bytes:
    return crypto.derive(shared, "legerd/1 recovery", ephemeral + public)


def _sum(body: bytes) -> bytes:
    return hashlib.sha256(b"legerd recovery key:" + body).digest()[:_CHECKSUM]
