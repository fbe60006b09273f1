"""setec's database file: one line of JSON that holds a wrapped keyset and all secrets in one box.

{"Version":1,"DEK":BASE64,"DB":BASE64}. DEK is Tink's EncryptedKeyset under a key-encryption key;
DB is the JSON of all secrets, encrypted with that keyset. What setec would lose or misread is
refused here, and so are fields that are not known: the next write would lose them.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from legerd import crypto, gob, tink, wire
from legerd.errors import KeyUnavailable, StoreCorrupt
from legerd.keys import Cipher
from legerd.tink import Keyset, KeysetError
from legerd.values import MAX_VERSION, Secret, SecretBytes, Version

FORMAT = 1
_DEK = b"setec DEK v1"
_DB = b"setec database v1"
_DUMMY = "SetecDevOnlyDummyEncryption"
_DUMMY_TYPE = "dummyAEADData"


class DummyKey:
    """The key of `setec --dev`: no cryptography at all, what it seals lies open."""

    def seal(self, data: bytes, associated: bytes) -> bytes:
        """See Cipher."""
        return gob.encode(
            _DUMMY_TYPE, {"Name": _DUMMY, "Plaintext": data, "AssociatedData": associated}
        )

    def unseal(self, box: bytes, associated: bytes) -> bytes:
        """See Cipher."""
        try:
            found = gob.decode(box)
        except gob.GobError as error:
            raise crypto.ForgeryError(str(error)) from None
        fields = dict(found.fields)
        plain = fields.pop("Plaintext", b"")
        if (found.name, fields) != (_DUMMY_TYPE, {"Name": _DUMMY, "AssociatedData": associated}):
            raise crypto.ForgeryError("not sealed with the dummy, or not for this")
        return plain if isinstance(plain, bytes) else b""


@dataclass(frozen=True)
class SetecFile:
    """What does not change while secrets do: the DEK as it is in the file, and what is in it."""

    dek: str
    keyset: Keyset = field(repr=False)

    @classmethod
    def make(cls, key: Cipher) -> SetecFile:
        """A new keyset, sealed with `key`."""
        keyset = Keyset.make()
        blob = tink.wrap(key.seal(keyset.encode(), _DEK))
        return cls(b64encode(blob).decode(), keyset)

    def encode(self, secrets: Iterable[Secret]) -> bytes:
        """The whole file with `secrets`, encrypted afresh."""
        box = self.keyset.seal(cleartext(secrets), _DB)
        start = f'{{"Version":{FORMAT},"DEK":"{self.dek}","DB":"'
        return b"".join((start.encode(), b64encode(box), b'"}'))


def parse(data: bytes, keys: Sequence[Cipher], source: Path) -> tuple[SetecFile, dict[str, Secret]]:
    """The file `source`, which has `data`, opened with one of `keys`, and its secrets by name.

    Raises KeyUnavailable if none of the keys opens it; StoreCorrupt.
    """
    try:
        dek, box = _outer(data)
        keyset = Keyset.parse(_unwrap(tink.wrapped(_base64(dek)), keys, source))
        return SetecFile(dek, keyset), _secrets(keyset.unseal(box, _DB))
    except (KeysetError, _FormatError) as error:
        raise _corrupt(source, str(error)) from None
    except crypto.ForgeryError:
        raise _corrupt(source, "the secrets in it are not authentic") from None


def cleartext(secrets: Iterable[Secret]) -> bytes:
    """What is in the box, byte for byte as setec's server writes it: every field, keys sorted."""
    members = sorted((secret.name, _encode(secret)) for secret in secrets)
    inner = ",".join(f"{wire.text(name)}:{text}" for name, text in members)
    return f'{{"Secrets":{{{inner}}}}}'.encode()


class _FormatError(Exception):
    """What does not fit, without a byte of the content."""


def _corrupt(source: Path, problem: str) -> StoreCorrupt:
    return StoreCorrupt(
        f"{source}: not a whole database of setec: {problem}", hint="put a backup of it back"
    )


def _outer(data: bytes) -> tuple[str, bytes]:
    """The DEK as it stands there, and the box."""
    members = _members(_load(data), "Version", "DEK", "DB")
    if type(members["Version"]) is not int or members["Version"] != FORMAT:
        raise _FormatError("not of version 1")
    return str(members["DEK"]), _base64(members["DB"])


