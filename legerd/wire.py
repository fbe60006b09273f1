"""setec's JSON, as Go's encoding/json reads and writes it: the one place that knows those rules.

Reading: the first JSON value counts and what follows it is ignored; field names match without
case; unknown fields are ignored; null leaves a field as it is; of duplicate fields the last wins;
whole numbers are integer literals only; bytes are base64 (CR and LF ignored) or an array of
bytes; every invalid UTF-8 byte and every lone surrogate becomes U+FFFD.
"""

from __future__ import annotations

import binascii
import json
import re
from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from json.decoder import scanstring  # type: ignore[attr-defined]
from json.encoder import encode_basestring
from typing import Any, NoReturn, TypeVar

from legerd.calls import FetchItem

MAX_DEPTH = 10_000
UINT32 = (1 << 32) - 1

_SPACE = re.compile(r"[ \t\n\r]*")
_SURROGATE = re.compile("[\ud800-\udfff]")
_BASE64 = re.compile(r"[A-Za-z0-9+/]*={0,2}")
_LITERAL = re.compile(
    r"(?P<word>null|true|false)|-?(?:0|[1-9][0-9]*)(?P<real>(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?)"
)
_WORDS: Mapping[str, bool | None] = {"null": None, "true": True, "false": False}
_ESCAPED = str.maketrans(
    {
        "<": "\\u003c",
        ">": "\\u003e",
        "&": "\\u0026",
        "\u2028": "\\u2028",
        "\u2029": "\\u2029",
    }
)


class BadRequestError(Exception):
    """The body is not the JSON that the call expects; holds nothing of the body."""


class _Members(list[tuple[str, object]]):
    """A JSON object: its members in order, duplicates included."""


class _Number:
    """A number that no field takes: negative, fractional, with exponent, or too long."""


Request = TypeVar("Request")


def decode(body: bytes, kind: type[Request]) -> Request:
    """The request of `kind` in `body`; BadRequestError if Go's encoding/json would refuse it."""
    value = _parse(body.decode("utf-8", "surrogateescape"))
    return kind() if value is None else _fill(kind, value, None)


def text(value: str) -> str:
    """`value` as a JSON string, with Go's escapes for HTML."""
    return encode_basestring(value).translate(_ESCAPED)


def base64(value: bytes) -> str:
    """`value` as a JSON string of standard base64."""
    return f'"{b64encode(value).decode()}"'


def array(items: Iterable[str]) -> str:
    """A JSON array of encoded `items`; null when there are none, as Go writes a nil slice."""
    joined = ",".join(items)
    return f"[{joined}]" if joined else "null"


def _parse(source: str) -> object:
    start = _skip(source, 0)
    if source.count("[") + source.count("{") > MAX_DEPTH:
        return _parse_deep(source, start)
    try:
        return _DECODER.raw_decode(source, start)[0]
    except RecursionError:
        return _parse_deep(source, start)
    except ValueError:
        raise BadRequestError from None


def _refuse(_constant: str) -> NoReturn:
    raise BadRequestError


def _integer(literal: str) -> object:
    return int(literal) if len(literal) <= 10 and literal.isdigit() else _NUMBER


def _real(_literal: str) -> _Number:
    return _NUMBER


_NUMBER = _Number()
_MORE = object()
_DECODER = json.JSONDecoder(
    object_pairs_hook=_Members, parse_int=_integer, parse_float=_real, parse_constant=_refuse
)


def _skip(source: str, index: int) -> int:
    found = _SPACE.match(source, index)
    return found.end() if found else index


def _parse_deep(source: str, index: int) -> object:
    """What the standard library's parser cannot: deep nesting, as deep as Go allows."""
    containers: list[list[Any]] = []
    keys: list[str] = []
    value: Any
    while True:
        index = _skip(source, index)
        if source[index : index + 1] in ("{", "["):
            if len(containers) >= MAX_DEPTH:
                raise BadRequestError
            value, index = _open(source, index, keys)
            if index >= 0:
                containers.append(value)
                continue
            index = -index
        else:
            value, index = _scalar(source, index)
        index, more = _close(source, index, value, containers, keys)
        if more is not _MORE:
            return more


def _open(source: str, index: int, keys: list[str]) -> tuple[list[Any], int]:
    """The container that opens at `index`, and where to go on: negative if it is empty."""
    container: list[Any] = _Members() if source[index] == "{" else []
    index = _skip(source, index + 1)
    if source[index : index + 1] == _closing(container):
        return container, -(index + 1)
    return container, _key(source, index, keys) if isinstance(container, _Members) else index


