"""Secrets that never change, in the place of a store's: for tests, and while moving to setec."""

from __future__ import annotations

from pathlib import Path
from typing import Generic, TypeVar

from leger import disk
from leger.secretvalue import SecretValue
from leger.setec.watcher import Secret

_Made = TypeVar("_Made")


class StaticSecret(Secret):
    """A handle of a value that is given."""

    def __init__(self, value: SecretValue, name: str = "static") -> None:
        super().__init__(name, lambda _: value)


class StaticUpdater(Generic[_Made]):
    """In the place of an updater: always the same."""

    error = None

    def __init__(self, made: _Made) -> None:
        self._made = made

    def get(self) -> _Made:
        """What was given."""
        return self._made


def static_file(path: str | Path) -> StaticSecret:
    """A file's content, read now; LegerError."""
    return StaticSecret(SecretValue(disk.read_file(Path(path))), str(path))


def static_text_file(path: str | Path) -> StaticSecret:
    """A file's content without white space at both ends, read now; LegerError."""
    return StaticSecret(SecretValue(disk.read_file(Path(path)).strip()), str(path))
