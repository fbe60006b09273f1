"""What lies below backups/NAME/ID/: backup.json, which describes it, and one archive a thing.

backup.json has two lines, like units.json: a format with the checksum of the second, and the
second. A folder gets its name ID when all of it is durable; a name with a dot before it is one that
was interrupted.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from leger import descriptors, disk
from leger.deployment import NAME
from leger.errors import LegerError, UsageError
from leger.scope import Scope

FORMAT = 1
MANIFEST = "backup.json"
_ID = re.compile(r"[0-9]{8}T[0-9]{6}Z(-[0-9]+)?")


class DamagedError(LegerError):
    """A backup is not what was saved; it is not restored."""


@dataclass(frozen=True)
class Archive:
    """One tar stream in a zstd file: `kind` is "data" (data/NAME) or "volume" (of that `name`).

    `size` and `sha256` are the file's, `content` the bytes of the tar stream. `owner` is (uid, gid,
    mode) of a volume's own folder, which the stream does not have; `options` and `labels` make the
    volume again where it is gone.
    """

    kind: str
    name: str
    size: int
    sha256: str
    content: int
    owner: tuple[int, int, int] | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def file(self) -> str:
        """The name of its file."""
        return file_name(self.kind, self.name)

    @property
    def label(self) -> str:
        """What it holds, in words."""
        return f"volume {self.name}" if self.kind == "volume" else "data"


@dataclass(frozen=True)
class Backup:
    """One backup; `created` is Unix time in seconds, `left_out` what could not be saved."""

    deployment: str
    id: str
    created: float
    who: str
    why: str
    generation: int
    commit: str
    definition: str
    archives: tuple[Archive, ...]
    left_out: tuple[str, ...] = ()

    @classmethod
    def load(cls, scope: Scope, name: str, id_: str) -> Self:
        """Read backup.json. Raises DamagedError, or LegerError where there is none."""
        where = folder(scope, name) / id_
        try:
            descriptor = open_file(scope, name, id_, MANIFEST)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise LegerError(f"there is no backup {id_} of {name}", hint="leger backup list") from (
                error
            )
        except OSError as error:
            raise DamagedError(f"{where / MANIFEST}: cannot be read: {error.strerror}") from error
        try:
            with os.fdopen(descriptor, "rb") as file:
                return cls._parse(file.read(disk.WHOLE), name, id_)
        except (ValueError, KeyError, TypeError) as error:
            raise DamagedError(f"{where / MANIFEST}: damaged: {error}") from error

    @classmethod
    def _parse(cls, data: bytes, name: str, id_: str) -> Self:
        head, body = data.split(b"\n", 1)
        first, raw = json.loads(head), json.loads(body)
        if first["format"] != FORMAT:
            raise ValueError(f"format {first['format']}")
        if first["sha256"] != hashlib.sha256(body).hexdigest():
            raise ValueError("its checksum is wrong")
        if (raw["deployment"], raw["id"]) != (name, id_):
            raise ValueError(f"it is backup {raw['id']} of {raw['deployment']}")
        archives = tuple(_archive(item) for item in raw.pop("archives"))
        return cls(archives=archives, left_out=tuple(raw.pop("left_out")), **raw)

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return sum(archive.size for archive in self.archives)

    def encoded(self) -> bytes:
        """The content of backup.json."""
        body = json.dumps(asdict(self)).encode() + b"\n"
        head = {"format": FORMAT, "sha256": hashlib.sha256(body).hexdigest()}
        return json.dumps(head).encode() + b"\n" + body


def _archive(raw: dict[str, Any]) -> Archive:
    owner = raw.pop("owner")
    found = Archive(owner=None if owner is None else (owner[0], owner[1], owner[2]), **raw)
    if found.kind not in ("data", "volume") or "/" in found.name or "\0" in found.name:
        raise ValueError(f"an archive of {found.kind} {found.name!r}")
    return found


def file_name(kind: str, name: str) -> str:
    """The name of the file of a volume's archive, or of data's."""
    return f"volume-{name}.tar.zst" if kind == "volume" else "data.tar.zst"


def folder(scope: Scope, name: str) -> Path:
    """Where the backups of the deployment `name` lie, it being there or not."""
    return scope.backups / name


def open_file(scope: Scope, name: str, id_: str, file: str) -> int:
    """A descriptor of a file of a backup; no step follows a link. Raises OSError."""
    check(name, id_)
    with (
        descriptors.opened(scope.backups) as top,
        descriptors.opened(name, top) as own,
        descriptors.opened(id_, own) as one,
    ):
        return os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=one)


def check(name: str, id_: str = "0") -> None:
    """Refuse what cannot name a backup and would be a path. Raises UsageError."""
    if NAME.fullmatch(name) is None:
        raise UsageError(f"{name!r} is not a deployment's name")
    if not id_ or id_.startswith(".") or "/" in id_ or "\0" in id_:
        raise UsageError(f"{id_!r} is not a backup's name", hint="leger backup list")


def ids(scope: Scope, name: str) -> list[str]:
    """The whole backups of a deployment, oldest first; what has no ID for a name is none."""
    check(name)
    try:
        names = os.listdir(folder(scope, name))
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted((one for one in names if _ID.fullmatch(one)), key=_order)


def _order(id_: str) -> tuple[str, int]:
    """By the time, then by the number within a second, which may have any length."""
    stem, _, count = id_.partition("-")
    return stem, int(count or 1)


def names(scope: Scope) -> list[str]:
    """The deployments that have backups, whether they are deployed or not."""
    try:
        found = os.listdir(scope.backups)
    except FileNotFoundError:
        return []
    return sorted(name for name in found if NAME.fullmatch(name) and ids(scope, name))


def newest(scope: Scope, name: str) -> str:
    """The newest backup's ID. Raises LegerError where there is none."""
    found = ids(scope, name)
    if not found:
        raise LegerError(f"there is no backup of {name}", hint=f"leger backup create {name}")
    return found[-1]


def new_id(scope: Scope, name: str, now: float) -> str:
    """An ID that comes after all others: the time in UTC, and a number within a second.

    That is the newest one's second where the clock was ahead then.
    """
    found = ids(scope, name)
    last, count = _order(found[-1]) if found else ("", 0)
    own = stamp(now)
    return own if last < own else f"{last}-{count + 1:02}"


def made(scope: Scope, name: str, id_: str) -> str:
    """When a backup was made, as IDs begin; what its ID says where it cannot be read."""
    try:
        return stamp(Backup.load(scope, name, id_).created)
    except LegerError:
        return _order(id_)[0]


def definition(scope: Scope, name: str) -> str:
    """What the host's file said when the newest backup that can be read was made; "" if none can.

    It outlives the deployment.
    """
    for id_ in reversed(ids(scope, name)):
        with contextlib.suppress(LegerError):
            return Backup.load(scope, name, id_).definition
    return ""


def stamp(now: float) -> str:
    """The time in UTC, as IDs begin."""
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
