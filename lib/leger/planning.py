"""What has to be done, decided before anything is touched: only sources/ and store/ are written.

Each deployment that is asked for is prepared, all of the scope are compiled together, and what
cannot be deployed is set aside with its reason, so that it does not hold back the others: it stays
as it was deployed. The rest is compared with what runs. `leger.applying` does what a plan says.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from leger_generator.identity import is_same

from leger import adoption, changes, comparing, deployed, generation, keeping, quadlet
from leger import author as authors
from leger.changes import Changes
from leger.deployed import Deployed
from leger.deployment import Deployment, Target, definitions, dump, load
from leger.errors import LegerError
from leger.faults import FaultsError
from leger.generation import Generation
from leger.model import Compiled, Fault, Move
from leger.prepare import Prepared
from leger.scope import Scope
from leger.switch import Host, Step

_MANY = 16


@dataclass(frozen=True)
class Wish:
    """What is asked for: deployments to bring to a commit, others to remove, the rest as it is.

    `reopened` are deployments that are prepared already, as an earlier generation had them.
    `adopt` lets the targets take over the host's own quadlets; `held` are those that `reopened`
    had taken over then, and does again; `restore` those that come back. `allow_missing_secrets`
    makes a warning of a secret that legerd does not have.
    """

    targets: tuple[Target, ...] = ()
    removed: frozenset[str] = frozenset()
    reopened: Mapping[str, Prepared] = field(default_factory=dict)
    adopt: bool = False
    held: Mapping[str, tuple[Path, ...]] = field(default_factory=dict)
    restore: tuple[str, ...] = ()
    allow_missing_secrets: bool = False


@dataclass(frozen=True)
class Plan:
    """What turns the generation `old` into `new`, and what of the wish cannot be had.

    `refused` maps deployments to the reason why they stay as they are; `altered` to the files of
    their tree in store/ that somebody changed by hand. `definitions` are the texts that belong to
    `new`, `step` what goes with the switch besides units.
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
        altered=dict(now.altered),
        warnings=new.warnings,
    )


