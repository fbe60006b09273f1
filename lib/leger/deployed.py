"""What is deployed now, in the form in which a compile takes it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from leger_generator.identity import is_same

from leger import author, generation, keeping, prepare, quadlet, remembered, yamlfile
from leger import tree as trees
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
    be had, say. `altered` maps deployments to the files of their tree that somebody changed,
    `found` to the tree as it is then, if it is to make way for another.
    """

    scope: Scope
    old: Generation | None
    lost: dict[str, LegerError] = field(default_factory=dict)
    altered: dict[str, tuple[str, ...]] = field(default_factory=dict)
    found: dict[str, Tree] = field(default_factory=dict)
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

    def touched(self, name: str) -> Tree | None:
        """The tree of `name` as it is on the disk, if it is there and not as it was written."""
        tree = self.built[name].tree if name in self.built else None
        if tree is None or not tree.path.is_dir() or not trees.is_suspect(tree):
            return None
        found = trees.read(tree.path)
        return found if differing(tree, found) else None

    def _open(self, name: str) -> None:
        assert self.old is not None
        built = self.built[name]
        try:
            if built.tree.path.is_dir():
                item = prepare.reopen(definition(self.scope, self.old, name), built)
            else:
                item = self.made_again(name)
        except LegerError as error:
            self.lost[name] = error
            return
        self._opened[name] = item
        if changed := differing(built.tree, item.tree):
            self.altered[name] = changed

    def made_again(self, name: str) -> Prepared:
        """The deployment with its tree as its commit makes it, put right or written anew.

        Raises LegerError if the commit cannot be had or makes another tree now.
        """
        from leger import git

        assert self.old is not None
        built, defined = self.built[name], definition(self.scope, self.old, name)
        commit = git.fetch(self.scope, pinned(defined, built.commit))
        remembered.forget(self.scope, name)  # it goes by times, which do not tell all
        made = prepare.prepare(self.scope, defined, commit, mend=True, verified=True)
        if made.tree.path != built.tree.path:
            raise LegerError(
                f"{name}: {built.tree.path} cannot be made again as it was",
                hint=f"leger apply {name}",
            )
        return made


def altered(name: str, file: Path) -> LegerError:
    """Why the deployment `name` cannot have the tree again in which somebody changed `file`."""
    return LegerError(f"{name}: {file} was changed by hand", hint=f"leger apply {name}")


def differing(before: Tree, after: Tree) -> tuple[str, ...]:
    """The files that are not the same in two trees; nothing if what was before is not known."""
    if not before.files:
        return ()
    paths = sorted(before.files.keys() | after.files.keys())
    return tuple(path for path in paths if before.files.get(path) != after.files.get(path))


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
        return _as_found(deployed, old)
    try:
        again = compiler.compile_scope(
            deployed.scope, deployed.prepared(), quadlet=quadlet.installed()
        )
    except LegerError as error:
        report(f"warning: what runs cannot be compiled again, so all of it counts: {error}")
        return _as_found(deployed, old)
    at_fault = {fault.deployment for fault in again.faults}
    if at_fault - old.deployments.keys():
        return _as_found(deployed, old)
    guilty = at_fault | deployed.lost.keys() | deployed.altered.keys()
    return _as_found(deployed, keeping.keep(old, again, guilty))


def _as_found(deployed: Deployed, old: Compiled) -> Compiled:
    """`old`, as what runs may have read it: with what somebody made of its files."""
    found = {
        name: replace(built, tree=replace(built.tree, files=deployed.found[name].files))
        for name, built in old.deployments.items()
        if name in deployed.found
    }
    return replace(old, deployments={**old.deployments, **found}) if found else old
