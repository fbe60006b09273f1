"""The record format: how secrets become rows, and how a set of rows is authenticated.

docs/adr/0010-vault-format.md gives the reasons. Every box is XChaCha20-Poly1305 under a subkey of
the data key, with format, database, kind, row id and version as associated data; what is in it is
padded to a size class. The head holds a sequence number and a sum over the macs of all rows.
"""

from __future__ import annotations

import hmac
import json
import os
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from legerd import crypto
from legerd.errors import StoreCorrupt
from legerd.keys import Slot
from legerd.values import (
    MAX_VERSION,
    NOTHING_SAID,
    Description,
    Secret,
    SecretBytes,
    Version,
)

FORMAT = 1
DATABASE_BYTES = 16
ID_BYTES = 16

HEAD, SECRET, VERSION = 0, 1, 2
TAGS, DESCRIPTION = 5, 6

_ENCODER = json.JSONEncoder(separators=(",", ":"))
_DECODER = json.JSONDecoder()
_PLACE = struct.Struct(">BIB")
_LENGTHS = struct.Struct(">IQ")
_HEAD = struct.Struct(">QQ32s")
_MODULUS = 1 << 256
_SMALLEST = 256


class Key(NamedTuple):
    """Which row: its kind, the id of its secret or slot, and the number of its version or 0."""

    kind: int
    id: bytes
    version: int = 0


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the table `record`; `lookup` is the HMAC of a secret's name, else empty."""

    key: Key
    box: bytes = field(repr=False)
    lookup: bytes = b""


@dataclass(frozen=True, slots=True)
class Head:
    """The state of the set: how many commits there were, how many rows are there, their sum."""

    sequence: int
    count: int
    total: int

    def changed(self, removed: Iterable[int], added: Iterable[int]) -> Head:
        """The head of the next commit, by the macs of the rows that it removes and adds."""
        gone, come = tuple(removed), tuple(added)
        total = (self.total - sum(gone) + sum(come)) % _MODULUS
        return Head(self.sequence + 1, self.count - len(gone) + len(come), total)


EMPTY = Head(0, 0, 0)


