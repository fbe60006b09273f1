"""Backups of a vault: one file each, encrypted as the vault is, in a folder or in S3.

A backup is a tar file of manifest.json (format, host, time, commit, the recovery key's name, and
SHA-256 of the others), secrets.db and sequence. It holds the data key wrapped for the host's key
and for the recovery key: so the recovery key opens it anywhere, and nothing else does.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import tarfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, Self

from leger import disk
from leger.errors import UsageError

from legerd import aws
from legerd.errors import StoreCorrupt

FORMAT = 1
SUFFIX = ".legerd"
_MAX_BYTES = 4 << 30
_MANIFEST, _DATABASE, _SEQUENCE = "manifest.json", "secrets.db", "sequence"
_NAME = re.compile(r"(?P<host>.+)-[0-9]{8}T[0-9]{6}Z" + re.escape(SUFFIX))


class Place(Protocol):
    """Where backups lie. All raise LegerError if it cannot be reached, or is full."""

    def names(self) -> list[str]:
        """What lies there."""

    def write(self, name: str, data: bytes) -> None:
        """Store a file, durable, as a whole or not at all."""

    def read(self, name: str) -> bytes:
        """A file, whole."""

    def remove(self, name: str) -> None:
        """Delete a file."""


@dataclass(frozen=True)
class Backup:
    """A vault as of `made` (seconds since the epoch); `recovery` is "" without a recovery key."""

    host: str
    made: int
    commit: int
    recovery: str
    database: bytes = field(repr=False)
    sequence: bytes = field(repr=False)

    @property
    def name(self) -> str:
        """Its file's name, by which those of one host sort by time."""
        made = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(self.made))
        return f"{_safe(self.host)}-{made}{SUFFIX}"

    def encode(self) -> bytes:
        """The tar file."""
        files = {_DATABASE: self.database, _SEQUENCE: self.sequence}
        about: dict[str, object] = {
            "format": FORMAT,
            "host": self.host,
            "made": self.made,
            "commit": self.commit,
            "recovery": self.recovery,
        }
        manifest = {**about, "sha256": _sums(about, files)}
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
            for name, data in {_MANIFEST: json.dumps(manifest).encode(), **files}.items():
                member = tarfile.TarInfo(name)
                member.size, member.mtime, member.mode = len(data), self.made, 0o600
                archive.addfile(member, io.BytesIO(data))
        return buffer.getvalue()

    @classmethod
    def parse(cls, data: bytes, source: str) -> Self:
        """What `encode` wrote; StoreCorrupt if it is not whole."""
        try:
            files = _members(data)
            manifest = _manifest(files)
            return cls(
                str(manifest["host"]),
                int(manifest["made"]),
                int(manifest["commit"]),
                str(manifest["recovery"]),
                files[_DATABASE],
                files[_SEQUENCE],
            )
        except (tarfile.TarError, ValueError, KeyError, TypeError, EOFError) as error:
            raise StoreCorrupt(
                f"{source}: not a whole backup of legerd: {error}", hint="take another one"
            ) from error


class Folder:
    """A folder as a place of backups; it is made, 0700, if it is not there."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def names(self) -> list[str]:
        """See Place."""
        try:
            return [path.name for path in self._path.iterdir() if path.is_file()]
        except OSError as error:
            raise UsageError(f"{self._path}: cannot be read: {error.strerror}") from error

    def write(self, name: str, data: bytes) -> None:
        """See Place."""
        try:
            disk.make_folder(self._path)
        except OSError as error:
            raise UsageError(f"{self._path}: cannot be made: {error.strerror}") from error
        disk.write_file(self._path / name, data, 0o600)

    def read(self, name: str) -> bytes:
        """See Place."""
        return disk.read_file(self._path / name, _MAX_BYTES)

    def remove(self, name: str) -> None:
        """See Place."""
        (self._path / name).unlink(missing_ok=True)


def place(address: str) -> Place:
    """s3://BUCKET/PREFIX, or a folder."""
    return aws.Bucket(address) if address.startswith("s3://") else Folder(Path(address))


def store(backup: Backup, address: str, keep: int = 0) -> list[str]:
    """Write a backup to `address`; then only the newest `keep` of its host stay (0: all).

    The names of those that were removed. Raises LegerError.
    """
    where = place(address)
    where.write(backup.name, backup.encode())
    if not keep:
        return []
    own = sorted(name for name in where.names() if _host(name) == _safe(backup.host))
    removed = own[:-keep]
    for name in removed:
        where.remove(name)
    return removed


def load(address: str) -> Backup:
    """The backup `address`, or the newest one there, if all of them are one host's.

    Raises LegerError if there is none, or if one has to be chosen.
    """
    if address.endswith(SUFFIX):
        folder, slash, name = address.rpartition("/")
        folder = folder or slash or "."
    else:
        folder, name = address, _newest(address)
    return Backup.parse(place(folder).read(name), f"{folder.rstrip('/')}/{name}")


def _newest(address: str) -> str:
    names = sorted(name for name in place(address).names() if _host(name))
    hosts = sorted({_host(name) for name in names})
    if not names:
        raise UsageError(f"{address}: there is no backup", hint=f"they are called *{SUFFIX}")
    if len(hosts) > 1:
        raise UsageError(
            f"{address}: backups of {', '.join(hosts)}",
            hint=f"name the one to restore: {address.rstrip('/')}/{names[-1]}",
        )
    return names[-1]


def _host(name: str) -> str:
    """Whose backup a file is by its name; empty if it is none."""
    found = _NAME.fullmatch(name)
    return found["host"] if found else ""


def _safe(host: str) -> str:
    return re.sub(r"[^A-Za-z0-9.-]", "-", host) or "host"


def _manifest(files: dict[str, bytes]) -> dict[str, Any]:
    """What it says of the other files, which are those that it was made for."""
    manifest: dict[str, Any] = json.loads(files[_MANIFEST])
    others = {name: data for name, data in files.items() if name != _MANIFEST}
    sums = manifest.pop("sha256")
    if manifest["format"] != FORMAT or sums != _sums(manifest, others):
        raise ValueError("its checksums are not those of what is in it")
    return manifest


def _sums(manifest: Mapping[str, object], files: Mapping[str, bytes]) -> dict[str, str]:
    """SHA-256 of each file, and of the manifest without these sums."""
    everything = {**files, _MANIFEST: json.dumps(manifest).encode()}
    return {name: hashlib.sha256(data).hexdigest() for name, data in everything.items()}


def _members(data: bytes) -> dict[str, bytes]:
    """The files of the archive by name; only regular ones with the names that we give."""
    found = {}
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
        for member in archive:
            file = archive.extractfile(member) if member.isreg() else None
            if file is None or member.name not in (_MANIFEST, _DATABASE, _SEQUENCE):
                raise ValueError(f"{member.name!r} does not belong in it")
            found[member.name] = file.read()
    return found
