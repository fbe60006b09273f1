"""Reads the audit log whole: every line has its form, and the lines are in order."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from leger.errors import UsageError

from legerd.errors import StoreCorrupt

#: How far two lines may be the wrong way round: callers that waited together (seconds).
_TOLERANCE = 5.0
_FIELDS = {"id": int, "time": str, "principal": dict, "action": str, "authorized": bool}


@dataclass(frozen=True)
class Found:
    """How many lines there are, in how many files, and where the clock went back."""

    lines: int
    files: int
    notes: tuple[str, ...]


def check(path: Path) -> Found:
    """Read the audit log `path` and the rotated ones beside it, the oldest first.

    A line without an end may be one that is being written, and is left out of the newest file.
    Raises StoreCorrupt, which names the first line that has not its form; UsageError.
    """
    count, before = 0, 0.0
    notes = []
    files = _files(path)
    for file in files:
        for number, moment in _moments(file, newest=file == path):
            count += 1
            if moment < before - _TOLERANCE:
                notes.append(f"{file}:{number}: the clock went back {before - moment:.0f} s")
            before = moment
    return Found(count, len(files), tuple(notes))


def _files(path: Path) -> list[Path]:
    pattern = re.compile(re.escape(path.name) + r"\.([0-9]+)")
    older = [
        (int(found[1]), file)
        for file in path.parent.glob(f"{path.name}.*")
        if (found := pattern.fullmatch(file.name))
    ]
    return [*(file for _, file in sorted(older, reverse=True)), *([path] if path.exists() else [])]


def _moments(path: Path, *, newest: bool) -> Iterator[tuple[int, float]]:
    """The number of each line, and when it was recorded (seconds since the epoch)."""
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if newest and not line.endswith(b"\n"):
                    return
                yield number, _moment(path, number, line)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error


def _moment(path: Path, number: int, line: bytes) -> float:
    try:
        return datetime.fromisoformat(_parsed(line)["time"]).timestamp()
    except (ValueError, KeyError, TypeError) as error:
        raise StoreCorrupt(
            f"{path}:{number}: not a line of the audit log",
            hint="what follows it may be whole; keep a copy, and take the line out",
        ) from error


def _parsed(line: bytes) -> dict[str, Any]:
    entry: dict[str, Any] = json.loads(line)
    if not all(type(entry[name]) is kind for name, kind in _FIELDS.items()):
        raise ValueError("a field has not its form")
    return entry
