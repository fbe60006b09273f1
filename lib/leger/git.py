"""Git: the newest commit of a source, and what is in it; the only importer of GitPython.

The mirrors are leger.mirror's; GitPython reads them (docs/adr/0007-git-within-limits.md).
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from leger import config, fetching
from leger.accepted import Accept, Accepted
from leger.config import Limits
from leger.deployment import Deployment
from leger.errors import InvalidQuadletsError, LegerError
from leger.gitprogram import FetchError, environment
from leger.mirror import Asked, Mirror, RewoundError, splits
from leger.scope import Scope
from leger.source import shown

if TYPE_CHECKING:
    import git

__all__ = [
    "Commit", "Entry", "FetchError", "Mirror", "RewoundError", "Summary", "fetch", "folder",
    "kept_open", "known", "log", "opened",
]  # fmt: skip
LINK = 0o120000
FOLDER = 0o040000
_AGAIN = "leger sync fetches it"
SUBMODULE = 0o160000
_MAX_MESSAGE = 4 << 20
_LONGEST = 300  # bytes of an entry of a tree: its mode, a name of 255 bytes, its id
_ENTRY = re.compile(rb"([0-7]{1,7}) ([^\0]+)\0(.{20})", re.DOTALL)


@dataclass(frozen=True)
class Entry:
    """One file, link or submodule of a commit: its path, its mode as Git has it, its id."""

    path: str
    mode: int
    id: bytes


@dataclass(frozen=True)
class Summary:
    """What a commit says of itself; `when` is in seconds since 1970."""

    commit: str
    author: str
    subject: str
    when: int


def fetch(
    scope: Scope,
    deployment: Deployment,
    limits: Limits | None = None,
    *,
    accept_rewind: Accept = False,
) -> str:
    """Bring the deployment's mirror up to date; the full id of the commit that its ref names.

    One round trip when there is nothing new. Raises FetchError, and RewoundError (unless
    `accept_rewind`) for a branch that does not stand on what was fetched before, or a moved tag.
    """
    bounds = limits or config.load(scope).limits
    found = fetching.fetch_all(scope, [deployment], bounds, accept_rewind=accept_rewind)
    result = found[deployment.name]
    if isinstance(result, LegerError):
        raise result
    return result


def known(scope: Scope, deployment: Deployment) -> str:
    """The commit that the deployment's ref named when it was fetched last; "" if it never was."""
    accepted = Accepted.load(Mirror.of(scope, deployment).record)
    found = (accepted.of(deployment.name, name) for name in Asked.by(deployment, accepted).names)
    return next((reference.commit for reference in found if reference), "")


def log(mirror: Mirror, before: str, after: str, limit: int = 50) -> tuple[Summary, ...]:
    """The commits that `after` has and `before` has not, newest first, at most `limit`.

    `after` alone where `before` is not known; nothing if the mirror does not have it.
    """
    span = f"{before}..{after}" if before and mirror.has(before) else after
    count = limit if span != after else 1
    form = "--format=%H%x00%an <%ae>%x00%ct%x00%s"
    done = mirror.run(["log", "--no-color", f"--max-count={count}", form, span, "--"], 30)
    lines = done.stdout.decode(errors="replace").splitlines() if done.code == 0 else []
    rows = (line.split("\0", 3) for line in lines if line.count("\0") >= 3)
    return tuple(Summary(id_, author, subject, int(when)) for id_, author, when, subject in rows)


def folder(scope: Scope, deployment: Deployment) -> str:
    """The folder of the repository that is deployed, what a /tree/BRANCH/PATH address says in it.

    Raises FetchError when such an address was never fetched.
    """
    tree = deployment.address.tree
    if not tree:
        return deployment.path
    known = Accepted.load(Mirror.of(scope, deployment).record)
    for branch, tail in splits(tree):
        if branch == known.branch(deployment.name, tree):
            return "/".join(part for part in (tail, deployment.path) if part)
    raise FetchError(f"{deployment.name}: {deployment.source}: never fetched")


