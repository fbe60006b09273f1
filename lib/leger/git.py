"""Git: bare mirrors below sources/, fetched within limits, and their commits; the only importer
of GitPython.

What talks to a remote runs through the processes door, because GitPython can neither limit what
Git writes nor end its children (docs/adr/0007-git-within-limits.md); what reads the mirror is
GitPython's. Nothing is ever checked out by Git: no hooks, filters, attributes or submodules run.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from leger import config, disk, processes
from leger.config import Limits
from leger.deployment import Deployment
from leger.errors import LegerError
from leger.scope import Scope
from leger.source import shown

if TYPE_CHECKING:
    import git

PROTOCOLS = ("https", "ssh", "file")
LINK = 0o120000
FOLDER = 0o040000
SUBMODULE = 0o160000
_MEMORY = 4 << 30
_ENTRY = re.compile(rb"([0-7]{1,7}) ([^\0]+)\0(.{20})", re.DOTALL)
_COMMIT = re.compile(r"[0-9a-f]{40}")
_KEPT = ("PATH", "HOME", "SSH_AUTH_SOCK", "SSL_CERT_FILE", "SSL_CERT_DIR", "TMPDIR")
_PROXIES = ("http_proxy", "https_proxy", "no_proxy", "all_proxy")
_SETTINGS = {
    "core.hooksPath": "/dev/null",
    "core.sshCommand": "ssh -oBatchMode=yes -oConnectTimeout=20",
    "credential.helper": "",
    "fetch.fsckObjects": "false",
    "fetch.unpackLimit": "1",
    "gc.auto": "0",
    "http.followRedirects": "initial",
    "http.lowSpeedLimit": "1000",
    "http.lowSpeedTime": "60",
    "maintenance.auto": "false",
    "uploadpack.packObjectsHook": "",
}


class FetchError(LegerError):
    """A source cannot be fetched; the mirror is as it was."""


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


def fetch(scope: Scope, deployment: Deployment, limits: Limits | None = None) -> str:
    """Bring the deployment's mirror up to date; the full id of the commit that its ref names.

    One round trip when there is nothing new. Raises FetchError.
    """
    limits = limits or config.load(scope).limits
    mirror = Mirror.of(scope, deployment)
    with disk.lock(mirror.path.with_suffix(".lock")):
        return Fetch(mirror, limits).commit(deployment)


def folder(scope: Scope, deployment: Deployment) -> str:
    """The folder of the repository that is deployed, what a /tree/BRANCH/PATH address says in it.

    Raises FetchError when such an address was never fetched.
    """
    tree = deployment.address.tree
    if not tree:
        return deployment.path
    mirror = Mirror.of(scope, deployment)
    for branch, tail in _splits(tree):
        if mirror.id(_local(branch)):
            return "/".join(part for part in (tail, deployment.path) if part)
    raise FetchError(f"{deployment.name}: {deployment.source}: never fetched")


@dataclass(frozen=True)
class Mirror:
    """The bare repository that holds what was fetched from one remote."""

    remote: str
    path: Path

    @classmethod
    def of(cls, scope: Scope, deployment: Deployment) -> Mirror:
        """The mirror of the deployment's source; deployments of one repository share it."""
        remote = deployment.address.remote
        name = hashlib.sha256(remote.encode()).hexdigest()[:16]
        return cls(remote, scope.sources / f"{name}.git")

    def id(self, reference: str) -> str:
        """The commit that our own `reference` names; "" when there is none."""
        done = self.run(["rev-parse", "--verify", "--quiet", f"{reference}^{{commit}}"], 30)
        return done.stdout.decode().strip() if done.code == 0 else ""

    def has(self, commit: str) -> bool:
        """Whether the whole commit is here."""
        return self.run(["cat-file", "-e", f"{commit}^{{tree}}"], 30).code == 0

    def run(self, arguments: list[str], timeout: float) -> processes.Completed:
        """Git in this mirror, without a remote."""
        if not self.path.is_dir():
            return processes.Completed(1, b"", b"no mirror yet")
        return processes.run(
            ["git", *arguments], timeout=timeout, environment=_environment(self.path, ())
        )


