"""Quadlets of the host's own that a deployment takes over, and that come back if it fails."""

from __future__ import annotations

import stat
from collections.abc import Iterable
from pathlib import Path

from leger import disk
from leger.scope import Scope


def kept(scope: Scope, path: str) -> Path:
    """Where the adopted file `path` lies meanwhile."""
    return scope.state / "adopted" / path.lstrip("/")


def take(scope: Scope, paths: Iterable[str]) -> None:
    """Move the host's files aside; what is not there any more was moved before."""
    for path in map(Path, paths):
        if path.is_file():
            _move(path, kept(scope, str(path)), 0o700)


def give_back(scope: Scope, paths: Iterable[str]) -> None:
    """Move the files back to where they were."""
    for path in paths:
        if kept(scope, path).is_file():
            _move(kept(scope, path), Path(path), 0o755)


def _move(source: Path, target: Path, folder_mode: int) -> None:
    """Across file systems, durable: both places are known at every moment of a power cut."""
    disk.make_folder(target.parent, folder_mode)
    disk.write_file(target, disk.read_file(source), stat.S_IMODE(source.stat().st_mode))
    source.unlink()
    disk.sync_folder(source.parent)
