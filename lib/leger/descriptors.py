"""Folders that containers write to, walked by descriptors: no step follows a link."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@contextlib.contextmanager
def opened(path: str | Path, parent: int | None = None) -> Iterator[int]:
    """The folder `path` in the folder `parent`. Raises OSError for a link and anything else."""
    descriptor = os.open(path, _OPEN, dir_fd=parent)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def made(parent: int, name: str, mode: int = 0o755) -> Iterator[int]:
    """The folder `name` in `parent`, made durable with `mode` when missing."""
    with contextlib.suppress(FileExistsError):
        os.mkdir(name, mode, dir_fd=parent)
        os.fsync(parent)
    with opened(name, parent) as descriptor:
        yield descriptor


def remove(parent: int, name: str) -> None:
    """Remove `name` in `parent`, a folder with all that is in it. FileNotFoundError without it."""
    if not stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
        os.unlink(name, dir_fd=parent)
        return
    with opened(name, parent) as folder:
        for entry in os.listdir(folder):
            remove(folder, entry)
    os.rmdir(name, dir_fd=parent)
