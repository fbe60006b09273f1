"""The host's own definitions in deployments.d: written with a switch, and put back when lost.

A definition that is not there means that its deployment is to go: they are lost all or not at all.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from leger import disk, generation
from leger.deployment import definitions
from leger.errors import LegerError
from leger.scope import Scope


def texts(scope: Scope, names: Iterable[str]) -> dict[str, str | None]:
    """The text of each of these definitions; None for one that is not there."""
    paths = {name: scope.deployments / f"{name}.yaml" for name in names}
    return {
        name: disk.read_file(path).decode() if path.exists() else None
        for name, path in paths.items()
    }


def write(scope: Scope, changed: Mapping[str, str | None]) -> None:
    """Write definitions by name; None removes one. Raises LegerError when the disk refuses."""
    for name, text in changed.items():
        path = scope.deployments / f"{name}.yaml"
        if text is not None:
            disk.make_folder(scope.deployments, 0o755)
            disk.write_file(path, text.encode())
        elif path.exists():
            path.unlink()
            disk.sync_folder(path.parent)


def restore(scope: Scope) -> list[str]:
    """Put back what the current generation knows and is not there; says so, line by line.

    A folder that is gone comes back with all of it. Raises LegerError when the disk refuses; what
    is put back one by one then is not complete.
    """
    try:
        current = generation.load_current(scope)
    except LegerError:
        return []
    places = definitions(scope)
    known = current.definitions if current else {}
    own = current.own if current else ()
    lost = {name: known[name] for name in own if name not in places and known.get(name)}
    if lost and not scope.deployments.is_dir():
        _make(scope.deployments, lost)
    else:
        write(scope, lost)
    return [f"{scope.deployments}/{name}.yaml was gone: restored" for name in lost]


def _make(folder: Path, files: Mapping[str, str]) -> None:
    """A folder with all of `files`, whole under another name before it gets its own."""
    temporary = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        disk.make_folder(temporary, 0o755)
        for name, text in files.items():
            disk.write_file(temporary / f"{name}.yaml", text.encode())
        temporary.rename(folder)
        disk.sync_folder(folder.parent)
    except OSError as error:
        raise LegerError(
            f"{folder}: cannot be made: {error.strerror}", hint="check free space and permissions"
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