class Codec:
    """Encodes and decodes the rows of the database `database` (its id) under one data key."""

    def __init__(self, database: bytes, data_key: bytes) -> None:
        self.database = database
        self._context = b"legerd/%d:" % FORMAT + database
        self._records = self._subkey(data_key, "records")
        self._index = self._subkey(data_key, "name index")
        self._heads = self._subkey(data_key, "head")
        self._rows = self._subkey(data_key, "rows")
        self.sequence_key = self._subkey(data_key, "sequence")

    def _subkey(self, data_key: bytes, purpose: str) -> bytes:
        return crypto.derive(data_key, f"legerd/{FORMAT} {purpose}", self.database)

    def lookup(self, name: str) -> bytes:
        """Where a secret's row is found: HMAC-SHA256 of its name."""
        return hmac.digest(self._index, name.encode("utf-8", "surrogatepass"), "sha256")

    def mac(self, row: Row) -> int:
        """What a row adds to the sum over the set: a keyed PRF of all of it."""
        key = row.key
        place = _PLACE.pack(key.kind, key.version, len(key.id)) + key.id
        data = b"".join((place, len(row.lookup).to_bytes(1), row.lookup, row.box))
        return int.from_bytes(hmac.digest(self._rows, data, "sha256"))

    def secret_row(self, secret: Secret) -> Row:
        """The row of a secret's name and state, without its versions.

        `latest` is not in it while it is the highest number of the versions and the deleted: so
        a put adds one row and changes none.
        """
        header: dict[str, object] = {
            "name": secret.name,
            "active": secret.active,
            "deleted": sorted(secret.deleted),
        }
        if secret.latest > max((*secret.versions, *secret.deleted)):
            header["latest"] = secret.latest
        key = Key(SECRET, secret.id)
        return Row(key, self._seal(key, header), self.lookup(secret.name))

    def secret(
        self, row: Row, versions: Mapping[int, Version], about: Description = NOTHING_SAID
    ) -> Secret:
        """The secret of its row, its versions and what is said of it.

        Raises StoreCorrupt if they do not fit together.
        """
        header, _ = self._unseal(row.key, row.box)
        deleted = frozenset(header["deleted"])
        secret = Secret(
            name=str(header["name"]),
            versions=versions,
            active=int(header["active"]),
            latest=max((*versions, *deleted, int(header.get("latest", 0)))),
            deleted=deleted,
            id=row.key.id,
            about=about,
        )
        if row.lookup != self.lookup(secret.name) or secret.active not in versions:
            raise StoreCorrupt("the rows of a secret do not fit together")
        return secret

    def version_row(self, secret_id: bytes, number: int, version: Version) -> Row:
        """The row of one version and its value."""
        key = Key(VERSION, secret_id, number)
        header = {"created": version.created, "creator": version.creator}
        return Row(key, self._seal(key, header, version.value.reveal()))

    def version(self, row: Row) -> Version:
        """What `version_row` got; StoreCorrupt if it is not authentic."""
        header, value = self._unseal(row.key, row.box)
        return Version(SecretBytes(value), float(header["created"]), str(header["creator"]))

    def description_row(self, secret_id: bytes, about: Description) -> Row:
        """The row of what is said of a secret."""
        key = Key(DESCRIPTION, secret_id)
        header = {"text": about.text, "labels": dict(about.labels), "expires": about.expires}
        return Row(key, self._seal(key, header))

    def description(self, row: Row) -> Description:
        """What `description_row` got; StoreCorrupt if it is not authentic."""
        header, _ = self._unseal(row.key, row.box)
        return Description(str(header["text"]), header["labels"], float(header["expires"]))

    def tags_row(self, root: bytes) -> Row:
        """The row of the key of tags, which is random and survives a new data key."""
        key = Key(TAGS, b"")
        return Row(key, self._seal(key, {}, root))

    def tags_root(self, row: Row) -> bytes:
        """What `tags_row` got."""
        return self._unseal(row.key, row.box)[1]

    def seal_head(self, head: Head) -> bytes:
        """The head's box."""
        data = _HEAD.pack(head.sequence, head.count, head.total.to_bytes(32))
        return crypto.seal(self._heads, data, self._associated(Key(HEAD, b"")))

    def open_head(self, box: bytes) -> Head:
        """What `seal_head` got; StoreCorrupt if it is not authentic."""
        try:
            data = crypto.unseal(self._heads, box, self._associated(Key(HEAD, b"")))
        except crypto.ForgeryError:
            raise StoreCorrupt("the head row is not authentic") from None
        sequence, count, total = _HEAD.unpack(data)
        return Head(sequence, count, int.from_bytes(total))

    def _associated(self, key: Key) -> bytes:
        return self._context + _PLACE.pack(key.kind, key.version, len(key.id)) + key.id

    def _seal(self, key: Key, header: Mapping[str, object], value: bytes = b"") -> bytes:
        text = _ENCODER.encode(header).encode()
        data = b"".join((_LENGTHS.pack(len(text), len(value)), text, value))
        padded = data.ljust(size_class(len(data)), b"\0")
        return crypto.seal(self._records, padded, self._associated(key))

    def _unseal(self, key: Key, box: bytes) -> tuple[dict[str, Any], bytes]:
        try:
            data = crypto.unseal(self._records, box, self._associated(key))
        except crypto.ForgeryError:
            raise StoreCorrupt(f"a record of kind {key.kind} is not authentic") from None
        header, value = _LENGTHS.unpack_from(data)
        middle = _LENGTHS.size + header
        text = data[_LENGTHS.size : middle].decode()
        return _DECODER.decode(text), data[middle : middle + value]


def slot_row(slot: Slot) -> Row:
    """The row of a wrapped data key, which is a box already."""
    return Row(Key(slot.kind, slot.id), slot.wrap)


def all_rows(
    codec: Codec, secrets: Iterable[Secret], slots: Iterable[Slot], tags_root: bytes
) -> Iterator[Row]:
    """Every row of a vault, encrypted afresh."""
    yield codec.tags_row(tags_root)
    yield from map(slot_row, slots)
    for secret in secrets:
        yield codec.secret_row(secret)
        if secret.about != NOTHING_SAID:
            yield codec.description_row(secret.id, secret.about)
        for number, version in secret.versions.items():
            yield codec.version_row(secret.id, number, version)


def size_class(size: int) -> int:
    """The length to which `size` bytes are padded: 256, then Padmé (at most 12 % more).

    Padmé (Nikitin et al., PURBs, 2019) keeps the length's exponent and as many bits of its
    mantissa as the exponent has: lengths up to n bytes show O(log log n) bits of themselves.
    """
    if size <= _SMALLEST:
        return _SMALLEST
    exponent = size.bit_length() - 1
    lost = exponent - exponent.bit_length()
    mask = (1 << lost) - 1
    return size + mask & ~mask


def new_id() -> bytes:
    """A place in the database that says nothing about what is there."""
    return os.urandom(ID_BYTES)


def parse_row(kind: object, key: object, version: object, lookup: object, box: object) -> Row:
    """A row from what SQLite returned, which may be of any type; StoreCorrupt if it is not ours."""
    if (
        isinstance(kind, int)
        and isinstance(key, bytes)
        and isinstance(version, int)
        and isinstance(lookup, bytes | None)
        and isinstance(box, bytes)
        and 0 < kind <= DESCRIPTION
        and len(key) <= 32
        and 0 <= version <= MAX_VERSION
    ):
        return Row(Key(kind, key, version), box, lookup or b"")
    raise StoreCorrupt("a row has not the form of a record")
