"""The one door to the disk: whole files, durable and atomic, and the lock."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from leger.errors import CancelledError, LegerError

WHOLE = 64 << 20  # bytes of a file that is read at once


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(folder: Path, mode: int = 0o700) -> None:
    """Make `folder` and its missing parents with `mode`, each durable in its parent."""
    if folder.is_dir():
        return
    make_folder(folder.parent, mode)
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=mode)
        folder.chmod(mode)
        sync_folder(folder.parent)


def write_file(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Replace `path` by `data` (bytes) as a whole: after a failure or a power cut it is old or new.

    Raises LegerError when the disk refuses; then `path` is as it was.
    """
    temporary = path.with_name(f".{path.name}.{os.urandom(4).hex()}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise LegerError(
            f"{path}: cannot be written: {error.strerror}", hint="check free space and permissions"
        ) from error


def read_file(path: Path, limit: int = WHOLE) -> bytes:
    """All of `path`, at most `limit` bytes; LegerError names the file when that fails."""
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise LegerError(f"{path}: cannot be read: {error.strerror}") from error
    if len(data) > limit:
        raise LegerError(f"{path}: larger than {limit >> 20} MiB")
    return data


def why_none(path: Path) -> str:
    """Why `path` is no file that this user can look at; "" if it is one."""
    try:
        return "" if stat.S_ISREG(path.stat().st_mode) else "not a file"
    except OSError as error:
        return error.strerror or "cannot be looked at"


def identity(path: Path) -> tuple[int, ...]:
    """What changes when the file does; () when it cannot be looked at."""
    try:
        status = path.stat()
    except OSError:
        return ()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


@contextlib.contextmanager
def lock(path: Path, *, wait: bool = True, shared: bool = False) -> Iterator[None]:
    """Hold the lock file `path` (flock); with `wait` false, CancelledError if another holds it.

    Any number may hold it `shared`.
    """
    make_folder(path.parent)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    with _locked(descriptor, path, wait=wait, shared=shared):
        yield


@contextlib.contextmanager
def lock_folder(path: Path, *, wait: bool = True, shared: bool = False) -> Iterator[None]:
    """As `lock`, on the folder `path` itself, which is made if it is missing."""
    make_folder(path, 0o755)
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    with _locked(descriptor, path, wait=wait, shared=shared):
        yield


@contextlib.contextmanager
def _locked(descriptor: int, path: Path, *, wait: bool, shared: bool) -> Iterator[None]:
    try:
        try:
            kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
            fcntl.flock(descriptor, kind | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError as error:
            raise CancelledError(
                f"{path}: another leger command is at work", hint="wait for it and try again"
            ) from error
        yield
    finally:
        os.close(descriptor)