def _close(
    source: str, index: int, value: object, containers: list[list[Any]], keys: list[str]
) -> tuple[int, object]:
    """Put `value` where it belongs and close what ends with it; the whole, or _MORE."""
    while containers:
        container = containers[-1]
        container.append((keys.pop(), value) if isinstance(container, _Members) else value)
        index = _skip(source, index) + 1
        if (sign := source[index - 1 : index]) == ",":
            if isinstance(container, _Members):
                index = _key(source, _skip(source, index), keys)
            return index, _MORE
        if sign != _closing(container):
            raise BadRequestError
        value = containers.pop()
    return index, value


def _closing(container: list[Any]) -> str:
    return "}" if isinstance(container, _Members) else "]"


def _key(source: str, index: int, keys: list[str]) -> int:
    """Read `"key":` at `index` onto `keys`; the index behind it."""
    key, index = _string(source, index)
    index = _skip(source, index)
    if source[index : index + 1] != ":":
        raise BadRequestError
    keys.append(key)
    return index + 1


def _string(source: str, index: int) -> tuple[str, int]:
    if source[index : index + 1] != '"':
        raise BadRequestError
    try:
        value, end = scanstring(source, index + 1, True)
    except ValueError:
        raise BadRequestError from None
    return value, end


def _scalar(source: str, index: int) -> tuple[object, int]:
    if source[index : index + 1] == '"':
        return _string(source, index)
    found = _LITERAL.match(source, index)
    if not found:
        raise BadRequestError
    if found["word"]:
        return _WORDS[found["word"]], found.end()
    return (_NUMBER if found["real"] else _integer(found[0])), found.end()


def _fill(kind: type[Request], value: object, old: object) -> Request:
    """A request of `kind` from a JSON object; `old` holds what an earlier duplicate set."""
    if value is None:
        return old if isinstance(old, kind) else kind()
    if not isinstance(value, _Members):
        raise BadRequestError
    known = _known(kind)
    found: dict[str, object] = dict(vars(old)) if isinstance(old, kind) else {}
    for key, member in value:
        field = known.get(_fold(key))
        if field:
            name, read = field
            if (given := read(member, found.get(name))) is not None:
                found[name] = given
    return kind(**found)


def _fold(key: str) -> str:
    return key.replace("\u017f", "s").lower()


def _read_text(value: object, old: object) -> object:
    if value is None:
        return old
    if not isinstance(value, str):
        raise BadRequestError
    return _SURROGATE.sub("\ufffd", value)


def _read_uint32(value: object, old: object) -> object:
    if value is None:
        return old
    if type(value) is not int or value > UINT32:
        raise BadRequestError
    return value


def _read_bool(value: object, old: object) -> object:
    if value is None:
        return old
    if not isinstance(value, bool):
        raise BadRequestError
    return value


def _read_bytes(value: object, old: object) -> object:
    if value is None:
        return b""
    if isinstance(value, str):
        return _from_base64(value)
    if not isinstance(value, list) or isinstance(value, _Members):
        raise BadRequestError
    before = old if isinstance(old, bytes) else b""
    data = bytearray()
    for index, item in enumerate(value):
        byte = (before[index] if index < len(before) else 0) if item is None else item
        if type(byte) is not int or byte > 255:
            raise BadRequestError
        data.append(byte)
    return bytes(data)


def _from_base64(value: str) -> bytes:
    plain = value.replace("\r", "").replace("\n", "")
    if len(plain) % 4 or not _BASE64.fullmatch(plain):
        raise BadRequestError
    try:
        return binascii.a2b_base64(plain)
    except binascii.Error:
        raise BadRequestError from None


def _read_items(value: object, old: object) -> object:
    if value is None:
        return ()
    if not isinstance(value, list) or isinstance(value, _Members):
        raise BadRequestError
    before = old if isinstance(old, tuple) else ()
    return tuple(
        _fill(FetchItem, item, before[index] if index < len(before) else None)
        for index, item in enumerate(value)
    )


def _read_clearable(value: object, _old: object) -> object:
    return "" if value is None else _read_text(value, None)


def _read_map(value: object, _old: object) -> object:
    if value is None:
        return {}
    if not isinstance(value, _Members):
        raise BadRequestError
    return {_read_text(key, ""): _read_text(item, "") for key, item in value}


_Reader = Callable[[object, object], object]
_READERS: Mapping[str, _Reader] = {
    "str": _read_text,
    "int": _read_uint32,
    "bool": _read_bool,
    "bytes": _read_bytes,
    "tuple[FetchItem, ...]": _read_items,
    "str | None": _read_clearable,
    "Mapping[str, str] | None": _read_map,
}
_KNOWN: dict[type, dict[str, tuple[str, _Reader]]] = {}


def _known(kind: type) -> dict[str, tuple[str, _Reader]]:
    """The fields of a request by their folded name, each with its reader."""
    if kind not in _KNOWN:
        _KNOWN[kind] = {
            field.name.lower(): (field.name, _READERS[str(field.type)]) for field in fields(kind)
        }
    return _KNOWN[kind]