def _unwrap(wrapped: bytes, keys: Sequence[Cipher], source: Path) -> bytes:
    for key in keys:
        try:
            return key.unseal(wrapped, _DEK)
        except crypto.ForgeryError:
            continue
    try:
        DummyKey().unseal(wrapped, _DEK)
    except crypto.ForgeryError:
        raise KeyUnavailable(
            f"{source}: the key that was given does not open it, or its DEK is damaged",
            hint="name the key-encryption key that it was sealed with, or put a backup of it back",
        ) from None
    raise KeyUnavailable(
        f"{source}: sealed with the dummy key of setec --dev, which protects nothing",
        hint="it is opened with --dev only",
    )


def _encode(secret: Secret) -> str:
    values = ",".join(
        f'"{number}":{wire.base64(secret.versions[number].value.reveal())}'
        for number in sorted(secret.versions, key=str)
    )
    gone = ",".join(f'"{number}":true' for number in sorted(secret.deleted, key=str))
    return (
        f'{{"Versions":{{{values}}},"ActiveVersion":{secret.active},'
        f'"LatestVersion":{secret.latest},"DeletedVersions":{f"{{{gone}}}" if gone else "null"}}}'
    )


def _secrets(text: bytes) -> dict[str, Secret]:
    members = _object(_members(_load(text), "Secrets")["Secrets"])
    return {name: _secret(name, value) for name, value in members.items()}


def _secret(name: str, value: object) -> Secret:
    known = ("Versions", "ActiveVersion", "LatestVersion", "DeletedVersions")
    members = _members({"DeletedVersions": None, **_object(value)}, *known)
    values = _object(members["Versions"])
    deleted = _object(members["DeletedVersions"])
    if any(type(gone) is not bool for gone in deleted.values()):
        raise _FormatError("a deleted version that is neither true nor false")
    secret = Secret(
        name,
        {_number(key): _version(text) for key, text in values.items()},
        _integer(members["ActiveVersion"]),
        _integer(members["LatestVersion"]),
        frozenset(_number(key) for key, gone in deleted.items() if gone),
    )
    used = secret.deleted.union(secret.versions)
    if secret.active not in secret.versions or secret.latest < max(used):
        raise _FormatError("the versions of a secret do not fit together")
    if secret.deleted.intersection(secret.versions):
        raise _FormatError("a version that is there and deleted")
    return secret


def _version(value: object) -> Version:
    """A version; setec's file does not say when and by whom it was made."""
    return Version(SecretBytes(b"" if value is None else _base64(value)), 0.0, "")


def _number(key: str) -> int:
    if not (key.isascii() and key.isdigit() and len(key) <= 10 and str(int(key)) == key):
        raise _FormatError("a version that is not a number")
    return _integer(int(key))


def _integer(value: object) -> int:
    if type(value) is not int or not 0 < value <= MAX_VERSION:
        raise _FormatError("a version that is not a number from 1 to 2^32-1")
    return value


def _base64(value: object) -> bytes:
    """Standard base64, written in the one way that its bytes have."""
    try:
        data = b64decode(value, validate=True) if isinstance(value, str) else None
    except ValueError:
        data = None
    if data is None or b64encode(data).decode() != value:
        raise _FormatError("base64 is expected")
    return data


def _members(value: object, *names: str) -> Mapping[str, object]:
    members = _object(value)
    if set(members) != set(names):
        raise _FormatError(f"the fields {', '.join(names)} are expected")
    return members


def _object(value: object) -> Mapping[str, object]:
    """A JSON object; null is an empty one, as Go has it."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise _FormatError("an object is expected")
    return value


def _load(data: bytes) -> object:
    try:
        text = data.decode()
        value: object = json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise _FormatError("not JSON, or cut off") from None
    return value


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise _FormatError("a name that is there twice")
    try:
        "".join(members).encode()
    except UnicodeEncodeError:
        raise _FormatError("a name that is not Unicode") from None
    return members


def _refuse(_constant: str) -> NoReturn:
    raise ValueError
