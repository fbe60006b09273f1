"""leger secrets: set, get, list, info, activate, delete, over legerd's socket.

A value comes from standard input or a file and goes out on stdout, byte for byte; it is never in
an argument, in the environment or in a message.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from leger import disk
from leger.cli import output
from leger.errors import UsageError
from leger.legerdclient import Client, Info, NotFoundError
from leger.secretvalue import SecretValue

_PODMAN_LIMIT = 511_999
_MAX_BYTES = 64 << 20


def run(options: argparse.Namespace) -> int:
    """Run one of the secrets commands."""
    commands = {
        "secrets set": _set,
        "secrets get": _get,
        "secrets list": _list,
        "secrets info": _info,
        "secrets activate": _activate,
        "secrets delete": _delete,
    }
    commands[options.command](Client(), options)
    return 0


def _set(client: Client, options: argparse.Namespace) -> None:
    value = _read(options.value)
    try:
        before = client.info(options.name)
    except NotFoundError:
        before = None
    version = client.put(options.name, value)
    active = before is None or before.active == version
    if not active and not options.no_activate:
        client.activate(options.name, version)
        active = True
    if options.json:
        output.document({"name": options.name, "version": version, "active": active})
    elif before is not None and version in before.versions:
        output.result(f"{options.name}: version {version} has this value already")
    else:
        output.result(f"{options.name}: version {version} stored{'' if active else ', not active'}")


def _read(where: str) -> SecretValue:
    """The value from standard input (-) or a file (@FILE)."""
    if where == "-" and sys.stdin.isatty():
        return _typed()
    if where == "-":
        data = sys.stdin.buffer.read(_MAX_BYTES + 1)
    elif where.startswith("@") and len(where) > 1:
        data = disk.read_file(Path(where[1:]), _MAX_BYTES)
    else:
        raise UsageError(
            "a secret's value is not given as an argument, where others would see it",
            hint="- reads it from standard input, @FILE from a file",
        )
    if len(data) > _MAX_BYTES:
        raise UsageError(f"the value is larger than {_MAX_BYTES >> 20} MiB")
    _warn(data)
    return SecretValue(data)


def _typed() -> SecretValue:
    """What is typed, without echo and without the newline that ends it."""
    import getpass

    try:
        return SecretValue(getpass.getpass("value: ").encode(errors="surrogateescape"))
    except EOFError as error:
        raise UsageError("no value was typed") from error


def _warn(data: bytes) -> None:
    if data.endswith(b"\n"):
        output.progress(
            "leger: warning: the value ends in a newline, which is stored as part of it"
        )
        output.progress("leger: hint: printf %s writes none")
    if not data:
        output.progress("leger: warning: the value is empty; podman refuses an empty secret")
    if len(data) > _PODMAN_LIMIT:
        output.progress(
            f"leger: warning: the value is larger than {_PODMAN_LIMIT} bytes; podman refuses that"
        )


def _get(client: Client, options: argparse.Namespace) -> None:
    value, _ = client.get(options.name, options.number)
    sys.stdout.buffer.write(value.reveal())
    sys.stdout.buffer.flush()
    if sys.stdout.isatty():
        output.result("")


def _list(client: Client, options: argparse.Namespace) -> None:
    found = client.list()
    if options.json:
        output.document([_raw(info) for info in found])
    elif not found:
        output.progress("no secrets")
    else:
        rows = [(info.name, str(info.active), str(len(info.versions))) for info in found]
        output.table([("NAME", "ACTIVE", "VERSIONS"), *rows])


def _info(client: Client, options: argparse.Namespace) -> None:
    info = client.info(options.name)
    if options.json:
        output.document(_raw(info))
        return
    output.result(f"{info.name}: version {info.active} is active")
    output.result(f"versions: {' '.join(map(str, info.versions))}")


def _activate(client: Client, options: argparse.Namespace) -> None:
    client.activate(options.name, options.number)
    output.result(f"{options.name}: version {options.number} is active")


def _delete(client: Client, options: argparse.Namespace) -> None:
    if options.number:
        client.delete_version(options.name, options.number)
        output.result(f"{options.name}: version {options.number} deleted")
        return
    client.info(options.name)
    client.delete(options.name)
    output.result(f"{options.name}: deleted")


def _raw(info: Info) -> dict[str, object]:
    return {"name": info.name, "active": info.active, "versions": list(info.versions)}
