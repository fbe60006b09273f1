"""From a commit to the files of a tree: what a commit may not hold is refused by name."""

from __future__ import annotations

import fnmatch
import functools
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence

from leger import git
from leger.config import Limits
from leger.faults import FaultsError
from leger.model import Fault
from leger.tree import LINK, PLAIN, PROGRAM, File

_MAX_LINKS = 40
_MAX_NAME = 255
_MAX_PATH = 1024
_MAX_TARGET = 4096
_LFS = b"version https://git-lfs.github.com/spec/"


def checkout(commit: git.Commit, folder: str, name: str, limits: Limits) -> dict[str, File]:
    """The files of `folder` in `commit` for the deployment `name`; big ones are read when written.

    Raises FaultsError that names everything that cannot be deployed.
    """
    faults: list[Fault] = []
    files: dict[str, File] = {}
    total = 0
    for entry in commit.entries(folder):
        reason = _refusal(entry)
        if reason:
            faults.append(Fault(name, reason, entry.path.encode(errors="replace").decode()))
            continue
        size = commit.size(entry)
        total += size
        files[entry.path] = File(_mode(entry), size, functools.partial(commit.read, entry))
        _bounded(name, files, total, limits)
        if size > limits.file_bytes:
            faults.append(Fault(name, f"larger than {limits.file_bytes >> 20} MiB", entry.path))
    faults += links(name, files)
    faults += _twins(name, files)
    if faults:
        raise FaultsError(faults)
    return files


def without(files: Mapping[str, File], patterns: Sequence[str]) -> dict[str, File]:
    """`files` without those that a pattern (of a path, a folder or a last part) names."""
    return {path: file for path, file in files.items() if not _excluded(path, patterns)}


def is_lfs_pointer(data: bytes) -> bool:
    """Whether `data` stands for a file that Git LFS keeps elsewhere."""
    return data.startswith(_LFS)


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
    targets = {
        path: file.read().decode(errors="surrogateescape") if file.size <= _MAX_TARGET else "/"
        for path, file in files.items()
        if file.is_link
    }
    for path in targets:
        if resolve(path, targets) is None:
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


def _refusal(entry: git.Entry) -> str:
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


def _bounded(name: str, files: Mapping[str, File], total: int, limits: Limits) -> None:
    if len(files) > limits.files:
        raise FaultsError([Fault(name, f"more than {limits.files} files")])
    if total > limits.tree_bytes:
        raise FaultsError([Fault(name, f"more than {limits.tree_bytes >> 20} MiB of files")])


def _is_git(part: str) -> bool:
    return part.casefold().rstrip(" .") in (".git", "git~1")


def _twins(name: str, paths: Iterable[str]) -> Iterator[Fault]:
    seen: dict[str, str] = {}
    for path in sorted(paths):
        twin = seen.setdefault(unicodedata.normalize("NFKC", path).casefold(), path)
        if twin != path:
            yield Fault(name, f"differs from {twin} only by case or by how a letter is coded", path)


def _excluded(path: str, patterns: Sequence[str]) -> bool:
    parts = path.split("/")
    folders = ["/".join(parts[:count]) for count in range(1, len(parts) + 1)]
    return any(
        fnmatch.fnmatchcase(candidate, pattern.rstrip("/"))
        for pattern in patterns
        for candidate in (*folders, parts[-1])
    )