class Commit(contextlib.AbstractContextManager["Commit"]):
    """One commit of a mirror, read by GitPython's object database (`git cat-file --batch`)."""

    def __init__(self, mirror: Mirror, commit: str, seconds: float = 120.0) -> None:
        self._repository = _repository(mirror.path)
        self._deadline = time.monotonic() + seconds
        self._commit = self._repository.commit(commit)

    def __exit__(self, *_error: object) -> None:
        self._repository.close()

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

    def entries(self, folder: str) -> Iterator[Entry]:
        """Everything below `folder` that is no folder, folder by folder; paths are relative to it.

        Raises LegerError when the commit has no such folder, or the time is up.
        """
        waiting = [("", self._folder(folder))]
        while waiting:
            prefix, tree = waiting.pop()
            for id_, mode, name in self._children(tree):
                path = f"{prefix}{name}"
                if mode == FOLDER:
                    waiting.append((f"{path}/", id_))
                else:
                    yield Entry(path, mode, id_)

    def size(self, entry: Entry) -> int:
        """The bytes that the file has; nothing is unpacked."""
        return int(self._repository.odb.info(entry.id).size)

    def read(self, entry: Entry) -> bytes:
        """The content of a file, the target of a link."""
        self._in_time()
        return bytes(self._repository.odb.stream(entry.id).read())

    def _folder(self, path: str) -> bytes:
        tree: bytes = self._commit.tree.binsha
        for part in path.split("/") if path else []:
            found = [
                id_ for id_, mode, name in self._children(tree) if (mode, name) == (FOLDER, part)
            ]
            if not found:
                raise LegerError(f"commit {self._commit.hexsha[:12]} has no folder {path!r}")
            tree = found[0]
        return tree

    def _children(self, tree: bytes) -> list[tuple[bytes, int, str]]:
        self._in_time()
        data = bytes(self._repository.odb.stream(tree).read())
        return [
            (match[3], int(match[1], 8), match[2].decode(errors="surrogateescape"))
            for match in _ENTRY.finditer(data)
        ]

    def _in_time(self) -> None:
        if time.monotonic() > self._deadline:
            raise LegerError(f"commit {self._commit.hexsha[:12]}: takes too long to read")


class Fetch:
    """One fetch into one mirror, which the caller has locked."""

    def __init__(
        self, mirror: Mirror, limits: Limits, protocols: tuple[str, ...] = PROTOCOLS
    ) -> None:
        self.mirror = mirror
        self.limits = limits
        self.protocols = protocols
        self.deadline = time.monotonic() + limits.fetch_seconds

    def commit(self, deployment: Deployment) -> str:
        """The commit that the deployment's ref names, brought into the mirror."""
        ref = deployment.ref
        self._prepare()
        if _COMMIT.fullmatch(ref):
            return self._pinned(ref)
        tree = deployment.address.tree
        if tree and not ref:
            return self._follow([branch for branch, _ in _splits(tree)], deployment)
        return self._follow([ref or "HEAD"], deployment)

    def _prepare(self) -> None:
        path = self.mirror.path
        if (path / "HEAD").exists():
            return
        disk.make_folder(path.parent)
        self._git(["init", "--quiet", "--bare", "--template=", str(path)], local=True)
        self._git(["config", "leger.remote", self.mirror.remote], local=True)

    def _follow(self, names: list[str], deployment: Deployment) -> str:
        remote = self._refs(names)
        for name in names:
            for reference in _candidates(name):
                if reference in remote:
                    return self._bring(name, reference, remote[reference])
        what = f"branch or tag {names[0]!r}" if names != ["HEAD"] else "default branch"
        raise FetchError(f"{deployment.name}: {shown(self.mirror.remote)} has no {what}")

    def _refs(self, names: list[str]) -> dict[str, str]:
        patterns = [reference for name in names for reference in _candidates(name)]
        output = self._git(["ls-remote", "--quiet", "--", self.mirror.remote, *patterns])
        lines = (line.partition("\t") for line in output.decode(errors="replace").splitlines())
        return {name: id_ for id_, _, name in lines if _COMMIT.fullmatch(id_)}

    def _bring(self, name: str, reference: str, id_: str) -> str:
        local = _local(name)
        known = self.mirror.run(["rev-parse", "--verify", "--quiet", local], 30).stdout.decode()
        if known.strip() != id_:
            self._fetch([f"+{reference}:{local}"])
        commit = self.mirror.id(local)
        if not commit:
            raise FetchError(f"{shown(self.mirror.remote)}: {name!r} names no commit")
        return commit

    def _pinned(self, commit: str) -> str:
        if self.mirror.has(commit):
            return commit
        with contextlib.suppress(FetchError):
            self._fetch([f"+{commit}:{_local(commit)}"])
        if not self.mirror.has(commit):
            self._fetch(
                ["+refs/heads/*:refs/leger/all/heads/*", "+refs/tags/*:refs/leger/all/tags/*"]
            )
        if not self.mirror.has(commit):
            raise FetchError(f"{shown(self.mirror.remote)} has no commit {commit}")
        return commit

    def _fetch(self, refspecs: list[str]) -> None:
        options = ["--quiet", "--no-tags", "--no-recurse-submodules", "--no-write-fetch-head"]
        try:
            self._git(["fetch", *options, "--", self.mirror.remote, *refspecs])
        except FetchError as error:
            if self._tidy() >= self.limits.fetch_bytes:
                raise _too_large(self.mirror.remote, self.limits) from error
            raise

    def _tidy(self) -> int:
        """Remove what a killed fetch leaves, or each try would cost the limit anew.

        Yields the size of the largest file: at the limit, it was the reason.
        """
        sizes = [0]
        for path in (self.mirror.path / "objects").glob("pack/tmp_*"):
            sizes.append(path.stat().st_size)
            path.unlink()
        return max(sizes)

    def _git(self, arguments: list[str], *, local: bool = False) -> bytes:
        limits = [f"--fsize={self.limits.fetch_bytes}", f"--as={_MEMORY}", "--core=0"]
        left = max(0.1, self.deadline - time.monotonic())
        where = shown(self.mirror.remote)
        try:
            done = processes.run(
                ["prlimit", *limits, "--", "git", *arguments],
                timeout=left,
                environment=_environment(
                    None if arguments[0] == "init" else self.mirror.path,
                    () if local else self.protocols,
                ),
            )
        except processes.TimedOutError as error:
            raise FetchError(
                f"{where}: not fetched within {self.limits.fetch_seconds:g} s",
                hint="limits: {fetch-time: ...} in config.yaml allows more",
            ) from error
        if done.code != 0:
            raise _refused(where, done)
        return done.stdout


