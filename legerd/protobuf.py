"""Protocol Buffers' wire format, as much of it as the keysets of Tink need.

A message is a run of fields: a number, how it is written, and its value. Which fields there are
is not written down, so that whoever reads skips those that it does not know.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Self

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_FIXED = {FIXED64: 8, FIXED32: 4}
_LONGEST = 10


class MessageError(Exception):
    """The bytes are no message, or hold what does not fit; says nothing of the content."""


class Message:
    """A message that has been read: its fields by number."""

    def __init__(self, fields: dict[tuple[int, int], list[int | bytes]]) -> None:
        self._fields = fields

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """The message in all of `data`. Raises MessageError."""
        fields: dict[tuple[int, int], list[int | bytes]] = {}
        for number, kind, value in _fields(data):
            fields.setdefault((number, kind), []).append(value)
        return cls(fields)

    def number(self, field: int) -> int:
        """The number in a field of 32 bits, 0 if it is not there. Raises MessageError above."""
        values = [value for value in self._values(field, VARINT) if isinstance(value, int)]
        number = values[-1] if values else 0
        if number > 0xFFFFFFFF:
            raise MessageError("a number of more than 32 bits")
        return number

    def every(self, field: int) -> list[bytes]:
        """The bytes of each time that a field is there."""
        return [value for value in self._values(field, BYTES) if isinstance(value, bytes)]

    def data(self, field: int) -> bytes:
        """The bytes in a field; of several the last, of none none."""
        return (self.every(field) or [b""])[-1]

    def _values(self, field: int, kind: int) -> list[int | bytes]:
        return self._fields.get((field, kind), [])


def number(field: int, value: int) -> bytes:
    """A field with a number, as it is written."""
    return _varint(field << 3 | VARINT) + _varint(value)


def data(field: int, value: bytes) -> bytes:
    """A field with bytes, a text or a message, as it is written."""
    return _varint(field << 3 | BYTES) + _varint(len(value)) + value


def _fields(data: bytes) -> Iterator[tuple[int, int, int | bytes]]:
    place = 0
    value: int | bytes
    while place < len(data):
        tag, place = _read_varint(data, place)
        field, kind = tag >> 3, tag & 7
        if not field:
            raise MessageError("a field without a number")
        if kind == VARINT:
            value, place = _read_varint(data, place)
        else:
            value, place = _read_bytes(data, place, kind)
        yield field, kind, value


def _read_varint(data: bytes, place: int) -> tuple[int, int]:
    value = 0
    for shift, byte in enumerate(data[place : place + _LONGEST]):
        value |= (byte & 0x7F) << 7 * shift
        if byte < 0x80:
            return value, place + shift + 1
    raise MessageError("a number that does not end")


def _read_bytes(data: bytes, place: int, kind: int) -> tuple[bytes, int]:
    if kind == BYTES:
        length, place = _read_varint(data, place)
    elif kind in _FIXED:
        length = _FIXED[kind]
    else:
        raise MessageError("a field that is written in an unknown way")
    if length > len(data) - place:
        raise MessageError("cut off")
    return data[place : place + length], place + length


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
