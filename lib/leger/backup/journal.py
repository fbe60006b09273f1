"""backup.json beside switch.json: what a killed backup or restore has left to undo or finish."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

from leger import disk
from leger.errors import LegerError
from leger.scope import Scope
from leger.switchfile import boot_id

FORMAT = 1


@dataclass(frozen=True)
class Pair:
    """Two folders to exchange: the restored one and the one in use, whose inode was `inode`.

    `owner` is (uid, gid, mode) for the restored one. Once the inode in use is another, the
    exchange is done. `volume` is the volume's name, or "" for data.
    """

    restored: str
    used: str
    inode: int
    volume: str = ""
    owner: tuple[int, int, int] | None = None


@dataclass(frozen=True)
class Work:
    """What is under way.

    In the boot `boot`, the units `start` were stopped and the containers `paused` (ids) frozen.
    `volumes` and `folders` are temporary, and go. `pairs` are to be exchanged: with them, the
    restore is decided, and goes on after an interruption; in the boot `tried` that failed.
    """

    deployment: str
    boot: str
    start: tuple[str, ...] = ()
    paused: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    pairs: tuple[Pair, ...] = ()
    tried: str = ""

    @property
    def is_given_up(self) -> bool:
        """Whether a restore could not be finished in this boot, and all runs as before."""
        return self.tried == boot_id() and bool(self.pairs) and not (self.start or self.paused)

    @classmethod
    def begin(cls, deployment: str, temporary: Iterable[str] = ()) -> Self:
        """Nothing is done yet, in this boot; `temporary` are volumes, and folders by their path."""
        names = tuple(temporary)
        return cls(
            deployment,
            boot_id(),
            volumes=tuple(name for name in names if "/" not in name),
            folders=tuple(name for name in names if "/" in name),
        )

    def save(self, scope: Scope) -> None:
        """Make it durable."""
        raw = {"format": FORMAT} | asdict(self)
        disk.make_folder(scope.state)
        disk.write_file(scope.backup_journal, json.dumps(raw, indent=1).encode() + b"\n", 0o600)

    @classmethod
    def load(cls, scope: Scope) -> Self | None:
        """What was interrupted; None if nothing was. LegerError if it cannot be understood."""
        if not scope.backup_journal.exists():
            return None
        data = disk.read_file(scope.backup_journal)
        try:
            return cls._parse(json.loads(data))
        except (ValueError, KeyError, TypeError) as error:
            raise LegerError(
                f"{scope.backup_journal}: cannot be understood: {error}",
                hint=f"start what a backup stopped, then remove {scope.backup_journal}",
            ) from error

    @classmethod
    def _parse(cls, raw: dict[str, Any]) -> Self:
        if raw.pop("format") != FORMAT:
            raise ValueError("unknown format")
        pairs = tuple(
            Pair(**item | {"owner": item["owner"] and (*item["owner"],)})
            for item in raw.pop("pairs")
        )
        lists = {key: tuple(value) for key, value in raw.items() if isinstance(value, list)}
        return cls(pairs=pairs, **(raw | lists))


def insist(scope: Scope) -> None:
    """Raise LegerError if there is a restore to finish first: its journal must not be replaced."""
    work = Work.load(scope)
    if work and work.pairs:
        raise LegerError(
            f"the interrupted restore of {work.deployment} has to be finished first",
            hint="leger settle",
        )


def settle(scope: Scope, work: Work) -> None:
    """Everybody runs again: left of `work` are what is temporary, and pairs still to exchange."""
    if work.volumes or work.folders or work.pairs:
        replace(work, start=(), paused=()).save(scope)
    else:
        forget(scope)


def forget(scope: Scope) -> None:
    """The work is done."""
    scope.backup_journal.unlink(missing_ok=True)
    disk.sync_folder(scope.state)


def temporary_folder(scope: Scope, name: str) -> Path:
    """Where data/NAME is unpacked: beside it, under a name that no deployment can have."""
    return scope.data / f".{name}.restore"