class Commit(contextlib.AbstractContextManager["Commit"]):
    """One commit of a mirror, read by GitPython's object database (`git cat-file --batch`)."""

    def __init__(self, mirror: Mirror, commit: str) -> None:
        if not mirror.path.is_dir():
            raise FetchError(f"{shown(mirror.remote)}: not fetched", hint=_AGAIN)
        self._name = commit[:12]
        self.begin()
        with self._told():
            self._repository = _repository(mirror.path)
            self._commit = self._repository.commit(commit)
            if self._bytes(self._commit.binsha) > _MAX_MESSAGE:
                raise LegerError(f"commit {self._name}: what it says is too long")
            self._tree: bytes = self._commit.tree.binsha

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """End the programs behind it."""
        self._repository.close()

    def begin(self, seconds: float = 120.0) -> None:
        """From now on it may take `seconds` to read what is wanted of it."""
        self._deadline = time.monotonic() + seconds

    def summary(self) -> Summary:
        """Author and subject."""
        commit = self._commit
        message = commit.message
        text = message if isinstance(message, str) else message.decode(errors="replace")
        return Summary(
            commit.hexsha,
            f"{commit.author.name} <{commit.author.email}>",
            text.strip().partition("\n")[0],
            int(commit.committed_date),
        )

    def entries(self, folder: str, most: int) -> Iterator[Entry]:
        """Everything below `folder` that is no folder, folder by folder; paths are relative to it.

        Raises LegerError when the commit has no such folder, or the time is up, and
        InvalidQuadletsError after `most` files and folders.
        """
        waiting = [("", self._folder(folder, most))]
        count = 0
        while waiting:
            prefix, tree = waiting.pop()
            for id_, mode, name in self._children(tree, most):
                count += 1
                if count > most:
                    raise self._too_many(most)
                path = f"{prefix}{name}"
                if mode == FOLDER:
                    waiting.append((f"{path}/", id_))
                else:
                    yield Entry(path, mode, id_)

    def size(self, entry: Entry) -> int:
        """The bytes that the file has; nothing is unpacked."""
        with self._told():
            return self._bytes(entry.id)

    def read(self, entry: Entry) -> bytes:
        """The content of a file, the target of a link."""
        return self._content(entry.id)

    def _folder(self, path: str, most: int) -> bytes:
        tree = self._tree
        for part in path.split("/") if path else []:
            children = self._children(tree, most)
            found = next(
                (id_ for id_, mode, name in children if (mode, name) == (FOLDER, part)), b""
            )
            if not found:
                raise LegerError(f"commit {self._commit.hexsha[:12]} has no folder {path!r}")
            tree = found
        return tree

    def _children(self, tree: bytes, most: int) -> Iterator[tuple[bytes, int, str]]:
        """What a tree object holds; one that is larger than `most` entries can be is not read."""
        with self._told():
            if self._bytes(tree) > most * _LONGEST:
                raise self._too_many(most)
        data = self._content(tree)
        end = 0
        for match in _ENTRY.finditer(data):
            if match.start() != end:
                break
            end = match.end()
            yield match[3], int(match[1], 8), match[2].decode(errors="surrogateescape")
        if end != len(data):
            raise LegerError(f"commit {self._commit.hexsha[:12]}: tree {tree.hex()} is malformed")

    def _bytes(self, id_: bytes) -> int:
        return int(self._repository.odb.info(id_).size)

    def _too_many(self, most: int) -> LegerError:
        return InvalidQuadletsError(
            f"commit {self._name} has more than {most} files and folders",
            hint="limits: {files: ...} in config.yaml allows more",
        )

    def _content(self, id_: bytes) -> bytes:
        if time.monotonic() > self._deadline:
            raise LegerError(f"commit {self._name}: takes too long to read")
        with self._told():
            return bytes(self._repository.odb.stream(id_).read())

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """What GitPython says of objects that are damaged or not there, for an administrator."""
        try:
            yield
        except _errors() as error:
            said = str(error).strip().partition("\n")[0]
            raise LegerError(f"commit {self._name} cannot be read: {said}", hint=_AGAIN) from error


_MOST_KEPT = 4
_kept: dict[tuple[Path, str], Commit] | None = None


@contextlib.contextmanager
def kept_open() -> Iterator[None]:
    """While this lasts, a commit that many deployments have is opened once for all of them."""
    global _kept  # noqa: PLW0603 - the programs behind it are this process's children
    _kept = {}
    try:
        yield
    finally:
        kept, _kept = _kept, None
        for commit in kept.values():
            commit.close()


@contextlib.contextmanager
def opened(mirror: Mirror, commit: str) -> Iterator[Commit]:
    """The commit `commit` of `mirror` to read from. Raises LegerError when it is not there."""
    if _kept is None:
        with Commit(mirror, commit) as found:
            yield found
        return
    key = mirror.path, commit
    if key not in _kept:
        while len(_kept) >= _MOST_KEPT:
            _kept.pop(next(iter(_kept))).close()
        _kept[key] = Commit(mirror, commit)
    _kept[key].begin()
    yield _kept[key]


def _errors() -> tuple[type[Exception], ...]:
    """What GitPython raises, some of it by way of Python's own."""
    from git import exc

    return ValueError, OSError, exc.GitError, exc.ODBError


def _repository(path: Path) -> git.Repo:
    import git

    for key in [key for key in os.environ if key.startswith("GIT_")]:
        del os.environ[key]
    repository = git.Repo(path, odbt=git.GitCmdObjectDB)
    repository.git.update_environment(**environment(path))
    return repository
