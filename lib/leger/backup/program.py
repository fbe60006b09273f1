"""The program that `inside` runs: one step on a folder, by streams, in podman's namespace."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

from leger.backup import folders
from leger.errors import LegerError


def main() -> int:
    """Run one of the steps; what cannot be done is one line on stderr."""
    step, *arguments = sys.argv[1:]
    try:
        _STEPS[step](*arguments)
    except LegerError as error:
        return _failed(str(error))
    except OSError as error:
        return _failed(f"{error.filename or arguments[0]}: {error.strerror or error}")
    return 0


def _failed(message: str) -> int:
    sys.stderr.write(f"{message}\n")
    return 1


def _pack(folder: str, *patterns: str) -> None:
    for path in folders.pack(Path(folder), sys.stdout.buffer, patterns):
        sys.stderr.write(f"{ascii(path)[1:-1]}\n")
    sys.stdout.buffer.flush()


def _unpack(folder: str) -> None:
    folders.unpack(sys.stdin.buffer, Path(folder))


def _status(*paths: str) -> None:
    """Print (inode, uid, gid, mode) of each folder, null for what is not there."""
    found: list[tuple[int, ...] | None] = []
    for path in paths:
        try:
            status = os.stat(path, follow_symlinks=False)
            found.append((status.st_ino, status.st_uid, status.st_gid, status.st_mode & 0o7777))
        except FileNotFoundError:
            found.append(None)
    sys.stdout.write(json.dumps(found))


def _exchange(one: str, other: str, *owner: str) -> None:
    """Exchange two folders; with uid, gid and mode the first gets them before."""
    if owner:
        uid, gid, mode = map(int, owner)
        os.chown(one, uid, gid, follow_symlinks=False)
        os.chmod(one, mode)
    folders.exchange(Path(one), Path(other))


def _probe(one: str, other: str) -> None:
    folders.probe(Path(one), Path(other))


def _sync(folder: str) -> None:
    folders.sync(Path(folder))


def _remove(folder: str) -> None:
    folders.remove(Path(folder))


_STEPS: dict[str, Callable[..., None]] = {
    "pack": _pack,
    "unpack": _unpack,
    "status": _status,
    "exchange": _exchange,
    "probe": _probe,
    "sync": _sync,
    "remove": _remove,
}
