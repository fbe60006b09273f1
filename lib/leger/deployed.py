"""What is deployed now, in the form in which a compile takes it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace

from leger_generator.identity import is_same

from leger import author, generation, keeping, quadlet, yamlfile
from leger.deployment import Deployment, Health, definitions, dump, load
from leger.errors import LegerError
from leger.generation import EMPTY, Generation
from leger.model import Built, Compiled, Tree
from leger.prepare import Prepared
from leger.scope import Scope


def definition(scope: Scope, old: Generation, name: str) -> Deployment:
    """The deployment `name` as it was defined when it was deployed."""
    text = old.definitions.get(name)
    if text is None:
        path = definitions(scope).get(name)
        if path is None:
            raise LegerError(f"{name}: neither its manifest nor its definition is left")
        return load(scope, path)
    where = str(generation.manifest_path(scope, old.number))
    return Deployment.parse(yamlfile.parse(text.encode(), where), name=name, scope=scope.name)


def pinned(deployment: Deployment, commit: str) -> Deployment:
    """The deployment at `commit`, whatever its branch names by now."""
    return replace(deployment, ref=commit)


@dataclass
class Deployed:
    """What runs, opened as far as it was asked for.

    `lost` are deployments that cannot be compiled again: their tree is gone and its commit cannot
    be had, say. `altered` maps deployments to the files of their tree that somebody changed.
    """

    scope: Scope
    old: Generation | None
    lost: dict[str, LegerError] = field(default_factory=dict)
    altered: dict[str, tuple[str, ...]] = field(default_factory=dict)
    _opened: dict[str, Prepared] = field(default_factory=dict)

    @property
    def built(self) -> Mapping[str, Built]:
        """What is deployed, by name."""
        return self.old.compiled.deployments if self.old else {}

    def prepared(self, without: Collection[str] = ()) -> dict[str, Prepared]:
        """All that is deployed but for `without` and what is lost."""
        for name in self.built:
            if name not in without and name not in self._opened and name not in self.lost:
                self._open(name)
        return {name: item for name, item in self._opened.items() if name not in without}

    def all_prepared(self, without: Collection[str] = ()) -> dict[str, Prepared]:
        """All that is deployed but for `without`. Raises LegerError if something is lost."""
        found = self.prepared(without)
        for name, error in self.lost.items():
            raise LegerError(f"{name}: {error}", hint=error.hint)
        return found

    def text(self, name: str) -> str:
        """The definition of `name` as text; "" if nothing of it is left."""
        assert self.old is not None
        try:
            return (
                self.old.definitions.get(name)
                or dump(definition(self.scope, self.old, name)).decode()
            )
        except LegerError:
            return ""

    def _open(self, name: str) -> None:
        assert self.old is not None
        try:
            item = _again(self.scope, definition(self.scope, self.old, name), self.built[name])
        except LegerError as error:
            self.lost[name] = error
            return
        self._opened[name] = item
        if changed := differing(self.built[name].tree, item.tree):
            self.altered[name] = changed


def differing(before: Tree, after: Tree) -> tuple[str, ...]:
    """The files that are not the same in two trees; nothing if what was before is not known."""
    if not before.files:
        return ()
    paths = sorted(before.files.keys() | after.files.keys())
    return tuple(path for path in paths if before.files.get(path) != after.files.get(path))


def _again(scope: Scope, deployment: Deployment, built: Built) -> Prepared:
    """The deployment as it is; a tree that was lost is made again from its commit."""
    from leger import git, prepare

    if built.tree.path.is_dir():
        return prepare.reopen(deployment, built)
    commit = git.fetch(scope, pinned(deployment, built.commit))
    return prepare.prepare(scope, deployment, commit, verified=True)


def health(items: Iterable[Prepared]) -> Health:
    """The longest time that one of `items` may take to start, and the longest quiet time."""
    found = [author.health(item.deployment, item.author) for item in items]
    return Health(
        timeout=max((one.timeout for one in found), default=Health.timeout),
        quiet=max((one.quiet for one in found), default=Health.quiet),
    )


def comparable(
    deployed: Deployed, binary: Mapping[str, object], report: Callable[[str], None]
) -> Compiled:
    """What runs, through the quadlet `binary` of the new set: podman's own changes do not count.

    A deployment whose tree is not there any more as it was, or has faults now, is as it was
    compiled then; so are all of them if the whole compile failed.
    """
    from leger import compile as compiler

    if deployed.old is None:
        return EMPTY
    old = deployed.old.compiled
    if is_same(old.quadlet, binary):
        return old
    try:
        again = compiler.compile_scope(
            deployed.scope, deployed.prepared(), quadlet=quadlet.installed()
        )
    except LegerError as error:
        report(f"warning: what runs cannot be compiled again, so all of it counts: {error}")
        return old
    at_fault = {fault.deployment for fault in again.faults}
    if at_fault - old.deployments.keys():
        return old
    return keeping.keep(old, again, at_fault | deployed.lost.keys() | deployed.altered.keys())
