"""What has to be done, decided before anything is touched: only sources/ and store/ are written.

Each deployment that is asked for is prepared, all of the scope are compiled together, and what
cannot be deployed is set aside with its reason, so that it does not hold back the others: it stays
as it was deployed. The rest is compared with what runs. `leger.applying` does what a plan says.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from leger_generator.identity import is_same

from leger import adoption, changes, comparing, deployed, generation, goback
from leger.changes import Changes
from leger.deployed import Deployed
from leger.deployment import (
    Deployment,
    Health,
    Target,
    definitions,
    dump,
    is_vendors,
    load,
)
from leger.errors import LegerError, contained
from leger.faults import FaultsError
from leger.fitting import Fitting
from leger.generation import Generation
from leger.model import Compiled, Fault, Move
from leger.prepare import Prepared
from leger.scope import Scope
from leger.switch import Host, Step
from leger.wish import Wish

__all__ = ["Plan", "Wish", "between", "commits", "make"]


@dataclass(frozen=True)
class Plan:
    """What turns the generation `old` into `new`, and what of the wish cannot be had.

    `refused` maps deployments to the reason why they stay as they are; `altered` those that stay
    too, because somebody changed their tree in store/ by hand, to the files. `definitions` are the
    texts that belong to `new`, `step` what goes with the switch besides units.
    """

    old: Generation | None
    new: Compiled
    definitions: Mapping[str, str]
    moves: tuple[Move, ...] = ()
    changes: Changes = field(default_factory=Changes)
    step: Step = field(default_factory=Step)
    refused: Mapping[str, LegerError] = field(default_factory=dict)
    altered: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    warnings: tuple[Fault, ...] = ()
    missing_secrets: tuple[Fault, ...] = ()
    removed: frozenset[str] = frozenset()

    @property
    def is_same(self) -> bool:
        """Whether there is nothing to switch: not a byte of units.json would be another."""
        if self.old is None:
            return not self.new.deployments
        before, after = self.old.compiled, self.new
        return (
            before.files == after.files
            and before.links == after.links
            and is_same(before.quadlet, after.quadlet)
            and self.old.definitions == self.definitions
            and commits(before) == commits(after)
            and _settings(before) == _settings(after)
        )

    def faults(self) -> tuple[Fault, ...]:
        """Why deployments are refused, one by one."""
        return tuple(fault for name in self.refused for fault in _faults(name, self.refused[name]))

    def insist(self) -> None:
        """Raise what was refused, if anything was."""
        if len(self.refused) == 1:
            raise next(iter(self.refused.values()))
        if self.refused:
            raise FaultsError(self.faults())


def commits(compiled: Compiled) -> dict[str, str]:
    """The commit of each deployment."""
    return {name: built.commit for name, built in compiled.deployments.items()}


def _settings(compiled: Compiled) -> dict[str, str]:
    return {name: built.settings for name, built in compiled.deployments.items()}


def make(host: Host, wish: Wish) -> Plan:
    """Decide how to come as near to `wish` as its content allows.

    Never raises for what a repository holds (`refused` has that). Raises LegerError when what is
    deployed cannot be read or quadlet cannot be run.
    """
    return _Planner(host, wish).plan()


def between(
    host: Host,
    now: Deployed,
    new: Compiled,
    definitions: Mapping[str, str],
    step: Step,
) -> Plan:
    """The plan that turns what is deployed `now` into `new`, which is fit to be switched to."""
    comparable = deployed.comparable(now, new.quadlet, host.report)
    return Plan(
        old=now.old,
        new=new,
        definitions=definitions,
        moves=_moves(now.old.compiled if now.old else generation.EMPTY, new),
        changes=comparing.decide(host.manager, comparable, new),
        step=step,
        warnings=new.warnings,
    )


class _Planner:
    """One plan in the making."""

    def __init__(self, host: Host, wish: Wish) -> None:
        self.host, self.wish = host, wish
        self.old = generation.load_current(host.scope)
        self.deployed = Deployed(host.scope, self.old)
        refused: dict[str, LegerError] = {}
        fresh = self._prepared(refused)
        self.fitting = Fitting(host.scope, wish, self.deployed, fresh, refused)

    def plan(self) -> Plan:
        fitting = self.fitting
        new = fitting.fit()
        told = [fault for fault in new.warnings if fault.deployment in fitting.fresh]
        altered = {
            name: files
            for name, files in self.deployed.altered.items()
            if name not in fitting.fresh and name not in fitting.removed
        }
        new = fitting.as_deployed(new, altered)
        step = _step(self.host.scope, new, fitting.fresh, fitting.removed, self.wish.reopened)
        new = adoption.carried(new, self._held())
        plan = between(self.host, self.deployed, new, self._definitions(new), step)
        health = self._health(new, plan.changes)
        return replace(
            plan,
            changes=self._with_the_hosts(plan.changes),
            step=replace(
                step,
                restore=fitting.returning(fitting.fresh),
                timeout=health.timeout,
                quiet=health.quiet,
            ),
            refused=fitting.refused,
            altered=altered,
            warnings=tuple(dict.fromkeys([*told, *fitting.warnings])),
            missing_secrets=tuple(fitting.absent),
            removed=fitting.removed,
        )

    def _prepared(self, refused: dict[str, LegerError]) -> dict[str, Prepared]:
        from leger import git

        self._note_lost()
        fresh = dict(self.wish.reopened)
        with git.kept_open():
            for target in self.wish.targets:
                name = target.deployment.name
                try:
                    with contained(name):
                        item = self._prepare(target)
                    if item:
                        fresh[name] = item
                except LegerError as error:
                    refused[name] = error
        return fresh

    def _prepare(self, target: Target) -> Prepared | None:
        """None if its tree is the one that is deployed, and somebody changed that: it is not mended
        behind the back of what runs with it, nor compiled, and the deployment stays as it is.
        """
        from leger import prepare

        name = target.deployment.name
        built = self.deployed.built.get(name)
        spare = built.tree.path if built else None
        item = prepare.prepare(
            self.host.scope, target.deployment, target.commit, mend=True, spare=spare
        )
        is_same = item.tree.path == spare
        if built and (is_same or any(unit.inputs for unit in built.units.values())):
            found = self.deployed.touched(name)
            if found and is_same:
                return None
            if found:
                self.deployed.found[name] = found
        return item

    def _note_lost(self) -> None:
        """A tree that is gone is made again; what has it mounted has no files until it restarts."""
        for built in self.deployed.built.values():
            if built.tree.digest and not built.tree.path.is_dir():
                from leger import drift, owed

                users = drift.readers(built, ["."])
                owed.note(self.host.scope, dict.fromkeys(users, f"{built.tree.path} was gone"))

    def _held(self) -> dict[str, tuple[Path, ...]]:
        """The host's files whose place each deployment has had until now, or has again."""
        built = self.deployed.built.items()
        present = {name: one.adopted for name, one in built if name not in self.fitting.removed}
        reopened = self.wish.reopened.keys() & self.fitting.fresh
        again = {name: self.wish.held.get(name, ()) for name in reopened}
        return present | again

    def _with_the_hosts(self, planned: Changes) -> Changes:
        """`planned`, and the host's own units start that come back for those that stop."""
        units = [unit for built in self.deployed.built.values() for unit in built.units.values()]
        names = adoption.in_place_of(units, self.fitting.returning(self.fitting.fresh))
        again = [name for name in planned.gone if {name, changes.template_of(name)} & names]
        return replace(
            planned,
            start=(*planned.start, *(name for name in again if name in planned.stop)),
            why={**planned.why, **dict.fromkeys(again, "the host's own comes back")},
        )

    def _health(self, new: Compiled, planned: Changes) -> Health:
        """With the patience that all need whose units start, whoever was changed."""
        fresh = self.fitting.fresh
        begun = (*planned.restart, *planned.reload, *planned.start)
        names = {goback.owner(new, unit) for unit in begun}
        items = self.deployed.prepared(self.fitting.removed | fresh.keys()) | fresh
        return deployed.health(item for name, item in items.items() if name in names)

    def _definitions(self, new: Compiled) -> dict[str, str]:
        """The definition of each deployment of `new` as it is used."""
        return {
            name: dump(self.fitting.fresh[name].deployment).decode()
            if name in self.fitting.fresh
            else self.deployed.text(name)
            for name in new.deployments
        }


