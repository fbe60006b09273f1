"""From what an administrator asks to a switch: fetch, prepare, compile, check, switch."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from leger_generator.identity import is_same

from leger import author as authors
from leger import bindings, collect, generation, keeping, settle, switch, yamlfile
from leger.changes import Changes
from leger.deployment import Deployment, definitions, dump, load
from leger.errors import LegerError
from leger.faults import FaultsError
from leger.generation import Generation
from leger.legerdclient import Client
from leger.model import Built, Compiled, Fault
from leger.prepare import Prepared
from leger.scope import Scope
from leger.switch import Host, Step

QUADLET = (Path("/usr/libexec/podman/quadlet"), Path("/usr/lib/podman/quadlet"))


@dataclass(frozen=True)
class Options:
    """How strictly and how far: what the command line may ask for."""

    adopt: bool = False
    dry_run: bool = False
    allow_missing_secrets: bool = False


@dataclass(frozen=True)
class Outcome:
    """What was done, or with `dry_run` what would be."""

    generation: int
    commits: Mapping[str, str]
    changes: Changes
    warnings: tuple[Fault, ...] = ()
    left: tuple[str, ...] = ()


@dataclass(frozen=True)
class Wanted:
    """A compiled set, together with the definitions that made it."""

    compiled: Compiled
    definitions: Mapping[str, str]


def quadlet_binary() -> Path:
    """The host's quadlet generator. Raises LegerError where podman is not installed."""
    for path in QUADLET:
        if path.exists():
            return path
    raise LegerError("podman's quadlet is not installed", hint="install podman")


def deploy(host: Host, wanted: Sequence[Deployment], options: Options) -> Outcome:
    """Bring `wanted` to the newest commit of their refs, all others as they are.

    Raises FaultsError when the content cannot be deployed; then nothing was changed.
    """
    from leger import git, prepare

    scope = host.scope
    settled(host)
    old = generation.load_current(scope)
    fresh = {}
    for deployment in wanted:
        commit = git.fetch(scope, deployment)
        host.report(f"{deployment.name}: commit {commit[:12]}")
        fresh[deployment.name] = prepare.prepare(scope, deployment, commit)
    new = _compile(host, old, fresh, frozenset(), options)
    own = [new.compiled.deployments[name] for name in fresh if name in new.compiled.deployments]
    warnings = _check(scope, new.compiled, own, fresh, options)
    step = _step(scope, wanted, fresh, own)
    names = ", ".join(fresh)
    outcome = switch_over(host, old, new, step, why=f"deploy {names}", dry_run=options.dry_run)
    return replace(outcome, warnings=warnings)


def remove(host: Host, name: str) -> Outcome:
    """Stop and remove the deployment `name` with all that Leger made for it."""
    from leger import removal

    scope = host.scope
    settled(host)
    old = generation.load_current(scope)
    path = scope.deployments / f"{name}.yaml"
    if old is None or name not in old.compiled.deployments:
        if not path.exists():
            raise LegerError(f"there is no deployment {name}", hint="leger deploy list")
        path.unlink()
        return Outcome(old.number if old else 0, {}, Changes())
    others = [other for other, built in old.compiled.deployments.items() if name in built.refers]
    if others:
        raise LegerError(
            f"{', '.join(others)} refers to {name}", hint=f"remove {others[0]} first, or change it"
        )
    new = _compile(host, old, {}, frozenset({name}), Options())
    step = Step(definitions={name: None}, quiet=0.0)
    outcome = switch_over(host, old, new, step, why=f"remove {name}")
    left = removal.leave(scope, old.compiled.deployments[name], new.compiled)
    return replace(outcome, left=left)


def settled(host: Host) -> None:
    """First take up what was interrupted, so that each command finds a whole generation."""
    for line in settle.mend(host):
        host.report(line)


def _step(
    scope: Scope,
    wanted: Sequence[Deployment],
    fresh: Mapping[str, Prepared],
    own: Iterable[Built],
) -> Step:
    health = [authors.health(item, fresh[item.name].author) for item in wanted]
    defined = {
        item.name: dump(item).decode()
        for item in wanted
        if not is_defined_elsewhere(scope, item.name)
    }
    return Step(
        definitions=defined,
        adopt=tuple(str(path) for built in own for path in built.adopted),
        timeout=max((item.timeout for item in health), default=60.0),
        quiet=max((item.quiet for item in health), default=5.0),
    )


def is_defined_elsewhere(scope: Scope, name: str) -> bool:
    """Whether the definition is the vendor's or root's, and so not ours to write."""
    path = definitions(scope).get(name)
    return path is not None and path.parent != scope.deployments


