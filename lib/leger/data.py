"""data/NAME/: what the host adds to a deployment, and what containers write.

A container may have put links there, so that every step goes by a folder's descriptor and follows
none. What is there is never changed.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from leger import descriptors, disk, precheck, sources
from leger.descriptors import made, opened
from leger.errors import LegerError
from leger.model import Fault, Tree
from leger.scope import Scope
from leger.secretrefs import expand
from leger.sources import Located, Source
from leger.tree import LINK
from leger.unitfile import words


@dataclass(frozen=True)
class Need:
    """One path below data/NAME that a quadlet refers to; a file must be put there by the host."""

    deployment: str
    path: str
    is_file: bool
    file: str
    line: int


def needs(scope: Scope, deployment: str, found: Iterable[Source]) -> list[Need]:
    """What the quadlets of a rewritten tree expect below data/NAME."""
    root = f"{scope.data / deployment}/"
    wanted: dict[str, Need] = {}
    for source in found:
        unit = f"{source.name.rpartition('.')[0]}.service"
        default = source.last("Install", "DefaultInstance")
        unit = unit.replace("@.", f"@{default}.")
        for place, path, is_file in _paths(source):
            if not path.startswith(root):
                continue
            inside = expand(path.removeprefix(root), unit)
            if "%" not in inside:
                line = place.setting.line
                wanted.setdefault(inside, Need(deployment, inside, is_file, place.file, line))
    return list(wanted.values())


def missing(
    scope: Scope, wanted: Iterable[Need], tree: Tree, is_there: Callable[[str], bool]
) -> Iterator[Fault]:
    """The files that neither the repository nor the host has."""
    for need in wanted:
        path = scope.data / need.deployment / need.path
        if need.is_file and need.path not in tree.files and not is_there(str(path)):
            yield Fault(
                need.deployment,
                f"{need.path} is not in the repository, and not on this host",
                need.file,
                need.line,
                f"put it at {path}",
            )


def provide(scope: Scope, deployment: str, tree: Tree) -> None:
    """Make the folders that are missing in data/NAME; copy once what the repository has of them.

    For the switch, before anything is started. Raises LegerError where something else is in the
    way.
    """
    texts, _ = precheck.texts(deployment, tree)
    wanted = needs(scope, deployment, sources.read(deployment, texts))
    if not wanted:
        return
    disk.make_folder(scope.state)
    disk.make_folder(scope.data, 0o755)
    for need in wanted:
        try:
            _provide(scope.data, need, tree)
        except OSError as error:
            path = scope.data / need.deployment / need.path
            raise LegerError(
                f"{path}: cannot be made: {error.strerror}",
                hint="a link or a file may be in its way",
            ) from error


def _provide(root: Path, need: Need, tree: Tree) -> None:
    parts = [need.deployment, *need.path.split("/")]
    inside = need.path in tree.files
    with contextlib.ExitStack() as stack:
        parent = stack.enter_context(opened(root))
        for part in parts[:-1]:
            parent = stack.enter_context(made(parent, part))
        if _is_there(parent, parts[-1]):
            return
        if inside:
            _copy_file(tree.path / need.path, parent, parts[-1])
        elif not need.is_file:
            _copy_folder(tree, need.path, parent, parts[-1])
        os.fsync(parent)


def _copy_folder(tree: Tree, path: str, parent: int, name: str) -> None:
    """Make the folder whole under another name, then give it its own."""
    temporary = f".{name}.leger"
    with contextlib.suppress(FileNotFoundError):
        descriptors.remove(parent, temporary)
    with made(parent, temporary) as folder:
        for file, (mode, _) in tree.files.items():
            if file.startswith(f"{path}/") and mode != LINK:
                _copy_into(folder, file.removeprefix(f"{path}/"), tree.path / file)
        os.fsync(folder)
    os.rename(temporary, name, src_dir_fd=parent, dst_dir_fd=parent)


def _copy_into(folder: int, path: str, source: Path) -> None:
    *parents, name = path.split("/")
    with contextlib.ExitStack() as stack:
        for part in parents:
            folder = stack.enter_context(made(folder, part))
        _copy_file(source, folder, name)


def _copy_file(source: Path, folder: int, name: str) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(name, flags, 0o600, dir_fd=folder), "wb") as target:
        target.write(source.read_bytes())
        os.fchmod(target.fileno(), stat.S_IMODE(source.stat().st_mode))
        target.flush()
        os.fsync(target.fileno())


def _is_there(folder: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _paths(source: Source) -> Iterator[tuple[Located, str, bool]]:
    """Every absolute path of the host that a quadlet mounts or reads, and whether it is a file."""
    for place in source.named(source.section, "Volume"):
        path = place.setting.value.partition(":")[0]
        yield place, path, _looks_like_file(path)
    for place in source.named(source.section, "Mount"):
        for part in words(place.setting.value.replace(",", " ")):
            key, _, path = part.partition("=")
            if key in ("source", "src"):
                yield place, path, _looks_like_file(path)
    for place in source.named(source.section, "EnvironmentFile", "ConfigMap"):
        for path in words(place.setting.value):
            yield place, path, True


def _looks_like_file(path: str) -> bool:
    last = path.rstrip("/").rpartition("/")[2]
    return "." in last.lstrip(".") and not path.endswith("/")
