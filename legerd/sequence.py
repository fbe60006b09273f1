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

from leger import disk

_BLOCK = 4096
_NUMBER = 8
_SLOT = _NUMBER + 32


class SequenceFile:
    """The file `path`, made by the first write; numbers are authenticated with `key`."""

    def __init__(self, path: Path, key: bytes) -> None:
        self._path = path
        self._key = key
        self._descriptor = -1
        with contextlib.suppress(FileNotFoundError):
            self._descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)

    @staticmethod
    def create(path: Path, key: bytes, number: int) -> None:
        """Make or replace the file, durable. Raises LegerError if the disk refuses."""
        data = bytearray(2 * _BLOCK)
        start = number % 2 * _BLOCK
        data[start : start + _SLOT] = _slot(key, number)
        disk.write_file(path, bytes(data), 0o600)

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
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        written = os.pwrite(self._descriptor, _slot(self._key, number), number % 2 * _BLOCK)
        if written != _SLOT:
            raise OSError(errno.ENOSPC, "short write of the sequence number")
        os.fdatasync(self._descriptor)

    def close(self) -> None:
        """Close the file; a second time does nothing."""
        if self._descriptor >= 0:
            with contextlib.suppress(OSError):
                os.close(self._descriptor)
            self._descriptor = -1


def _slot(key: bytes, number: int) -> bytes:
    data = number.to_bytes(_NUMBER)
    return data + hmac.digest(key, data, "sha256")
