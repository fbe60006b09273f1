"""Steps on folders whose files have the owners that containers see.

A user's volumes belong to the sub-uids of that user: who reads or moves them has to be in podman's
user namespace (podman-unshare(1)), and so each step is a program of its own. For root it is the
same program without the namespace.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from leger import processes
from leger.errors import LegerError
from leger.scope import Scope

_LIBRARY = str(Path(__file__).resolve().parents[2])
_START = "import sys; sys.path.insert(0, sys.argv.pop(1)); from leger.backup import program"
_CANNOT = "it may be a mount point, or its file system cannot exchange folders"
STALL = 600.0  # seconds in which nothing moves


@dataclass(frozen=True)
class Status:
    """A folder's inode, owner and mode, as podman's namespace sees them."""

    inode: int
    owner: tuple[int, int, int]


@dataclass(frozen=True)
class Inside:
    """Where the steps run: `prefix` is the command that leads there."""

    prefix: tuple[str, ...] = ()

    @classmethod
    def of(cls, scope: Scope) -> Self:
        """The namespace of the scope's podman."""
        return cls() if scope.name == "system" else cls(("podman", "unshare"))

    def pack(
        self, folder: Path, patterns: Iterable[str], sink: Callable[[bytes], object]
    ) -> tuple[str, ...]:
        """Hand `folder` to `sink` as a tar stream; what could not be kept of it."""
        return tuple(self._run(["pack", str(folder), *patterns], sink=sink))

    def unpack(self, chunks: Iterable[bytes], folder: Path) -> None:
        """Make the new `folder` of a tar stream."""
        self._run(["unpack", str(folder)], chunks=chunks, hint="check free space and permissions")

    def status(self, paths: Iterable[Path]) -> list[Status | None]:
        """What each folder is now; None where there is none."""
        said: list[bytes] = []
        self._run(["status", *map(str, paths)], sink=said.append)
        rows = json.loads(b"".join(said))
        return [row and Status(row[0], (row[1], row[2], row[3])) for row in rows]

    def exchange(self, one: Path, other: Path, owner: tuple[int, int, int] | None) -> None:
        """Let two folders change places at once, the first with `owner`; durable."""
        self._run(["exchange", str(one), str(other), *map(str, owner or ())], hint=_CANNOT)

    def probe(self, one: Path, other: Path) -> None:
        """Make sure that `one`, which is empty as yet, and `other` can be exchanged later."""
        self._run(["probe", str(one), str(other)], hint=_CANNOT)

    def sync(self, folder: Path) -> None:
        """Make all durable that is on the file system of `folder`."""
        self._run(["sync", str(folder)])

    def remove(self, folder: Path) -> None:
        """Remove a folder with all that is in it, if it is there."""
        self._run(["remove", str(folder)])

    def _run(
        self,
        arguments: list[str],
        *,
        chunks: Iterable[bytes] = (),
        sink: Callable[[bytes], object] | None = None,
        hint: str = "",
    ) -> list[str]:
        start = f"{_START}; sys.exit(program.main())"
        command = [*self.prefix, sys.executable, "-I", "-c", start, _LIBRARY, *arguments]
        done = processes.stream(command, stall=STALL, chunks=chunks, sink=sink)
        if done.code != 0:
            raise LegerError(done.message, hint=hint)
        return done.stderr.decode(errors="replace").splitlines()
