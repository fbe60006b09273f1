"""Bare mirrors of repositories below sources/, fetched within limits.

What talks to a remote runs through the processes door, because GitPython can neither limit what
Git writes nor end its children (docs/adr/0007-git-within-limits.md). Nothing is ever checked out
by Git: no hooks, filters, attributes or submodules run.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from leger import disk, gitprogram, processes
from leger.accepted import Accept, Accepted, Reference, accepts, key, shape
from leger.deployment import Deployment
from leger.gitprogram import FetchError, Remote
from leger.growth import Growth
from leger.scope import Scope
from leger.source import shown

COMMIT = re.compile(r"[0-9a-f]{40}")
_FETCH = ("fetch", "--quiet", "--no-tags", "--no-recurse-submodules", "--no-write-fetch-head")
_EVERYTHING = ("+refs/heads/*:refs/leger/all/heads/*", "+refs/tags/*:refs/leger/all/tags/*")
_PACKS = 50


class RewoundError(FetchError):
    """A branch was rewound or rewritten, or a tag moved; what was accepted before still counts."""


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

    @property
    def record(self) -> Path:
        """The file beside the mirror that says what was accepted of the remote."""
        return self.path.with_suffix(".json")

    @property
    def lock(self) -> Path:
        """The file that is locked while the mirror is fetched into."""
        return self.path.with_suffix(".lock")

    def remove(self) -> None:
        """Forget the remote, once nobody fetches from it; the lock stays, or it were none."""
        with disk.lock(self.lock):
            shutil.rmtree(self.path, ignore_errors=True)
            self.record.unlink(missing_ok=True)

    def release(self, deployment: str) -> None:
        """Forget what is held for a deployment that is no more."""
        known = Accepted.load(self.record)
        if known != known.without(deployment):
            with disk.lock(self.lock):
                Accepted.load(self.record).without(deployment).save(self.record)

    def id(self, name: str) -> str:
        """The commit that an object's id or a reference of the mirror leads to; "" without one."""
        done = self.run(["rev-parse", "--verify", "--quiet", f"{name}^{{commit}}"], 30)
        return done.stdout.decode().strip() if done.code == 0 else ""

    def has(self, commit: str) -> bool:
        """Whether the commit and its tree are here."""
        return self.run(["cat-file", "-e", f"{commit}^{{tree}}"], 30).code == 0

    def is_ancestor(self, old: str, new: str) -> bool:
        """Whether `new` is `old` or was made on top of it; not if one of them is not here."""
        return self.run(["merge-base", "--is-ancestor", old, new], 120).code == 0

    def run(
        self, arguments: list[str], timeout: float, variables: Mapping[str, str] | None = None
    ) -> processes.Completed:
        """Git in this mirror, without a remote; `variables` are added to its environment."""
        if not self.path.is_dir():
            return processes.Completed(1, b"", b"no mirror yet")
        return gitprogram.local(arguments, self.path, timeout, variables)


@dataclass(frozen=True)
class Asked:
    """What a deployment asks its remote for: the first of `names` that is there."""

    names: tuple[str, ...]

    @classmethod
    def by(cls, deployment: Deployment, known: Accepted) -> Asked:
        """The names that the deployment follows: its ref's, or those that its address may mean.

        An address means what it was taken for first, whatever is pushed later.
        """
        if deployment.ref:
            return cls((deployment.ref,))
        tree = deployment.address.tree
        name = known.branch(deployment.name, tree)
        return cls((name,) if name else branches(tree) or ("HEAD",))

    @property
    def commit(self) -> str:
        """The full commit that is asked for; "" when it is a branch or a tag."""
        return next((name for name in self.names if COMMIT.fullmatch(name)), "")


