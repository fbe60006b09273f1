"""A folder as a tar stream and back, and two folders exchanged: what `inside` runs as a program.

Containers write these folders, so every step goes by a folder's descriptor and follows no link.
Kept are folders, regular files and symbolic links (as links), with owner, mode and time. Left out
and named are sockets, pipes and devices, and what is removed meanwhile; a file with several names
becomes several files, a sparse one is written out, extended attributes are not kept.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import io
import os
import stat
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from leger import descriptors
from leger.backup.rules import excluded
from leger.descriptors import opened
from leger.errors import LegerError

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_CHUNK = 1 << 18
_DEPTH = 250
_EXCHANGE = 2  # RENAME_EXCHANGE of renameat2(2)
_AT_FDCWD = -100
_GONE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO)


class UnsafeNameError(LegerError):
    """An archive has a member that would leave the folder."""


def check_name(name: str) -> tuple[str, ...]:
    """The parts of a member's name; () is the folder itself. Raises UnsafeNameError."""
    parts = tuple(part for part in name.split("/") if part not in ("", "."))
    if name.startswith("/") or ".." in parts or "\0" in name:
        raise UnsafeNameError(f"the archive has a member {name!r}, which would leave its folder")
    return parts


def forget_members(archive: tarfile.TarFile) -> None:
    """Let go of what was read or written: tarfile would remember each member of a stream."""
    archive.members = []  # type: ignore[attr-defined]


def pack(folder: Path, target: IO[bytes], patterns: tuple[str, ...] = ()) -> Iterator[str]:
    """Write `folder` to `target` as a tar stream, without what `patterns` name.

    Yields the paths that cannot be kept: sockets, pipes and devices, and what is removed or cut off
    meanwhile, with that said. Raises LegerError.
    """
    with opened(folder) as root, tarfile.open(fileobj=target, mode="w|") as archive:
        archive.addfile(_member(".", os.fstat(root)))
        yield from _pack(archive, root, (), patterns)


def unpack(source: IO[bytes], folder: Path) -> None:
    """Make `folder` of a tar stream. Raises UnsafeNameError, and LegerError for odd members."""
    folder.mkdir(mode=0o700)
    later: list[tuple[tuple[str, ...], tarfile.TarInfo]] = []
    with opened(folder) as root, tarfile.open(fileobj=source, mode="r|") as archive:
        while (member := archive.next()) is not None:
            parts = check_name(member.name)
            forget_members(archive)
            if member.isdir():
                later.append((parts, member))
                with _below(root, parts, make=True):
                    continue
            _unpack(archive, member, root, parts)
        for parts, member in reversed(later):  # what is in a folder changes its time
            with _below(root, parts) as descriptor:
                _own(descriptor, member)
    sync(folder)


def sync(folder: Path) -> None:
    """Make all durable that the file system of `folder` holds (syncfs). Raises OSError."""
    with opened(folder) as descriptor:
        if ctypes.CDLL(None, use_errno=True).syncfs(descriptor):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(folder))


def exchange(one: Path, other: Path) -> None:
    """Let two folders change places at once, durably; what is in them is not synced here.

    Raises LegerError where the file system cannot do that.
    """
    with opened(one) as descriptor:
        os.fsync(descriptor)
    library = ctypes.CDLL(None, use_errno=True)
    result = library.renameat2(
        _AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _EXCHANGE
    )
    if result:
        raise LegerError(f"{other}: cannot be exchanged: {os.strerror(ctypes.get_errno())}")
    for parent in {one.parent, other.parent}:
        with opened(parent) as descriptor:
            os.fsync(descriptor)


def probe(one: Path, other: Path) -> None:
    """Make sure that `exchange` will do, by what two new folders in `one` do.

    Raises LegerError where the file system cannot, or `other` is a mount point.
    """
    if len({_mount(path) for path in (one, other, other.parent)}) > 1:
        raise LegerError(f"{other}: cannot be exchanged: it is mounted by itself")
    tried = [one / "1", one / "2"]
    for folder in tried:
        folder.mkdir()
    exchange(*tried)
    for folder in tried:
        folder.rmdir()


def _mount(folder: Path) -> str:
    """Which mount a folder is of (proc_pid_fdinfo(5)): a bind mount has the device of others."""
    with opened(folder) as descriptor:
        rows = Path(f"/proc/self/fdinfo/{descriptor}").read_text().splitlines()
    return next(row for row in rows if row.startswith("mnt_id:"))


def remove(folder: Path) -> None:
    """Remove `folder` and all that is in it; nothing there is fine."""
    with contextlib.suppress(FileNotFoundError), opened(folder.parent) as parent:
        descriptors.remove(parent, folder.name)


