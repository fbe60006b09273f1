"""Immutable trees: store/NAME-DIGEST/, written whole and durably, or not at all."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from leger import disk, processes
from leger.errors import LegerError
from leger.model import Tree
from leger.scope import Scope

LINK = 0o120777
PLAIN = 0o644
PROGRAM = 0o755
_MANY = 32
_SMALL = 1 << 16


@dataclass(frozen=True)
class File:
    """One file or link of a tree to be; `read` yields its content, a link's target."""

    mode: int
    size: int
    read: Callable[[], bytes]

    @classmethod
    def of(cls, data: bytes, mode: int = PLAIN) -> File:
        """A file whose content is at hand."""
        return cls(mode, len(data), lambda: data)

    @property
    def is_link(self) -> bool:
        return self.mode == LINK


Files = Mapping[str, File]


def write(
    scope: Scope, name: str, files: Files, *, mend: bool = False, spare: Path | None = None
) -> Tree:
    """Write store/NAME-DIGEST/ with `files`, fsynced before it gets its name.

    A tree that is there already is taken as it is; with `mend` what somebody changed in it is put
    right, file by file, so that containers which have it mounted keep their mounts; but never in
    the tree at `spare`. Raises LegerError when the disk refuses.
    """
    disk.make_folder(scope.state)
    disk.make_folder(scope.store, 0o755)
    temporary = scope.store / f".tmp-{os.urandom(8).hex()}"
    try:
        temporary.mkdir(mode=0o755)
        listed = {path: _write(temporary / path, files[path]) for path in sorted(files)}
        total = digest(listed)
        tree = Tree(scope.store / f"{name}-{total}", total, listed)
        if not tree.path.is_dir():
            _settle(temporary)
            temporary.rename(tree.path)
            disk.sync_folder(scope.store)
        elif mend and tree.path != spare:
            _mend(tree.path, temporary, listed)
    except OSError as error:
        raise LegerError(
            f"{scope.store}: cannot be written: {error.strerror}", hint="check free space"
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return tree


def read(path: Path) -> Tree:
    """The tree at `path` as it is now, every file's sum made anew.

    `digest` is that of the content: if the folder's name says another, it was changed.
    Raises LegerError when it is not there.
    """
    if not path.is_dir():
        raise LegerError(f"{path}: the tree is gone", hint="run leger apply")
    listed: dict[str, tuple[int, str]] = {}
    for name, status in _statuses(path):
        if not stat.S_ISDIR(status.st_mode):
            listed[name] = _sum(f"{path}/{name}", status)
    return Tree(path, digest(listed), dict(sorted(listed.items())))


def is_suspect(tree: Tree) -> bool:
    """Whether the tree on the disk may be another than `tree`, by names and times alone.

    A tree gets its name, and with it the latest time of change, after all that is in it was
    written; and no folder was changed after the last file in it. A whole tree may look suspect,
    one that was copied back from a backup, say.
    """
    try:
        top = tree.path.lstat()
        newest, names = 0, set()
        for path, status in _statuses(tree.path):
            if status.st_ctime_ns >= top.st_ctime_ns:
                return True
            newest = max(newest, status.st_mtime_ns)
            if not stat.S_ISDIR(status.st_mode):
                names.add(path)
    except OSError:
        return True
    return newest < top.st_mtime_ns or names != tree.files.keys()


def _statuses(folder: Path, prefix: str = "") -> Iterator[tuple[str, os.stat_result]]:
    """All that is below `folder`, by its path from there."""
    with os.scandir(folder) as entries:
        for entry in entries:
            yield f"{prefix}{entry.name}", entry.stat(follow_symlinks=False)
            if entry.is_dir(follow_symlinks=False):
                yield from _statuses(Path(entry.path), f"{prefix}{entry.name}/")


def digest(listed: Mapping[str, tuple[int, str]]) -> str:
    """The first 16 hex digits of SHA-256 over sorted path, mode and content's sum."""
    total = hashlib.sha256()
    for path, (mode, content) in sorted(listed.items()):
        total.update(f"{path}\0{mode:o}\0{content}\n".encode(errors="surrogateescape"))
    return total.hexdigest()[:16]


def clean(scope: Scope) -> None:
    """Remove what a killed command left half written."""
    for path in scope.store.glob(".tmp-*"):
        shutil.rmtree(path, ignore_errors=True)


def walk(folder: Path) -> Iterator[Path]:
    """Every file and link below `folder`, links not followed."""
    for parent, folders, names in os.walk(folder):
        linked = [name for name in folders if (Path(parent) / name).is_symlink()]
        for name in [*names, *linked]:
            yield Path(parent) / name


def _mend(target: Path, whole: Path, listed: Mapping[str, tuple[int, str]]) -> None:
    """Make `target` again what `whole`, which has all the files `listed`, is.

    By their content: somebody who changed a file may have touched the folder after that.
    """
    present = read(target).files
    if present == listed:
        return
    for path in present.keys() - listed.keys():
        (target / path).unlink()
    for path in sorted(listed.keys()):
        if present.get(path) != listed[path]:
            _clear(target, path)
            (whole / path).replace(target / path)
    _settle(target)
    newest = max((status.st_mtime_ns for _, status in _statuses(target)), default=0)
    os.utime(target, ns=(newest, newest))  # as a tree that was just written: see is_suspect


def _clear(target: Path, path: str) -> None:
    """Make room for `path`: no file where a folder belongs, no folder where a file does."""
    for parent in reversed(Path(path).parents[:-1]):
        folder = target / parent
        if folder.is_symlink() or not folder.is_dir():
            folder.unlink(missing_ok=True)
            folder.mkdir()
    if (target / path).is_dir() and not (target / path).is_symlink():
        shutil.rmtree(target / path)


def _write(path: Path, file: File) -> tuple[int, str]:
    path.parent.mkdir(parents=True, exist_ok=True)
    data = file.read()
    if file.is_link:
        os.symlink(data, path)
    else:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            os.fchmod(stream.fileno(), file.mode)
            stream.write(data)
    return file.mode, hashlib.sha256(data).hexdigest()


def _settle(folder: Path) -> None:
    """Make all of `folder` durable: file by file, or by one syncfs(2) where they are many."""
    files = [path for path in walk(folder) if not path.is_symlink()]
    folders = [Path(parent) for parent, _, _ in os.walk(folder)]
    for path in folders:
        path.chmod(0o755)
    if len(files) > _MANY and shutil.which("sync"):
        done = processes.run(["sync", "--file-system", str(folder)], timeout=600)
        if done.code != 0:
            raise LegerError(f"{folder}: cannot be made durable: {done.message}")
        return
    for path in files:
        _sync(path)
    for path in reversed(folders):
        disk.sync_folder(path)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sum(path: str, status: os.stat_result) -> tuple[int, str]:
    if stat.S_ISLNK(status.st_mode):
        return LINK, hashlib.sha256(os.fsencode(os.readlink(path))).hexdigest()
    if not stat.S_ISREG(status.st_mode):
        return status.st_mode, ""  # a pipe that somebody made there: it is not opened
    with open(path, "rb", buffering=0) as stream:
        if status.st_size <= _SMALL:  # file_digest makes a large buffer for each file
            total = hashlib.sha256(stream.readall())
        else:
            total = hashlib.file_digest(stream, "sha256")
        return status.st_mode & 0o777, total.hexdigest()
