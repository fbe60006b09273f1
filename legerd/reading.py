"""The header of a request as Go reads it; what could be read in two ways is refused."""

from __future__ import annotations

import re

_CONTROL = re.compile(rb"[\x00-\x1f\x7f]")
_BEYOND = re.compile(rb"[\x80-\xff]")
_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_TARGET = re.compile(rb"(?:[A-Za-z][-+.A-Za-z0-9]*://[^/?]*)?(?P<path>/[^?]*)?")
#: Of these, two make a request ambiguous; of all others the first counts.
_SINGLE = frozenset({b"content-length", b"transfer-encoding", b"host"})


class UnclearError(Exception):
    """This is not one request that everybody reads alike; says why, with nothing of it."""


def read(block: bytes) -> tuple[bytes, str]:
    """A header with nothing in it that one reads so and another so; its path, still encoded."""
    line, _, rest = block.partition(b"\r\n")
    first = _first_line(line)
    headers = _first_of_each(rest)
    names = {name.lower() for name, _ in headers}
    chunked = b"transfer-encoding" in names
    if first[2] not in (b"HTTP/1.0", b"HTTP/1.1"):
        raise UnclearError("unknown version")
    if chunked and b"content-length" in names:
        raise UnclearError("two lengths")
    if chunked and first[2] == b"HTTP/1.0":
        raise UnclearError("chunks in HTTP/1.0")
    if first[2] == b"HTTP/1.1" and b"host" not in names:
        raise UnclearError("no host")
    lines = [b" ".join(first), *(b"%b: %b" % header for header in headers)]
    return b"\r\n".join(lines) + b"\r\n", _path(first[1])


def _first_line(line: bytes) -> list[bytes]:
    """Method, target and version: letters beyond ASCII percent-encoded, as Go holds them.

    Methods are told apart by case; one that is not in capitals is none that anybody knows.
    """
    parts = line.split(b" ")
    if len(parts) != 3 or _CONTROL.search(line):
        raise UnclearError("invalid first line")
    if parts[0] != parts[0].upper():
        parts[0] = b"UNKNOWN"
    parts[1] = _BEYOND.sub(lambda found: b"%%%02X" % found[0][0], parts[1])
    return parts


def _first_of_each(block: bytes) -> list[tuple[bytes, bytes]]:
    """The headers in `block`: no names with an underscore, of duplicates the first."""
    found: dict[bytes, tuple[bytes, bytes]] = {}
    for line in block.split(b"\r\n"):
        if not line:
            continue
        if line[:1] in (b" ", b"\t"):
            raise UnclearError("folded header")
        name, colon, value = line.partition(b":")
        if not colon or not name:
            raise UnclearError("invalid header")
        key = name.lower()
        if key in found and key in _SINGLE:
            raise UnclearError("duplicate header")
        if b"_" not in name:
            found.setdefault(key, (name, value.strip(b" \t")))
    return list(found.values())


def _path(target: bytes) -> str:
    """The path of a request's target, still percent-encoded; "" if it is an address alone."""
    found = _TARGET.match(target)
    if not found or not found[0] or _ESCAPE.search(found["path"] or b""):
        raise UnclearError("invalid target")
    return (found["path"] or b"").decode("ascii")
