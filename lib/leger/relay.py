"""The way on which root hears what leger did as a user, for whom root's config.yaml tells.

That run writes its summaries, a line each, to a file that root made, and holds open, in the user's
runtime folder. They are the user's words, and only so many of them are read as are likely.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from leger.errors import LegerError

#: The environment variable with the name of that file.
VARIABLE = "LEGER_SUMMARIES"
_BYTES = 1 << 20
_LINES = 100


@dataclass(frozen=True)
class Heard:
    """The file for a run, and its lines, which are there once `listening` ends."""

    path: Path
    lines: list[bytes] = field(default_factory=list)


@contextlib.contextmanager
def listening(runtime: Path, uid: int) -> Iterator[Heard]:
    """A file for the summaries of a run as the user `uid` with this runtime folder.

    Raises LegerError if it cannot be made.
    """
    heard = Heard(runtime / f"leger-summaries.{os.urandom(6).hex()}")
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC  # no link is followed
    try:
        descriptor = os.open(heard.path, flags, 0o600)
    except OSError as error:
        raise LegerError(f"{heard.path}: cannot be made: {error.strerror}") from error
    with os.fdopen(descriptor, "rb") as file:
        try:
            os.fchown(descriptor, uid, -1)
            yield heard
        finally:
            with contextlib.suppress(OSError):
                heard.path.unlink()
        heard.lines.extend(file.read(_BYTES).splitlines()[:_LINES])


def write(line: bytes, report: Callable[[str], None]) -> None:
    """Hand a summary to root, if it is root who has started this; `report` takes the warnings."""
    if not (path := os.environ.get(VARIABLE)):
        return
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(descriptor, "wb") as file:
            file.write(line)
    except OSError as error:
        report(f"warning: notify: {path}: {error.strerror}")