def _pack(
    archive: tarfile.TarFile, folder: int, parts: tuple[str, ...], patterns: tuple[str, ...]
) -> Iterator[str]:
    if len(parts) > _DEPTH:
        raise LegerError(f"{'/'.join(parts[:3])}/...: folders lie in each other too deeply")
    for name in sorted(os.listdir(folder)):
        inside = "/".join((*parts, name))
        if excluded(inside, patterns):
            continue
        try:
            member, descriptor = _opened(folder, name, inside)
        except OSError as error:
            if error.errno not in _GONE:
                raise
            yield f"{inside} (removed meanwhile)"
            continue
        with contextlib.ExitStack() as stack:
            if descriptor is not None:
                stack.callback(os.close, descriptor)
            yield from _add(archive, member, descriptor, (*parts, name), patterns)
        forget_members(archive)


def _opened(folder: int, name: str, inside: str) -> tuple[tarfile.TarInfo, int | None]:
    """What a name stands for, and a descriptor of it if it is a folder or a file."""
    status = os.stat(name, dir_fd=folder, follow_symlinks=False)
    if stat.S_ISLNK(status.st_mode):
        link = _member(inside, status)
        link.linkname = os.readlink(name, dir_fd=folder)
        return link, None
    if not (stat.S_ISDIR(status.st_mode) or stat.S_ISREG(status.st_mode)):
        return _member(inside, status), None
    descriptor = os.open(name, _READ, dir_fd=folder)
    return _member(inside, os.fstat(descriptor)), descriptor


def _add(
    archive: tarfile.TarFile,
    member: tarfile.TarInfo,
    descriptor: int | None,
    parts: tuple[str, ...],
    patterns: tuple[str, ...],
) -> Iterator[str]:
    if member.issym():
        archive.addfile(member)
    elif member.isdir() and descriptor is not None:
        archive.addfile(member)
        yield from _pack(archive, descriptor, parts, patterns)
    elif member.isreg() and descriptor is not None:
        with _Padded(io.FileIO(descriptor, closefd=False)) as file:
            archive.addfile(member, file)
            if file.is_short:
                yield f"{member.name} (cut off meanwhile: it ends with zeros)"
    else:
        yield member.name


class _Padded(io.BufferedReader):
    """A file that may be cut off while it is read: zeros come for what is not there any more."""

    is_short = False

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        if size is not None and len(data) < size:
            self.is_short = True
            data = data.ljust(size, b"\0")
        return data


_KINDS = {
    stat.S_IFREG: tarfile.REGTYPE,
    stat.S_IFDIR: tarfile.DIRTYPE,
    stat.S_IFLNK: tarfile.SYMTYPE,
}


def _member(name: str, status: os.stat_result) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type = _KINDS.get(stat.S_IFMT(status.st_mode), tarfile.FIFOTYPE)
    member.mode = stat.S_IMODE(status.st_mode)
    member.uid, member.gid, member.mtime = status.st_uid, status.st_gid, int(status.st_mtime)
    member.size = status.st_size if member.type == tarfile.REGTYPE else 0
    return member


def _unpack(
    archive: tarfile.TarFile, member: tarfile.TarInfo, root: int, parts: tuple[str, ...]
) -> None:
    if not parts:
        raise UnsafeNameError(f"the archive has a member {member.name!r}, which is no folder")
    with _below(root, parts[:-1], make=True) as folder:
        name = parts[-1]
        if member.issym():
            os.symlink(member.linkname, name, dir_fd=folder)
            os.chown(name, member.uid, member.gid, dir_fd=folder, follow_symlinks=False)
        elif member.isreg():
            content = archive.extractfile(member)
            assert content is not None
            with os.fdopen(os.open(name, _WRITE, 0o600, dir_fd=folder), "wb") as file:
                while chunk := content.read(_CHUNK):
                    file.write(chunk)
                file.flush()
                _own(file.fileno(), member)
        else:
            raise LegerError(f"the archive has a member {member.name!r}, which is no file")


def _own(descriptor: int, member: tarfile.TarInfo) -> None:
    os.fchown(descriptor, member.uid, member.gid)
    os.fchmod(descriptor, member.mode & 0o7777)
    os.utime(descriptor, (member.mtime, member.mtime))


@contextlib.contextmanager
def _below(root: int, parts: tuple[str, ...], *, make: bool = False) -> Iterator[int]:
    """The folder that `parts` lead to, opened step by step."""
    with contextlib.ExitStack() as stack:
        descriptor = root
        for part in parts:
            if make:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(part, 0o700, dir_fd=descriptor)
            descriptor = stack.enter_context(opened(part, descriptor))
        yield descriptor
