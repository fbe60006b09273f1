"""The host's own quadlets: there so that references to them resolve, never to be deployed.

They are copied into a tree of their own in store/, one folder a file, so that the generator gets
exactly what the compile got, one bad file of the host does not hide the others, and neither
users/ nor drop-ins for a whole type reach what is deployed.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from leger import quadlet, sources, tree
from leger.model import Tree
from leger.scope import Scope
from leger.sources import Source
from leger.tree import File

NAME = "_host"
_MAX_BYTES = 1 << 20


def find(scope: Scope) -> dict[str, Path]:
    """The host's own quadlets by name, as quadlet finds them: the first folder wins."""
    found: dict[str, Path] = {}
    for path in _host_files(scope):
        if quadlet.is_quadlet(path.name) and not path.name.startswith("."):
            found.setdefault(path.name, path)
    return found


def dropins(scope: Scope) -> dict[str, list[str]]:
    """The host's drop-ins by what they are for: a quadlet's name, or a type of them."""
    found: dict[str, list[str]] = {}
    for path in _host_files(scope):
        if target := sources.dropin_target(str(path)):
            found.setdefault(target, []).append(str(path))
    return found


def copy(scope: Scope, found: Mapping[str, Path], left_out: Collection[str]) -> Tree | None:
    """A tree of the host's quadlets but for the names in `left_out`; None when there are none."""
    files: dict[str, File] = {}
    extras = dropins(scope)
    for number, (name, path) in enumerate(sorted(found.items())):
        if name in left_out:
            continue
        if data := content(path):
            files[f"{number:04}/{name}"] = File.of(data)
        for extra in map(Path, extras.get(name, ())):
            if data := content(extra):
                files[f"{number:04}/{name}.d/{extra.name}"] = File.of(data)
    return tree.write(scope, NAME, files, mend=True) if files else None


def content(path: Path) -> bytes:
    """What a file holds; nothing if it cannot be read or is larger than a quadlet may be."""
    try:
        with path.open("rb") as stream:
            data = stream.read(_MAX_BYTES + 1)
    except OSError:
        return b""
    return data if len(data) <= _MAX_BYTES else b""


def read(scope: Scope) -> list[Source]:
    """The host's own quadlets as they are written, each with its drop-ins."""
    extras = (path for paths in dropins(scope).values() for path in paths)
    paths = [*map(str, find(scope).values()), *extras]
    return sources.read("", {path: content(Path(path)).decode(errors="replace") for path in paths})


def adoptable(scope: Scope, found: Mapping[str, Path], names: Collection[str]) -> tuple[Path, ...]:
    """The host's files that a deployment with quadlets of these `names` can take over."""
    vendor = Path("/usr/share/containers/systemd")
    taken = [found[name] for name in sorted(names) if name in found]
    kept = [path for path in taken if vendor not in path.parents]
    extras = dropins(scope)
    return (*kept, *(Path(path) for item in kept for path in extras.get(item.name, ())))


def _host_files(scope: Scope) -> Iterator[Path]:
    """Every file of the host's own quadlet folders, in the order in which they count."""
    for folder in scope.quadlet_folders:
        yield from _files(scope, folder, {os.path.realpath(folder)})


def _files(scope: Scope, folder: Path, seen: set[str]) -> Iterator[Path]:
    try:
        entries = sorted(folder.iterdir())
    except OSError:
        return
    for path in entries:
        if not path.is_dir():
            yield path
        elif not _is_anothers(scope, path) and (real := os.path.realpath(path)) not in seen:
            seen.add(real)
            yield from _files(scope, path, seen)


def _is_anothers(scope: Scope, folder: Path) -> bool:
    """users/ is for user managers only, a number below it for one user's."""
    if scope.name == "system":
        return folder.name == "users" and folder.parent in scope.quadlet_folders
    return folder.parent.name == "users" and folder.name.isdecimal()
