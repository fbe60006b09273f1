"""From a commit to the files of a tree: what a commit may not hold is refused by name."""

from __future__ import annotations

import fnmatch
import functools
import os
import stat
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from leger import git
from leger.author import FILE as AUTHOR
from leger.config import Limits
from leger.faults import FaultsError
from leger.model import Fault
from leger.tree import LINK, PLAIN, PROGRAM, File, walk

_MAX_LINKS = 40
_MAX_NAME = 255
_MAX_PATH = 1024
_MAX_TARGET = 4096
_SMALL = 64 << 10
_AT_HAND = 32 << 20  # bytes of small files that are read once and kept until they are written
_LFS = b"version https://git-lfs.github.com/spec/"


def checkout(
    commit: git.Commit, entries: Iterable[git.Entry], name: str, limits: Limits
) -> dict[str, File]:
    """The files that are `entries` of `commit` for the deployment `name`.

    Big ones are read when written. Raises FaultsError that names what cannot be deployed.
    """
    faults: list[Fault] = []
    files: dict[str, File] = {}
    total = 0
    for entry in entries:
        reason = "is there twice in its folder" if entry.path in files else refusal(entry)
        if reason:
            faults.append(Fault(name, reason, _shown(entry.path)))
            continue
        size = commit.size(entry)
        total += size
        if total > limits.tree_bytes:
            raise FaultsError([Fault(name, f"more than {limits.tree_bytes >> 20} MiB of files")])
        if size <= _SMALL and total <= _AT_HAND:
            files[entry.path] = File.of(commit.read(entry), _mode(entry))
        else:
            files[entry.path] = _later(commit, entry, size)
        if size > limits.file_bytes:
            faults.append(Fault(name, f"larger than {limits.file_bytes >> 20} MiB", entry.path))
    return _checked(name, files, faults)


def single(commit: git.Commit, entries: Iterable[git.Entry], path: str) -> dict[str, File]:
    """The file `path` alone, which is read when it is asked for; nothing if it is refused."""
    return {
        entry.path: _later(commit, entry, commit.size(entry))
        for entry in entries
        if entry.path == path and not refusal(entry)
    }


def _later(commit: git.Commit, entry: git.Entry, size: int) -> File:
    return File(_mode(entry), size, functools.partial(commit.read, entry))


def from_folder(folder: Path, name: str, exclude: Sequence[str] = ()) -> dict[str, File]:
    """The files of a folder as if it were committed; .git is left out, and what a pattern names.

    Raises FaultsError.
    """
    faults: list[Fault] = []
    files: dict[str, File] = {}
    for path in walk(folder):
        relative = str(path.relative_to(folder))
        if relative.startswith(".git/") or relative == ".git" or excluded(relative, exclude):
            continue
        if path.is_symlink():
            files[relative] = on_disk(path)
        elif reason := name_fault(relative) or ("" if path.is_file() else "not a file"):
            faults.append(Fault(name, reason, _shown(relative)))
        else:
            files[relative] = on_disk(path)
    return _checked(name, files, faults)


def on_disk(path: Path) -> File:
    """A file or link that lies in a folder."""
    status = path.lstat()
    if stat.S_ISLNK(status.st_mode):
        return File.of(os.fsencode(path.readlink()), LINK)
    mode = PROGRAM if status.st_mode & 0o100 else PLAIN
    return File(mode, status.st_size, path.read_bytes)


def targets(files: Mapping[str, File]) -> dict[str, str]:
    """Where each link of `files` points."""
    return {
        path: file.read().decode(errors="surrogateescape") if file.size <= _MAX_TARGET else "/"
        for path, file in files.items()
        if file.is_link
    }


def excluded(path: str, patterns: Sequence[str]) -> bool:
    """Whether a pattern (of a path, a folder or a last part) names `path`.

    The author's file always stays: what it says holds for the deployment as long as it is there.
    """
    if not patterns or path == AUTHOR:
        return False
    candidates = (*_with_folders(path), path.rpartition("/")[2])
    return any(
        fnmatch.fnmatchcase(candidate, pattern.rstrip("/"))
        for pattern in patterns
        for candidate in candidates
    )


def name_fault(path: str) -> str:
    """Why a file cannot be called `path`; "" if it can."""
    parts = path.split("/")
    if any(part in ("", ".", "..") for part in parts) or any(_is_git(part) for part in parts):
        return "this name leaves the tree or is Git's own"
    if any(unicodedata.category(char) in ("Cc", "Cs", "Cf", "Zl", "Zp") for char in path):
        return "its name has control characters or is not UTF-8"
    if any(len(part.encode()) > _MAX_NAME for part in parts) or len(path.encode()) > _MAX_PATH:
        return "its name is too long"
    return ""


def links(name: str, files: Mapping[str, File]) -> Iterator[Fault]:
    """The links that leave the tree, by their own path or by other links on it, or never end."""
    known = targets(files)
    for path, target in known.items():
        if not target or "\0" in target or files[path].size >= _MAX_TARGET:
            yield Fault(name, "this link's target is empty, too long or no path", path)
        elif resolve(path, known) is None:
            yield Fault(name, "this link leaves the tree or never ends", path)


def resolve(path: str, targets: Mapping[str, str]) -> str | None:
    """Where `path` really is when `targets` are the links; None outside the tree or in a loop."""
    waiting = path.split("/")[::-1]
    place: list[str] = []
    followed = 0
    while waiting:
        part = waiting.pop()
        if part in ("", "."):
            continue
        if part == "..":
            if not place:
                return None
            place.pop()
            continue
        target = targets.get("/".join([*place, part]))
        if target is None:
            place.append(part)
            continue
        followed += 1
        if target.startswith("/") or followed > _MAX_LINKS:
            return None
        waiting += target.split("/")[::-1]
    return "/".join(place)


def _checked(name: str, files: dict[str, File], faults: list[Fault]) -> dict[str, File]:
    faults += links(name, files)
    faults += _twins(name, files)
    faults += _lfs(name, files)
    if faults:
        raise FaultsError(faults)
    return files


def _lfs(name: str, files: Mapping[str, File]) -> Iterator[Fault]:
    for path, file in files.items():
        if len(_LFS) < file.size < 1024 and not file.is_link and file.read().startswith(_LFS):
            yield Fault(name, "is kept by Git LFS, which is not supported", path)


def _shown(path: str) -> str:
    return path.encode(errors="replace").decode()[:_MAX_PATH]


def refusal(entry: git.Entry) -> str:
    """Why an entry of a commit cannot be deployed; "" if it can."""
    if reason := name_fault(entry.path):
        return reason
    if entry.mode == git.SUBMODULE:
        return "submodules are not deployed; put the files into the repository"
    if entry.mode != git.LINK and entry.mode & 0o170000 != 0o100000:
        return f"neither a file nor a link (mode {entry.mode:o})"
    return ""


def _mode(entry: git.Entry) -> int:
    if entry.mode == git.LINK:
        return LINK
    return PROGRAM if entry.mode & 0o100 else PLAIN


def _is_git(part: str) -> bool:
    return part.casefold().rstrip(" .") in (".git", "git~1")


def _twins(name: str, paths: Iterable[str]) -> Iterator[Fault]:
    seen: dict[str, str] = {}
    for path in sorted({part for whole in paths for part in _with_folders(whole)}):
        twin = seen.setdefault(unicodedata.normalize("NFKC", path).casefold(), path)
        if twin != path:
            yield Fault(name, f"differs from {twin} only by case or by how a letter is coded", path)


def _with_folders(path: str) -> list[str]:
    """The folders on the way to `path`, and itself."""
    parts = path.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts) + 1)]
