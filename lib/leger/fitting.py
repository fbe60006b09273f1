"""How much of a wish can be deployed together: what is faulty is taken out, with its reason.

All of the scope is compiled again without it, so that it does not hold back the others: it stays
as it was deployed.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from leger import adoption, keeping, quadlet
from leger.deployed import Deployed
from leger.errors import BugError, LegerError, bugs, contained
from leger.faults import FaultsError
from leger.model import Compiled, Fault
from leger.prepare import Prepared
from leger.scope import Scope
from leger.wish import Wish

_TRIES = 32  # compiles to find out who was in the way of whom
_ALONE = 10.0  # seconds for quadlet over one deployment


@dataclass
class Fitting:
    """What of `wish` is left: `fresh` deployments beside what is deployed, and those `removed`.

    `refused` has the reason for each that was taken out, `absent` the secrets that are missing.
    """

    scope: Scope
    wish: Wish
    deployed: Deployed
    fresh: dict[str, Prepared]
    refused: dict[str, LegerError]
    removed: frozenset[str] = frozenset()
    warnings: list[Fault] = field(default_factory=list)
    absent: dict[Fault, None] = field(default_factory=dict)
    _set_aside: dict[str, Prepared] = field(default_factory=dict)

    def fit(self) -> Compiled:
        """The compiled set of all that can be deployed together."""
        self.removed = self.wish.removed & self.deployed.built.keys()
        self._refuse_removals()
        new = self._all_fit()
        return self._all_fit() if self._readmit() else new

    def returning(self, fresh: Collection[str]) -> tuple[str, ...]:
        """The host's files that come back beside `fresh`: none whose place one that stays has."""
        staying = self.deployed.built.keys() - self.removed - {*fresh}
        lent = adoption.lent(self.deployed.old.compiled, staying) if self.deployed.old else set()
        return tuple(path for path in self.wish.restore if path not in lent)

    def as_deployed(self, new: Compiled, names: Collection[str]) -> Compiled:
        """`new`, in which `names` stay as they were deployed, whatever is wrong with them."""
        present = self.deployed.built.keys() & set(names)
        if self.deployed.old is None or not present:
            return new
        kept = keeping.keep(self.deployed.old.compiled, new, present)
        self.warnings += kept.warnings[len(new.warnings) :]
        self.warnings += [
            Fault(name, f"{self.deployed.lost[name]}; it stays as it was deployed")
            for name in sorted(present & self.deployed.lost.keys())
        ]
        return kept

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

    def _all_fit(self) -> Compiled:
        while True:
            try:
                with contained("compile"):
                    new = self._compile(self.fresh)
            except quadlet.QuadletError as error:
                self._refuse_endless(error)
                continue
            except BugError as error:
                self._refuse_breaking(error)
                continue
            faults = [*new.faults, *self._missing_secrets(new, self.fresh)]
            named = {fault.deployment for fault in faults}
            guilty = named & self.fresh.keys()
            if not guilty and not self._are_known(faults):
                guilty = self._culprits()
            if not guilty:
                return self.as_deployed(new, {*named, *self.deployed.lost} - self.removed)
            self._refuse(guilty, faults)

    def _refuse_endless(self, error: quadlet.QuadletError) -> None:
        """Refuse those over which quadlet does not end; raises `error` if it ends over each."""
        user = self.scope.name == "user"
        endless: dict[str, LegerError] = {}
        for name, item in self.fresh.items():
            try:
                quadlet.run(quadlet.installed(), [item.tree.path], user=user, timeout=_ALONE)
            except quadlet.QuadletError as own:
                endless[name] = own
        if not endless:
            raise error
        self.refused |= endless
        self.fresh = {name: item for name, item in self.fresh.items() if name not in endless}

    def _refuse_breaking(self, error: BugError) -> None:
        """Refuse those that cannot be compiled alone for a bug; raises `error` if all can be."""
        breaking = bugs(self.fresh, lambda name: self._compile({name: self.fresh[name]}))
        if not breaking:
            raise error
        self.refused |= breaking
        self.fresh = {name: item for name, item in self.fresh.items() if name not in breaking}

    def _readmit(self) -> bool:
        """Take back those set aside that only another one was in the way of, if there are any."""
        halves = [list(self._set_aside)] if len(self._set_aside) > 1 else []
        left = _TRIES
        again: dict[str, Prepared] = {}
        while halves and left:
            names = halves.pop()
            for half in (names[len(names) // 2 :], names[: len(names) // 2]):
                wanted = {name: self._set_aside[name] for name in half}
                left -= 1
                if self._is_fit(self.fresh | again | wanted):
                    again |= wanted
                elif len(half) > 1:
                    halves.append(half)
        self.fresh |= again
        self.refused = {name: why for name, why in self.refused.items() if name not in again}
        return bool(again)

    def _is_fit(self, fresh: Mapping[str, Prepared]) -> bool:
        try:
            new = self._compile(fresh)
        except quadlet.QuadletError:
            return False
        return self._are_known(new.faults) and not self._missing_secrets(new, fresh)

    def _compile(self, fresh: Mapping[str, Prepared]) -> Compiled:
        from leger import compile as compiler

        kept = self.deployed.prepared(self.removed | fresh.keys())
        return compiler.compile_scope(
            self.scope,
            kept | dict(fresh),
            quadlet=quadlet.installed(),
            adopt=fresh.keys() if self.wish.adopt else self.wish.held.keys() & fresh.keys(),
            returning=self.returning(fresh),
        )

    def _are_known(self, faults: Iterable[Fault]) -> bool:
        """Whether what is deployed has all these faults by itself, under another podman, say."""
        return all(str(fault) in self._known for fault in faults)

    @functools.cached_property
    def _known(self) -> frozenset[str]:
        from leger import compile as compiler

        alone = compiler.compile_scope(
            self.scope, self.deployed.prepared(), quadlet=quadlet.installed()
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
                self._set_aside[name] = self.fresh.pop(name)
        self.removed -= set(guilty)

    def _culprits(self) -> set[str]:
        """Those without whom the deployments that stay have no new faults."""
        accepted: dict[str, Prepared] = {}
        for name, item in sorted(self.fresh.items()):
            if self._are_known(self._compile(accepted | {name: item}).faults):
                accepted[name] = item
        return (self.fresh.keys() - accepted.keys()) or {*self.fresh, *self.removed}
