"""The sequence number of the last acknowledged commit, kept outside the database.

An older database is a correct database: only this number shows that a newer one existed. The file
has two slots of number (8 bytes) and HMAC-SHA256 (32), on blocks of their own, written in turn and
in place, so that a torn write leaves the number before and a full disk does not matter.
"""

from __future__ import annotations

import contextlib
import errno
import hmac
import os
from pathlib import Path
from typing import Self

from leger import disk

_BLOCK = 4096
_NUMBER = 8
_SLOT = _NUMBER + 32


class SequenceFile:
    """The file `path`, made by the first write; numbers are authenticated with `key`."""

    def __init__(self, path: Path, key: bytes, *, ahead: bool = False) -> None:
        self._path = path
        self._key = key
        self._ahead = ahead
        self._descriptor = -1
        with contextlib.suppress(FileNotFoundError):
            self._descriptor = _open(pending(path) if ahead else path)

    @classmethod
    def opened(cls, path: Path, key: bytes) -> Self:
        """The file `path`, or the pending one, if a new database was put in place halfway.

        Nothing is written; `settle` ends what was begun.
        """
        for ahead in (False, True):
            file = cls(path, key, ahead=ahead)
            if file.read() is not None:
                return file
            file.close()
        return cls(path, key)

    @staticmethod
    def create(path: Path, key: bytes, number: int) -> None:
        """Make or replace the file, durable. Raises LegerError if the disk refuses."""
        disk.write_file(path, encoded(key, number), 0o600)

    def read(self) -> int | None:
        """The highest number that authenticates, None if there is none."""
        numbers: list[int] = []
        if self._descriptor < 0:
            return None
        for block in range(2):
            slot = os.pread(self._descriptor, _SLOT, block * _BLOCK)
            number = int.from_bytes(slot[:_NUMBER])
            if hmac.compare_digest(slot, _slot(self._key, number)):
                numbers.append(number)
        return max(numbers, default=None)

    def write(self, number: int) -> None:
        """Return when `number` is on the disk; OSError if the disk refuses."""
        if self._descriptor < 0:
            self.create(self._path, self._key, 0)
            self._descriptor = _open(self._path)
        written = os.pwrite(self._descriptor, _slot(self._key, number), number % 2 * _BLOCK)
        if written != _SLOT:
            raise OSError(errno.ENOSPC, "short write of the sequence number")
        os.fdatasync(self._descriptor)

    def settle(self) -> None:
        """Give a pending file its name, or remove one that is not needed."""
        if self._ahead:
            pending(self._path).replace(self._path)
            disk.sync_folder(self._path.parent)
            self._ahead = False
        else:
            pending(self._path).unlink(missing_ok=True)

    def close(self) -> None:
        """Close the file; a second time does nothing."""
        if self._descriptor >= 0:
            with contextlib.suppress(OSError):
                os.close(self._descriptor)
            self._descriptor = -1


def pending(path: Path) -> Path:
    """Where the number of a database is that is about to take the place of the one before."""
    return path.with_name(f"{path.name}.new")


def encoded(key: bytes, number: int) -> bytes:
    """What is in a new file."""
    data = bytearray(2 * _BLOCK)
    start = number % 2 * _BLOCK
    data[start : start + _SLOT] = _slot(key, number)
    return bytes(data)


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)


def _slot(key: bytes, number: int) -> bytes:
    data = number.to_bytes(_NUMBER)
    return data + hmac.digest(key, data, "sha256")
