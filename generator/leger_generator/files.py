"""Reading and writing without surprises: regular files only, bounded, whole or not at all."""

import posix

_REGULAR, _TYPE = 0o100000, 0o170000
_WRITE = posix.O_WRONLY | posix.O_CREAT | posix.O_TRUNC | posix.O_NOFOLLOW | posix.O_CLOEXEC


def read(path: str, limit: int, *, first: int = -1) -> bytes:
    """All of the regular file `path`, or its `first` bytes.

    OSError, or ValueError if it is something else than a regular file, or larger than `limit`.
    """
    descriptor = posix.open(path, posix.O_RDONLY | posix.O_NONBLOCK | posix.O_CLOEXEC)
    with open(descriptor, "rb", buffering=0) as file:
        status = posix.fstat(descriptor)
        if status.st_mode & _TYPE != _REGULAR:
            raise ValueError("not a regular file")
        if status.st_size > limit:
            raise ValueError(f"larger than {limit >> 20} MiB")
        return file.read(first) or b""


def write(path: str, data: bytes, below: int | None = None) -> None:
    """Put `data` at `path`, whose folder exists; what could not be written whole is removed.

    `below` is the open folder that a relative `path` starts from, which is quicker.
    """
    descriptor = posix.open(path, _WRITE, 0o644, dir_fd=below)
    try:
        written = posix.write(descriptor, data)
        while written < len(data):
            written += posix.write(descriptor, data[written:])
    except OSError:
        posix.unlink(path, dir_fd=below)
        raise
    finally:
        posix.close(descriptor)


def replace(path: str, data: bytes) -> None:
    """Replace `path` as a whole; no fsync, since it lies in memory."""
    temporary = f"{path}.{posix.getpid()}"
    write(temporary, data)
    posix.rename(temporary, path)


def link(path: str, target: str, below: int) -> None:
    """Make the symbolic link `path` in the open folder `below`; the same one there will do."""
    try:
        posix.symlink(target, path, dir_fd=below)
    except FileExistsError as error:
        if _target(path, below) != target:
            raise error from None


def _target(path: str, below: int) -> str:
    try:
        return posix.readlink(path, dir_fd=below)
    except OSError:
        return ""


def remove_tree(folder: str) -> None:
    """Remove `folder` and what is in it; links are not followed."""
    import os

    for parent, folders, names in os.walk(folder, topdown=False):
        for name in names:
            posix.unlink(f"{parent}/{name}")
        for name in folders:
            path = f"{parent}/{name}"
            if os.path.islink(path):
                posix.unlink(path)
            else:
                os.rmdir(path)
    os.rmdir(folder)
