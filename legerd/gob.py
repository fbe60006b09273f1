"""Go's gob (pkg.go.dev/encoding/gob), as much of it as a struct of texts, bytes and numbers needs.

A stream of messages, each with its length in front: definitions of types, then one value. A field
is written as its distance from the one before; fields that are zero are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_BOOL, _INT, _UINT, _BYTES, _STRING = 1, 2, 3, 5, 6
_STRUCT = 2  # the place of StructT in wireType
_FIRST_OWN = 64


class GobError(Exception):
    """The bytes are no such gob; says nothing of the content."""


@dataclass(frozen=True)
class Struct:
    """A struct that has been read: the name of its type, its fields that are not zero by name."""

    name: str
    fields: Mapping[str, object]


@dataclass(frozen=True)
class _Type:
    name: str
    fields: tuple[tuple[str, int], ...]


def decode(data: bytes) -> Struct:
    """The one struct in `data`, whatever its type is called and has. Raises GobError."""
    stream = _Reader(data)
    types: dict[int, _Type] = {}
    while True:
        message = _Reader(stream.data())
        number = message.signed()
        if number >= 0:
            break
        types[-number] = _definition(message, -number)
        message.end()
    stream.end()
    kind = types.get(number)
    if kind is None:
        raise GobError("a value of an unknown type")
    found = message.struct([message.basic(field) for _, field in kind.fields])
    message.end()
    return Struct(kind.name, {kind.fields[place][0]: value for place, value in found.items()})


def encode(name: str, fields: Mapping[str, str | bytes]) -> bytes:
    """A struct of the type `name` with `fields`, as Go writes it first in a stream."""
    kinds = [
        _struct([_data(key.encode()), _int(_STRING if isinstance(value, str) else _BYTES)])
        for key, value in fields.items()
    ]
    common = _struct([_data(name.encode()), _int(_FIRST_OWN)])
    definition = _struct([common, _uint(len(kinds)) + b"".join(kinds)])
    texts = (value.encode() if isinstance(value, str) else value for value in fields.values())
    value = _struct([_data(text) if text else b"" for text in texts])
    return _data(_int(-_FIRST_OWN) + _struct([b"", b"", definition])) + _data(
        _int(_FIRST_OWN) + value
    )


def _definition(message: _Reader, number: int) -> _Type:
    """The struct type that a message defines; GobError if it is any other kind of type."""

    def common() -> dict[int, Any]:
        return message.struct([message.text, message.signed])

    def fields() -> list[dict[int, Any]]:
        return [common() for _ in range(message.unsigned())]

    def struct() -> dict[int, Any]:
        return message.struct([common, fields])

    found = message.struct([_refuse, _refuse, struct]).get(_STRUCT, {})
    head = found.get(0, {})
    if head.get(1) != number:
        raise GobError("a type that is defined as another one")
    named = tuple((field.get(0, ""), field.get(1, 0)) for field in found.get(1, []))
    return _Type(head.get(0, ""), named)


def _refuse() -> object:
    raise GobError("a type that is not a struct of simple fields")


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._place = 0

    def end(self) -> None:
        if self._place != len(self._data):
            raise GobError("more than there should be")

    def unsigned(self) -> int:
        """One byte below 128; else 256 minus how many bytes follow."""
        first = self._take(1)[0]
        if first < 0x80:
            return first
        if 0x100 - first > 8:
            raise GobError("a number of more than 64 bits")
        return int.from_bytes(self._take(0x100 - first))

    def signed(self) -> int:
        """A number whose lowest bit says that all others are inverted."""
        value = self.unsigned()
        return ~(value >> 1) if value & 1 else value >> 1

    def data(self) -> bytes:
        return self._take(self.unsigned())

    def text(self) -> str:
        try:
            return self.data().decode()
        except UnicodeDecodeError:
            raise GobError("a text that is not UTF-8") from None

    def basic(self, kind: int) -> Callable[[], object]:
        """What reads a value of a basic type; of any other it refuses."""
        readers: dict[int, Callable[[], object]] = {
            _BOOL: lambda: bool(self.unsigned()),
            _INT: self.signed,
            _UINT: self.unsigned,
            _BYTES: self.data,
            _STRING: self.text,
        }
        return readers.get(kind, _refuse)

    def struct(self, fields: Sequence[Callable[[], Any]]) -> dict[int, Any]:
        """The fields that are there, by place."""
        found: dict[int, Any] = {}
        place = -1
        while distance := self.unsigned():
            place += distance
            if place >= len(fields):
                raise GobError("a field that the type does not have")
            found[place] = fields[place]()
        return found

    def _take(self, size: int) -> bytes:
        if size > len(self._data) - self._place:
            raise GobError("cut off")
        self._place += size
        return self._data[self._place - size : self._place]


def _uint(value: int) -> bytes:
    if value < 0x80:
        return bytes([value])
    size = (value.bit_length() + 7) // 8
    return bytes([0x100 - size]) + value.to_bytes(size)


def _int(value: int) -> bytes:
    return _uint(~value << 1 | 1 if value < 0 else value << 1)


def _data(value: bytes) -> bytes:
    return _uint(len(value)) + value


def _struct(fields: Sequence[bytes]) -> bytes:
    """The fields one after the other; those that are empty are left out."""
    encoded = bytearray()
    before = -1
    for place, value in enumerate(fields):
        if value:
            encoded += _uint(place - before) + value
            before = place
    return bytes(encoded) + b"\0"
