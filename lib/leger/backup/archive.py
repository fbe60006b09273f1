"""One archive's way to the disk and back: zstd, a checksum of the file, and no more in memory."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tarfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from leger import zstd
from leger.backup import folders, kept
from leger.backup.kept import Archive, Backup, DamagedError
from leger.errors import LegerError
from leger.scope import Scope

_CHUNK = 1 << 18
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True)
class Written:
    """What a file came to: its bytes and SHA-256, and the bytes before compression."""

    size: int
    sha256: str
    content: int


def write(path: Path, fill: Callable[[Callable[[bytes], object]], object]) -> Written:
    """Make the new file `path` (0600, durable) of what `fill` hands to its argument, compressed.

    Raises LegerError when the disk refuses.
    """
    digest, sizes = hashlib.sha256(), [0, 0]
    try:
        with os.fdopen(os.open(path, _NEW, 0o600), "wb") as file:

            def keep(data: bytes) -> None:
                digest.update(data)
                sizes[0] += file.write(data)

            with zstd.Compressor(keep) as compressor:

                def sink(data: bytes) -> None:
                    sizes[1] += len(data)
                    compressor.write(data)

                fill(sink)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise LegerError(
            f"{path}: cannot be written: {error.strerror}",
            hint="check free space and permissions; leger backup prune removes old backups",
        ) from error
    return Written(sizes[0], digest.hexdigest(), sizes[1])


def read(scope: Scope, backup: Backup, archive: Archive) -> Iterator[bytes]:
    """The tar stream of an archive, piece by piece. Raises DamagedError."""
    where = kept.folder(scope, backup.deployment) / backup.id / archive.file
    try:
        with os.fdopen(
            kept.open_file(scope, backup.deployment, backup.id, archive.file), "rb"
        ) as file:
            digest = hashlib.sha256()
            yield from zstd.decompress(_hashed(iter(lambda: file.read(_CHUNK), b""), digest.update))
    except OSError as error:
        raise DamagedError(f"{where}: cannot be read: {error.strerror}") from error
    except zstd.ZstdError as error:
        raise DamagedError(f"{where}: damaged: {error}") from error
    if digest.hexdigest() != archive.sha256:
        raise DamagedError(f"{where}: damaged: its checksum is wrong")


def verify(scope: Scope, backup: Backup, archive: Archive) -> None:
    """Read all of an archive: its checksum, and that no member of it leaves the folder.

    Raises DamagedError.
    """
    where = kept.folder(scope, backup.deployment) / backup.id / archive.file
    stream = read(scope, backup, archive)
    source = _Source(stream)
    try:
        with contextlib.closing(tarfile.open(fileobj=source, mode="r|", bufsize=_CHUNK)) as found:  # type: ignore[call-overload]
            while (member := found.next()) is not None:
                _check(member, archive)
                folders.forget_members(found)
        for _ in stream:
            pass
    except (tarfile.TarError, folders.UnsafeNameError) as error:
        raise DamagedError(f"{where}: damaged: {error}") from error


def _check(member: tarfile.TarInfo, archive: Archive) -> None:
    folders.check_name(member.name)
    if member.islnk():
        folders.check_name(member.linkname)
    if archive.kind == "data" and not (member.isreg() or member.isdir() or member.issym()):
        raise folders.UnsafeNameError(f"the archive has a member {member.name!r}, which is no file")


def _hashed(chunks: Iterable[bytes], update: Callable[[bytes], object]) -> Iterator[bytes]:
    for chunk in chunks:
        update(chunk)
        yield chunk


class _Source:
    """Chunks as tarfile reads a file."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = b""

    def read(self, size: int) -> bytes:
        while len(self._rest) < size and (chunk := next(self._chunks, b"")):
            self._rest += chunk
        taken, self._rest = self._rest[:size], self._rest[size:]
        return taken