class Fetch:
    """Fetches from one remote into its mirror, which the caller has locked."""

    def __init__(self, mirror: Mirror, remote: Remote) -> None:
        self.mirror = mirror
        self.remote = remote
        self.listed: dict[str, str] | None = None
        self.accepted: set[str] = set()
        self.known = Accepted.load(mirror.record)
        self.is_whole = bool(self.known.shape) and self.known.shape == shape(mirror.path)
        self._refused: dict[str, Reference] = {}

    def turn(self, deployment: Deployment, accept_rewind: Accept) -> tuple[bool, bool]:
        """What sorts deployments so that a rewind is refused before it is accepted for others."""
        names = Asked.by(deployment, self.known).names
        is_held = any(key(deployment.name, name) in self.known.held for name in names)
        return accepts(accept_rewind, deployment.name), is_held

    def ask(self, deployments: Iterable[Deployment]) -> None:
        """Ask the remote once for all that these deployments need to know."""
        needed = {name for item in deployments for name in self._questions(item)}
        self.listed = self._list(sorted(needed)) if needed else {}

    def commit(self, deployment: Deployment, *, accept_rewind: bool = False) -> str:
        """The commit that the deployment's ref names, brought into the mirror and accepted.

        A mirror that a power cut damaged is made anew. Raises FetchError, and RewoundError.
        """
        if self.listed is None:
            self.ask([deployment])
        name, found = self._found(Asked.by(deployment, self.known), deployment)
        commit = self._accepted(deployment, name, found, accept_rewind=accept_rewind)
        if not deployment.ref:
            self._understand(deployment, name)
        elif not self._is_understood(deployment):
            self._name_folder(deployment)
        return commit

    def _questions(self, deployment: Deployment) -> Iterator[str]:
        asked = Asked.by(deployment, self.known)
        if not asked.commit:
            yield from asked.names
        if deployment.ref and not self._is_understood(deployment):
            yield from branches(deployment.address.tree)

    def _list(self, names: list[str]) -> dict[str, str]:
        patterns = [reference for name in names for reference in _candidates(name)]
        command = ["ls-remote", "--quiet", "--", self.mirror.remote, *patterns]
        output = self.remote.run(command, None)
        lines = (line.partition("\t") for line in output.decode(errors="replace").splitlines())
        return {name: id_ for id_, _, name in lines if COMMIT.fullmatch(id_)}

    def _found(self, asked: Asked, deployment: Deployment) -> tuple[str, Reference]:
        if asked.commit:
            return asked.commit, Reference(asked.commit, asked.commit, "")
        listed = self.listed or {}
        for name in asked.names:
            before = self.known.of(deployment.name, name)
            for reference in (*([before.reference] if before else []), *_candidates(name)):
                if reference in listed:
                    return name, Reference(reference, listed[reference], "")
        first = asked.names[0]
        what = "default branch" if first == "HEAD" else f"branch or tag {first!r}"
        raise FetchError(f"{deployment.name}: {shown(self.mirror.remote)} has no {what}")

    def _name_folder(self, deployment: Deployment) -> None:
        """Note which branch a /tree/BRANCH/PATH address means, though another ref is deployed."""
        asked = Asked(branches(deployment.address.tree))
        with contextlib.suppress(FetchError):
            self._understand(deployment, self._found(asked, deployment)[0])

    def _is_understood(self, deployment: Deployment) -> bool:
        tree = deployment.address.tree
        return not tree or bool(self.known.branch(deployment.name, tree))

    def _understand(self, deployment: Deployment, name: str) -> None:
        """Keep in mind that the deployment's address begins with the branch or tag `name`."""
        if not self._is_understood(deployment):
            own = key(deployment.name, deployment.address.tree)
            self.known = replace(self.known, trees={**self.known.trees, own: name})
            self.known.save(self.mirror.record)

    def _accepted(
        self, deployment: Deployment, name: str, found: Reference, *, accept_rewind: bool = False
    ) -> str:
        before, own = self.known.of(deployment.name, name), key(deployment.name, name)
        if before and before.id == found.id and own not in self.known.held and self._has(name):
            return before.commit
        found = replace(found, commit=self._mended(name, found))
        if before and not accept_rewind:
            self._refused[own] = before
            self._check(deployment, name, before, found)
            del self._refused[own]
        self._consolidate()
        self._save(name, found, own)
        self.accepted.add(name)
        return found.commit

    def _has(self, name: str) -> bool:
        """Whether what was accepted of `name` is known to be in the mirror, whole."""
        return self.is_whole or name in self.accepted

    def _save(self, name: str, found: Reference, own: str) -> None:
        """Accept what was found; those that were refused it hold on to what they had."""
        refused = {one: had for one, had in self._refused.items() if one.endswith(f" {name}")}
        held = {one: had for one, had in {**self.known.held, **refused}.items() if one != own}
        references = {**self.known.references, name: found}
        self.known = replace(
            self.known, references=references, shape=shape(self.mirror.path), held=held
        )
        self.known.save(self.mirror.record)

    def _mended(self, name: str, found: Reference) -> str:
        """Bring it; a mirror that cannot take it because it is damaged is made anew."""
        self._prepare()
        try:
            return self._brought(name, found)
        except FetchError:
            if self.is_whole or self._is_sound():
                raise
        shutil.rmtree(self.mirror.path)
        self._prepare()
        return self._brought(name, found)

    def _brought(self, name: str, found: Reference) -> str:
        if not self.mirror.has(found.id):
            self._bring(name, found)
        commit = self.mirror.id(found.id)
        if commit:
            return commit
        where = shown(self.mirror.remote)
        if name == found.id:
            raise FetchError(f"{where} has no commit {name}")
        raise FetchError(f"{where}: {name!r} names no commit")

    def _bring(self, name: str, found: Reference) -> None:
        local = f"refs/leger/{hashlib.sha256(name.encode()).hexdigest()[:16]}"
        if name != found.id:
            self._fetch(f"+{found.reference}:{local}")
            return
        with contextlib.suppress(FetchError):
            self._fetch(f"+{name}:{local}")
        if not self.mirror.has(name):
            self._fetch(*_EVERYTHING)

    def _check(
        self, deployment: Deployment, name: str, before: Reference, found: Reference
    ) -> None:
        """Refuse what does not stand on what was accepted before, or is no tag or branch now."""
        is_same = before.is_tag == found.is_tag
        if is_same and before.commit == found.commit:
            return
        how = "moved" if before.is_tag else "is a tag now"
        if not is_same and before.is_tag:
            how = "is a branch now"
        elif is_same and not before.is_tag:
            if self.mirror.is_ancestor(before.commit, found.commit):
                return
            back = self.mirror.is_ancestor(found.commit, before.commit)
            how = "was rewound" if back else "was rewritten"
        kind = "tag" if before.is_tag else "branch"
        what = "the default branch" if name == "HEAD" else f"{kind} {name}"
        raise RewoundError(
            f"{deployment.name}: {what} of {shown(self.mirror.remote)} {how}:"
            f" from {before.commit} to {found.commit}",
            hint=f"if that is meant, leger sync --accept-rewind {deployment.name} takes it",
        )

    def _fetch(self, *refspecs: str) -> None:
        """Bring all of `refspecs`, or leave the mirror as it is."""
        growth = Growth(self.mirror.path)

        def look() -> None:
            if growth.size() >= self.remote.limits.fetch_bytes:
                raise _too_large(self.remote)

        command = [*_FETCH, "--", self.mirror.remote, *refspecs]
        try:
            self.remote.run(command, self.mirror.path, look)
            look()
        except FetchError as error:
            is_large = growth.size() >= self.remote.limits.fetch_bytes
            growth.undo()
            if is_large:
                raise _too_large(self.remote) from error
            raise

    def _prepare(self) -> None:
        path = self.mirror.path
        if path.is_dir():
            self._tidy()
            return
        disk.make_folder(path.parent)
        init = ["init", "--quiet", "--bare", "--template=", str(path)]
        for command, folder in (
            (init, None),
            (["config", "leger.remote", self.mirror.remote], path),
        ):
            done = gitprogram.local(command, folder, 60)
            if done.code != 0:
                raise FetchError(f"{path}: cannot be made: {done.message}")

    def _is_sound(self) -> bool:
        done = self.mirror.run(["fsck", "--connectivity-only", "--no-progress"], 120)
        return done.code == 0 and b"error" not in done.stderr

    def _consolidate(self) -> None:
        """Make one pack of many, whole, with what no reference leads to: generations need it."""
        if len(list((self.mirror.path / "objects/pack").glob("*.pack"))) > _PACKS:
            self.mirror.run(["repack", "-a", "-d", "-q", "--keep-unreachable"], 600)

    def _tidy(self) -> None:
        """Remove what a killed fetch leaves: locks for ever, and files that cost the limit anew."""
        locks = (*self.mirror.path.glob("*.lock"), *self.mirror.path.glob("refs/**/*.lock"))
        for path in (*locks, *self.mirror.path.glob("objects/pack/tmp_*")):
            path.unlink()


def _too_large(remote: Remote) -> FetchError:
    return FetchError(
        f"{shown(remote.address)}: larger than {remote.limits.fetch_bytes >> 20} MiB",
        hint="limits: {fetch-size: ...} in config.yaml allows more",
    )


def _candidates(name: str) -> list[str]:
    return ["HEAD"] if name == "HEAD" else [f"refs/heads/{name}", f"refs/tags/{name}"]


def branches(tree: str) -> tuple[str, ...]:
    """Every branch that BRANCH/PATH may begin with, the longest first."""
    return tuple(branch for branch, _ in splits(tree))


def splits(tree: str) -> list[tuple[str, str]]:
    """Every way to read BRANCH/PATH, the longest branch first."""
    parts = [part for part in tree.split("/") if part]
    return [
        ("/".join(parts[:count]), "/".join(parts[count:])) for count in range(len(parts), 0, -1)
    ]