def _moves(before: Compiled, after: Compiled) -> tuple[Move, ...]:
    old, new = commits(before), commits(after)
    return tuple(
        Move(name, old.get(name, ""), new.get(name, ""))
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    )


def _step(
    scope: Scope,
    new: Compiled,
    fresh: Mapping[str, Prepared],
    removed: Collection[str],
    reopened: Collection[str],
) -> Step:
    places = definitions(scope)
    written = {
        name: dump(item.deployment).decode()
        for name, item in fresh.items()
        if _is_to_write(scope, item.deployment, places.get(name), again=name in reopened)
    }
    adopted = [str(path) for name in fresh for path in new.deployments[name].adopted]
    return Step(
        definitions=written | dict.fromkeys(removed),
        adopt=tuple(adopted),
    )


def _is_to_write(scope: Scope, deployment: Deployment, path: Path | None, *, again: bool) -> bool:
    """Whether the definition is ours to write, and its file `path` says something else.

    Of a vendor's the host gets one of its own that wins, but not to have it `again` as it was.
    """
    if path is None:
        return True
    if path.parent != scope.deployments and (again or not is_vendors(scope, path)):
        return False
    try:
        return load(scope, path) != deployment
    except LegerError:
        return True


def _faults(name: str, error: LegerError) -> tuple[Fault, ...]:
    if isinstance(error, FaultsError):
        return error.faults
    return (Fault(name, str(error).removeprefix(f"{name}: "), hint=error.hint),)
