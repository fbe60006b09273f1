"""Where a secret's value comes from: standard input, a file or a terminal, never an argument."""

from __future__ import annotations

import sys
from pathlib import Path

from leger import disk
from leger.cli import output
from leger.errors import UsageError
from leger.secretvalue import SecretValue

_PODMAN_LIMIT = 511_999
_MAX_BYTES = 64 << 20


def given(where: str) -> SecretValue:
    """The value from standard input (-) or a file (@FILE), as it is."""
    if where == "-":
        data = _typed() if sys.stdin.isatty() else _piped()
    elif where.startswith("@") and len(where) > 1:
        data = disk.read_file(Path(where[1:]), _MAX_BYTES)
    else:
        raise UsageError(
            "a secret's value is not given as an argument, where others would see it",
            hint="- reads it from standard input, @FILE from a file",
        )
    if data.endswith(b"\n"):
        output.progress(
            "leger: warning: the value ends in a newline, which is stored as part of it"
        )
        output.progress("leger: hint: printf %s writes none")
    _warn(data)
    return SecretValue(data)


def checked(file: str, *, trim: bool, verbatim: bool, empty: bool) -> SecretValue:
    """The value as setec's put takes it: from a file, else typed twice or piped.

    Space around it is refused unless it is trimmed or wanted verbatim; so is an empty value,
    unless that is said to be right.
    """
    if trim and verbatim:
        raise UsageError("--trim-space and --verbatim exclude each other")
    if file and file != "-":
        data = disk.read_file(Path(file), _MAX_BYTES)
    elif sys.stdin.isatty():
        data = _typed()
        if _typed("again: ") != data:
            raise UsageError("the two values that were typed differ; nothing was stored")
    else:
        data = _piped()
    if data != data.strip():
        if not (trim or verbatim):
            raise UsageError(
                "the value has space or a newline at its ends; nothing was stored",
                hint="--trim-space takes it away, --verbatim stores it",
            )
        data = data.strip() if trim else data
    if not (data or empty):
        raise UsageError("the value is empty; nothing was stored", hint="--empty-ok stores it")
    _warn(data)
    return SecretValue(data)


def _piped() -> bytes:
    data = sys.stdin.buffer.read(_MAX_BYTES + 1)
    if len(data) > _MAX_BYTES:
        raise UsageError(f"the value is larger than {_MAX_BYTES >> 20} MiB")
    return data


def _typed(prompt: str = "value: ") -> bytes:
    """What is typed, without echo and without the newline that ends it."""
    import getpass

    try:
        return getpass.getpass(prompt).encode(errors="surrogateescape")
    except EOFError as error:
        raise UsageError("no value was typed") from error


def _warn(data: bytes) -> None:
    """Say what podman will refuse."""
    if not data:
        output.progress("leger: warning: the value is empty; podman refuses an empty secret")
    if len(data) > _PODMAN_LIMIT:
        output.progress(
            f"leger: warning: the value is larger than {_PODMAN_LIMIT} bytes; podman refuses that"
        )
