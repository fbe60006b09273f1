"""Quadlets of the host's own that a deployment takes over, and that come back when it goes back."""

from __future__ import annotations

import stat
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from leger import disk, quadlet
from leger.model import Compiled, Unit
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


def lent(compiled: Compiled, names: Collection[str]) -> set[str]:
    """The host's files whose place these deployments have."""
    built = (compiled.deployments[name] for name in compiled.deployments.keys() & set(names))
    return {str(path) for one in built for path in one.adopted}


def carried(compiled: Compiled, before: Mapping[str, Collection[Path]]) -> Compiled:
    """`compiled`, whose deployments keep the place of what they had taken over `before`."""
    return replace(
        compiled,
        deployments={
            name: replace(
                built, adopted=tuple(dict.fromkeys((*before.get(name, ()), *built.adopted)))
            )
            for name, built in compiled.deployments.items()
        },
    )


def can_return(scope: Scope, paths: Iterable[str], taken: Collection[str]) -> tuple[str, ...]:
    """Those of `paths` that lie aside and whose place is free: nobody made them anew since, and
    no quadlet has one of the names `taken`.
    """
    return tuple(
        path
        for path in sorted(paths)
        if kept(scope, path).is_file() and not Path(path).exists() and not _names(path) & {*taken}
    )


def quadlets(scope: Scope, paths: Iterable[str]) -> dict[str, Path]:
    """The quadlets among the adopted files `paths`, by name, where they lie now."""
    found = {path.rpartition("/")[2]: kept(scope, path) for path in paths}
    return {name: path for name, path in found.items() if quadlet.is_quadlet(name)}


def in_place_of(units: Iterable[Unit], paths: Iterable[str]) -> set[str]:
    """The names of those of `units` whose quadlets have the names of the host's files `paths`."""
    names = {path.rpartition("/")[2] for path in paths}
    return {unit.name for unit in units if unit.source.rpartition("/")[2] in names}


def _names(path: str) -> set[str]:
    """A quadlet's own name, a drop-in's that of the quadlet."""
    folder, _, name = path.rpartition("/")
    return {name, folder.rpartition("/")[2].removesuffix(".d")}


def _move(source: Path, target: Path, folder_mode: int) -> None:
    """Across file systems, durable: both places are known at every moment of a power cut."""
    disk.make_folder(target.parent, folder_mode)
    disk.write_file(target, disk.read_file(source), stat.S_IMODE(source.stat().st_mode))
    source.unlink()
    disk.sync_folder(source.parent)