class _Planner:
    """One plan in the making: targets are taken out of `fresh` as they prove unfit."""

    def __init__(self, host: Host, wish: Wish) -> None:
        self.host, self.wish = host, wish
        self.old = generation.load_current(host.scope)
        self.deployed = Deployed(host.scope, self.old)
        self.removed = wish.removed & self.deployed.built.keys()
        self.refused: dict[str, LegerError] = {}
        self.set_aside: dict[str, Prepared] = {}
        self.warnings: list[Fault] = []
        self.absent: dict[Fault, None] = {}
        self.fresh = self._prepared()

    def plan(self) -> Plan:
        self._refuse_removals()
        new = self._fit()
        if self._readmit():
            new = self._fit()
        told = [fault for fault in new.warnings if fault.deployment in self.fresh]
        new = self._as_deployed(new, self.deployed.altered)
        step = replace(
            _step(self.host.scope, new, self.fresh, self.removed), restore=self.wish.restore
        )
        new = adoption.carried(new, self._held())
        plan = between(self.host, self.deployed, new, self._definitions(new), step)
        return replace(
            plan,
            changes=self._with_the_hosts(plan.changes),
            refused=self.refused,
            warnings=tuple(dict.fromkeys([*told, *self.warnings])),
            missing_secrets=tuple(self.absent),
            removed=self.removed,
        )

    def _prepared(self) -> dict[str, Prepared]:
        from leger import git, prepare

        fresh = dict(self.wish.reopened)
        with git.kept_open():
            for target in self.wish.targets:
                name = target.deployment.name
                try:
                    fresh[name] = prepare.prepare(
                        self.host.scope, target.deployment, target.commit, mend=True
                    )
                except LegerError as error:
                    self.refused[name] = error
        return fresh

    def _refuse_removals(self) -> None:
        """What others that stay refer to cannot go; what that refers to stays too."""
        for name in sorted(self.removed):
            users = [
                other
                for other, built in self.deployed.built.items()
                if name in built.refers and other not in self.removed | self.fresh.keys()
            ]
            if users:
                self.removed -= {name}
                self.refused[name] = LegerError(
                    f"{', '.join(users)} refers to {name}",
                    hint=f"remove {users[0]} first, or change it",
                )
                self._refuse_removals()
                return

    def _fit(self) -> Compiled:
        """The compiled set of all that can be deployed together."""
        while True:
            new = self._compile(self.fresh)
            faults = [*new.faults, *self._missing_secrets(new, self.fresh)]
            named = {fault.deployment for fault in faults}
            guilty = named & self.fresh.keys()
            if not guilty and self._are_known(faults):
                return self._as_deployed(new, {*named, *self.deployed.lost})
            self._refuse(guilty or self._culprits(), faults)

    def _readmit(self) -> bool:
        """Take back those set aside that only another one was in the way of, if there are any."""
        if not 1 < len(self.set_aside) <= _MANY:
            return False
        alone = {
            name: item
            for name, item in self.set_aside.items()
            if self._is_fit(self.fresh | {name: item})
        }
        if not alone or not self._is_fit(self.fresh | alone):
            return False
        self.fresh |= alone
        self.refused = {name: why for name, why in self.refused.items() if name not in alone}
        return True

    def _is_fit(self, fresh: Mapping[str, Prepared]) -> bool:
        new = self._compile(fresh)
        return self._are_known(new.faults) and not self._missing_secrets(new, fresh)

    def _compile(self, fresh: Mapping[str, Prepared]) -> Compiled:
        from leger import compile as compiler

        kept = self.deployed.prepared(self.removed | fresh.keys())
        return compiler.compile_scope(
            self.host.scope,
            kept | dict(fresh),
            quadlet=quadlet.installed(),
            adopt=fresh.keys() if self.wish.adopt else self.wish.held.keys() & fresh.keys(),
            returning=self.wish.restore,
        )

    def _are_known(self, faults: Iterable[Fault]) -> bool:
        """Whether what is deployed has all these faults by itself, under another podman, say."""
        return all(str(fault) in self._known for fault in faults)

    @functools.cached_property
    def _known(self) -> frozenset[str]:
        from leger import compile as compiler

        alone = compiler.compile_scope(
            self.host.scope, self.deployed.prepared(), quadlet=quadlet.installed()
        )
        return frozenset(map(str, alone.faults))

    def _missing_secrets(self, new: Compiled, fresh: Mapping[str, Prepared]) -> list[Fault]:
        own = [new.deployments[name] for name in fresh if name in new.deployments]
        if not any(built.bindings for built in own):
            return []
        from leger import bindings
        from leger.legerdclient import Client

        absent, unknown = bindings.missing(own, Client())
        self.warnings += unknown
        self.absent |= dict.fromkeys(absent)
        if self.wish.allow_missing_secrets:
            self.warnings += absent
            return []
        return absent

    def _refuse(self, guilty: Collection[str], faults: Sequence[Fault]) -> None:
        """Take `guilty` out of the wish: they stay as they are, for the faults that name them."""
        strange = [fault for fault in faults if not self._are_known([fault])]
        for name in sorted(guilty):
            own = [fault for fault in faults if fault.deployment == name]
            self.refused[name] = FaultsError(own or strange)
            if name in self.fresh:
                self.set_aside[name] = self.fresh.pop(name)
        self.removed -= set(guilty)

    def _culprits(self) -> set[str]:
        """Those without whom the deployments that stay have no new faults."""
        accepted: dict[str, Prepared] = {}
        for name, item in sorted(self.fresh.items()):
            if self._are_known(self._compile(accepted | {name: item}).faults):
                accepted[name] = item
        return (self.fresh.keys() - accepted.keys()) or {*self.fresh, *self.removed}

    def _as_deployed(self, new: Compiled, names: Collection[str]) -> Compiled:
        """`new`, in which `names` stay as they were deployed, whatever is wrong with them."""
        present = self.deployed.built.keys() & set(names)
        if self.old is None or not present:
            return new
        kept = keeping.keep(self.old.compiled, new, present)
        self.warnings += kept.warnings[len(new.warnings) :]
        self.warnings += [
            Fault(name, f"{self.deployed.lost[name]}; it stays as it was deployed")
            for name in sorted(present & self.deployed.lost.keys())
        ]
        return kept

    def _held(self) -> dict[str, tuple[Path, ...]]:
        """The host's files whose place each deployment has had until now, or has again."""
        built = self.deployed.built.items()
        present = {name: one.adopted for name, one in built if name not in self.removed}
        again = {name: self.wish.held.get(name, ()) for name in self.wish.reopened}
        return present | again

    def _with_the_hosts(self, planned: Changes) -> Changes:
        """`planned`, and the host's own units start that come back for those that stop."""
        units = [unit for built in self.deployed.built.values() for unit in built.units.values()]
        names = adoption.in_place_of(units, self.wish.restore)
        again = [name for name in planned.gone if {name, changes.template_of(name)} & names]
        return replace(
            planned,
            start=(*planned.start, *(name for name in again if name in planned.stop)),
            why={**planned.why, **dict.fromkeys(again, "the host's own comes back")},
        )

    def _definitions(self, new: Compiled) -> dict[str, str]:
        """The definition of each deployment of `new` as it is used."""
        return {
            name: dump(self.fresh[name].deployment).decode()
            if name in self.fresh
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
    scope: Scope, new: Compiled, fresh: Mapping[str, Prepared], removed: Collection[str]
) -> Step:
    places = definitions(scope)
    health = [authors.health(item.deployment, item.author) for item in fresh.values()]
    written = {
        name: dump(item.deployment).decode()
        for name, item in fresh.items()
        if _is_to_write(scope, item.deployment, places.get(name))
    }
    adopted = [str(path) for name in fresh for path in new.deployments[name].adopted]
    return Step(
        definitions=written | dict.fromkeys(removed),
        adopt=tuple(adopted),
        timeout=max((item.timeout for item in health), default=60.0),
        quiet=max((item.quiet for item in health), default=0.0),
    )


def _is_to_write(scope: Scope, deployment: Deployment, path: Path | None) -> bool:
    """Whether the file `path` of the definition is ours to write, and says something else."""
    if path is None or path.parent != scope.deployments:
        return path is None
    try:
        return load(scope, path) != deployment
    except LegerError:
        return True


def _faults(name: str, error: LegerError) -> tuple[Fault, ...]:
    if isinstance(error, FaultsError):
        return error.faults
    return (Fault(name, str(error).removeprefix(f"{name}: "), hint=error.hint),)
