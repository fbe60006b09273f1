"""Tink's keysets: the data keys of setec's file (tink.proto and xchacha20_poly1305.proto of Tink).

What a keyset encrypts begins with a prefix that says which of its keys it was: five bytes, or
none. Writing is done with the primary key; reading with whichever key fits. Of the kinds of keys
only XChaCha20-Poly1305 is known, which is the only one that setec uses.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Self

from legerd import crypto, protobuf
from legerd.protobuf import Message, MessageError

_KIND = b"type.googleapis.com/google.crypto.tink.XChaCha20Poly1305Key"
_SYMMETRIC = 1
_ENABLED = 1
TINK, LEGACY, RAW, CRUNCHY = 1, 2, 3, 4
_START = {TINK: b"\x01", LEGACY: b"\0", CRUNCHY: b"\0"}


class KeysetError(Exception):
    """The bytes are no keyset with which anything could be written."""


@dataclass(frozen=True)
class Key:
    """One key, and how what it encrypts begins (`kind`)."""

    id: int
    kind: int
    secret: bytes = field(repr=False)

    @property
    def prefix(self) -> bytes:
        """What the key's ciphertext begins with."""
        return b"" if self.kind == RAW else _START[self.kind] + self.id.to_bytes(4)


@dataclass(frozen=True)
class Keyset:
    """The enabled keys of a keyset; the primary one is the first."""

    keys: tuple[Key, ...]

    @classmethod
    def make(cls) -> Self:
        """A keyset of one new random key."""
        number = int.from_bytes(os.urandom(4)) | 1
        return cls((Key(number, TINK, crypto.random_key()),))

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """The keyset in `data`; keys that are disabled, or of another kind, are left out.

        Raises KeysetError, also if the primary key is one of those.
        """
        try:
            keyset = Message.parse(data)
            primary = keyset.number(1)
            found = [_key(Message.parse(raw)) for raw in keyset.every(2)]
        except MessageError as error:
            raise KeysetError(f"not a keyset: {error}") from None
        keys = [key for key in found if key is not None]
        first = [key for key in keys if key.id == primary]
        if len(first) != 1:
            raise KeysetError("a keyset without a primary key of XChaCha20-Poly1305")
        return cls((*first, *(key for key in keys if key.id != primary)))

    def encode(self) -> bytes:
        """The keyset as Tink writes it."""
        keys = b"".join(protobuf.data(2, _encode(key)) for key in self.keys)
        return protobuf.number(1, self.keys[0].id) + keys

    @property
    def primary(self) -> Key:
        """The key that writes."""
        return self.keys[0]

    def seal(self, data: bytes, associated: bytes) -> bytes:
        """prefix, nonce (24 bytes), ciphertext, tag (16) under the primary key."""
        return self.primary.prefix + crypto.seal(self.primary.secret, data, associated)

    def unseal(self, box: bytes, associated: bytes) -> bytes:
        """What `seal` got; crypto.ForgeryError if no key of the set opens it."""
        fitting = [key for key in self.keys if box.startswith(key.prefix)]
        for key in sorted(fitting, key=lambda key: not key.prefix):
            try:
                return crypto.unseal(key.secret, box[len(key.prefix) :], associated)
            except crypto.ForgeryError:
                continue
        raise crypto.ForgeryError("no key of the keyset opens it")


def wrapped(blob: bytes) -> bytes:
    """The encrypted keyset in an EncryptedKeyset; what else is in it tells about the keys only.

    Raises KeysetError.
    """
    try:
        found = Message.parse(blob).every(2)
    except MessageError as error:
        raise KeysetError(f"not an encrypted keyset: {error}") from None
    if len(found) != 1:
        raise KeysetError("not an encrypted keyset")
    return found[0]


def wrap(encrypted: bytes) -> bytes:
    """An EncryptedKeyset of an encrypted keyset."""
    return protobuf.data(2, encrypted)


def _key(raw: Message) -> Key | None:
    data, number, kind = Message.parse(raw.data(1)), raw.number(3), raw.number(4)
    usable = raw.number(2) == _ENABLED and kind in (TINK, LEGACY, RAW, CRUNCHY)
    if not usable or (data.data(1), data.number(3)) != (_KIND, _SYMMETRIC):
        return None
    value = Message.parse(data.data(2))
    secret = value.data(3)
    if value.number(1) or len(secret) != crypto.KEY_BYTES:
        return None
    return Key(number, kind, secret)


def _encode(key: Key) -> bytes:
    value = protobuf.data(3, key.secret)
    data = protobuf.data(1, _KIND) + protobuf.data(2, value) + protobuf.number(3, _SYMMETRIC)
    return b"".join(
        (
            protobuf.data(1, data),
            protobuf.number(2, _ENABLED),
            protobuf.number(3, key.id),
            protobuf.number(4, key.kind),
        )
    )
