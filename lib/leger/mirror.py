"""Bare mirrors of repositories below sources/, fetched within limits.

What talks to a remote runs through the processes door, because GitPython can neither limit what
Git writes nor end its children (docs/adr/0007-git-within-limits.md). Nothing is ever checked out
by Git: no hooks, filters, attributes or submodules run.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from leger import disk, processes
from leger.config import Limits
from leger.deployment import Deployment
from leger.errors import LegerError
from leger.scope import Scope
from leger.source import shown

PROTOCOLS = ("https", "ssh", "file")
_MEMORY = 4 << 30
_COMMIT = re.compile(r"[0-9a-f]{40}")
_KEPT = ("PATH", "HOME", "SSH_AUTH_SOCK", "SSL_CERT_FILE", "SSL_CERT_DIR", "TMPDIR")
_PROXIES = ("http_proxy", "https_proxy", "no_proxy", "all_proxy")
_SETTINGS = {
    "core.fsync": "all",
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
            ["git", *arguments], timeout=timeout, environment=environment(self.path, ())
        )


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
        """The commit that the deployment's ref names, brought into the mirror.

        A mirror that a power cut damaged is made anew.
        """
        was_there = self.mirror.path.is_dir()
        self._prepare()
        try:
            return self._brought(deployment)
        except FetchError:
            if not was_there or self._is_sound():
                raise
        shutil.rmtree(self.mirror.path)
        self._prepare()
        return self._brought(deployment)

    def _brought(self, deployment: Deployment) -> str:
        ref = deployment.ref
        branches = [branch for branch, _ in splits(deployment.address.tree)]
        if branches and not ref:
            return self._follow(branches, deployment)
        if branches:
            # Where the branch ends and the folder begins, only its name in the mirror tells.
            with contextlib.suppress(FetchError):
                self._follow(branches, deployment)
        return (
            self._pinned(ref)
            if _COMMIT.fullmatch(ref)
            else self._follow([ref or "HEAD"], deployment)
        )

    def _is_sound(self) -> bool:
        done = self.mirror.run(["fsck", "--connectivity-only", "--no-progress"], 120)
        return done.code == 0 and b"error" not in done.stderr

    def _prepare(self) -> None:
        path = self.mirror.path
        if path.is_dir():
            self._tidy()
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
        local = local_name(name)
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
            self._fetch([f"+{commit}:{local_name(commit)}"])
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
        """Remove what a killed fetch leaves: locks for ever, and files that cost the limit anew.

        Yields the size of the largest file: at the limit, it was the reason.
        """
        for lock in (*self.mirror.path.glob("*.lock"), *self.mirror.path.glob("refs/**/*.lock")):
            lock.unlink()
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
                environment=environment(
                    None if arguments[0] in ("init", "ls-remote") else self.mirror.path,
                    () if local else self.protocols,
                ),
                folder=Path("/"),
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


def splits(tree: str) -> list[tuple[str, str]]:
    """Every way to read BRANCH/PATH, the longest branch first."""
    parts = [part for part in tree.split("/") if part]
    return [
        ("/".join(parts[:count]), "/".join(parts[count:])) for count in range(len(parts), 0, -1)
    ]


def is_commit(ref: str) -> bool:
    """Whether `ref` is a full commit, which pins a deployment."""
    return _COMMIT.fullmatch(ref) is not None


def local_name(name: str) -> str:
    """Our reference for a remote's: by its hash, since branches a and a/b may come and go."""
    return f"refs/leger/{hashlib.sha256(name.encode()).hexdigest()[:16]}"


def environment(path: Path | None, protocols: tuple[str, ...] = ()) -> dict[str, str]:
    """All that Git gets from its environment: nothing of the caller's but how to reach remotes."""
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