def _compile(
    host: Host,
    old: Generation | None,
    fresh: Mapping[str, Prepared],
    without: frozenset[str],
    options: Options,
) -> Wanted:
    from leger import compile as compiler

    kept = {} if old is None else reopened(host.scope, old, without | fresh.keys())
    prepared = kept | dict(fresh)
    compiled = compiler.compile_scope(
        host.scope,
        prepared,
        quadlet=quadlet_binary(),
        adopt=fresh.keys() if options.adopt else (),
    )
    faulty = {fault.deployment for fault in compiled.faults} - fresh.keys()
    if old is not None and faulty and _were_faulty(host, kept, compiled, faulty):
        compiled = keeping.keep(old.compiled, compiled, faulty)
    definitions = {name: dump(item.deployment).decode() for name, item in prepared.items()}
    return Wanted(compiled, definitions)


def _were_faulty(
    host: Host, kept: Mapping[str, Prepared], compiled: Compiled, faulty: Collection[str]
) -> bool:
    """Whether the faults of `faulty` have nothing to do with what is deployed now."""
    from leger import compile as compiler

    alone = compiler.compile_scope(host.scope, kept, quadlet=quadlet_binary())
    known = {str(fault) for fault in alone.faults}
    return all(str(fault) in known for fault in compiled.faults if fault.deployment in faulty)


def reopened(scope: Scope, old: Generation, without: Collection[str]) -> dict[str, Prepared]:
    """The deployments of `old` as they were prepared then, but those in `without`."""
    return {
        name: _again(scope, defined(scope, old, name), built)
        for name, built in old.compiled.deployments.items()
        if name not in without
    }


def _again(scope: Scope, deployment: Deployment, built: Built) -> Prepared:
    """The deployment as it is; a tree that was lost is made again from its commit."""
    from leger import git, prepare

    if built.tree.path.is_dir():
        return prepare.reopen(scope, deployment, built.tree.path, built.commit)
    commit = git.fetch(scope, replace(deployment, ref=built.commit))
    return prepare.prepare(scope, deployment, commit)


def defined(scope: Scope, old: Generation, name: str) -> Deployment:
    """The deployment `name` as it was defined when it was deployed."""
    text = old.definitions.get(name)
    if text is None:
        path = definitions(scope).get(name)
        if path is None:
            raise LegerError(f"{name}: neither its manifest nor its definition is left")
        return load(scope, path)
    where = str(generation.manifest_path(scope, old.number))
    return Deployment.parse(yamlfile.parse(text.encode(), where), name=name, scope=scope.name)


def _check(
    scope: Scope,
    compiled: Compiled,
    own: Sequence[Built],
    fresh: Mapping[str, Prepared],
    options: Options,
) -> tuple[Fault, ...]:
    """Raise FaultsError if anything forbids the switch; returns the warnings."""
    faults, warnings = list(compiled.faults), list(compiled.warnings)
    for prepared in fresh.values():
        warnings += [item for item in prepared.warnings if item not in warnings]
    absent, unknown = bindings.missing(own, Client())
    if options.allow_missing_secrets:
        warnings += absent
    else:
        faults += absent
    if faults:
        raise FaultsError(faults)
    return (*warnings, *unknown)


def switch_over(
    host: Host,
    old: Generation | None,
    new: Wanted,
    step: Step,
    *,
    why: str,
    dry_run: bool = False,
) -> Outcome:
    """Decide and, unless `dry_run`, switch from `old` to `new`; `why` goes into the history."""
    planned = switch.decide(host.manager, _comparable(host, old, new), new.compiled)
    commits = {name: built.commit for name, built in new.compiled.deployments.items()}
    number = old.number if old else 0
    if not dry_run and not _is_same(old, new):
        target = generation.new(host.scope, new.compiled, new.definitions, why)
        number = switch.switch(host, old, target, planned, step).number
        collect.collect(host.scope)
    return Outcome(number, commits, planned)


def _is_same(old: Generation | None, new: Wanted) -> bool:
    """Whether there is nothing to switch: not a byte of units.json would be another."""
    if old is None:
        return False
    before, after = old.compiled, new.compiled
    return (
        before.files == after.files
        and before.links == after.links
        and is_same(before.quadlet, after.quadlet)
        and old.definitions == new.definitions
        and {name: built.commit for name, built in before.deployments.items()}
        == {name: built.commit for name, built in after.deployments.items()}
    )


def _comparable(host: Host, old: Generation | None, new: Wanted) -> Compiled:
    """The old set through the quadlet of the new one, so that podman's own changes do not count."""
    from leger import compile as compiler

    if old is None:
        return generation.EMPTY
    if is_same(old.compiled.quadlet, new.compiled.quadlet):
        return old.compiled
    try:
        again = compiler.compile_scope(
            host.scope, reopened(host.scope, old, frozenset()), quadlet=quadlet_binary()
        )
    except LegerError as error:
        host.report(f"warning: what runs cannot be compiled again, so all of it counts: {error}")
        return old.compiled
    return old.compiled if again.faults else again