def _refused(where: str, done: processes.Completed) -> FetchError:
    text = shown(done.stderr.decode(errors="replace"))
    lines = ["".join(c for c in line if c.isprintable()).strip() for line in text.splitlines()]
    told = [line for line in lines if line.startswith(("fatal:", "error:", "remote:", "ssh:"))]
    reason = (told or [line for line in lines if line] or [f"git ended with {done.code}"])[0]
    return FetchError(f"{where}: cannot be fetched: {reason}", hint=_hint(text))


def _too_large(remote: str, limits: Limits) -> FetchError:
    return FetchError(
        f"{shown(remote)}: larger than {limits.fetch_bytes >> 20} MiB",
        hint="limits: {fetch-size: ...} in config.yaml allows more",
    )


def _hint(text: str) -> str:
    for mark, hint in (
        ("Host key verification failed", "add the host's key to /etc/ssh/ssh_known_hosts"),
        ("could not read Username", "the repository is private or does not exist"),
        ("Permission denied (publickey", "give this host's ssh key access to the repository"),
        ("dubious ownership", "the repository belongs to another user"),
        ("not allowed", "use https, ssh or a path"),
        ("Could not resolve host", "check the address and the network"),
    ):
        if mark in text:
            return hint
    return ""


def _candidates(name: str) -> list[str]:
    return ["HEAD"] if name == "HEAD" else [f"refs/heads/{name}", f"refs/tags/{name}"]


def _splits(tree: str) -> list[tuple[str, str]]:
    """Every way to read BRANCH/PATH, the longest branch first."""
    parts = tree.strip("/").split("/")
    return [
        ("/".join(parts[:count]), "/".join(parts[count:])) for count in range(len(parts), 0, -1)
    ]


def _local(name: str) -> str:
    """Our reference for a remote's: by its hash, since branches a and a/b may come and go."""
    return f"refs/leger/{hashlib.sha256(name.encode()).hexdigest()[:16]}"


def _environment(path: Path | None, protocols: tuple[str, ...]) -> dict[str, str]:
    kept = {key: os.environ[key] for key in _KEPT if key in os.environ}
    for key in _PROXIES:
        kept |= {name: os.environ[name] for name in (key, key.upper()) if name in os.environ}
    settings = {"GIT_CONFIG_COUNT": str(len(_SETTINGS))}
    for number, (key, value) in enumerate(_SETTINGS.items()):
        settings |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    if path is not None:
        settings["GIT_DIR"] = str(path)
    return {
        **kept,
        **settings,
        "GIT_ALLOW_PROTOCOL": ":".join(protocols) or "none",
        "GIT_ASKPASS": "true",
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "LC_ALL": "C.UTF-8",
        "SSH_ASKPASS": "true",
    }


def _repository(path: Path) -> git.Repo:
    import git

    for key in [key for key in os.environ if key.startswith("GIT_")]:
        del os.environ[key]
    repository = git.Repo(path, odbt=git.GitCmdObjectDB)
    repository.git.update_environment(**_environment(path, ()))
    return repository
