"""Secrets that have another value now than the running units got: who has to restart for them.

The hook notes at each start what a unit got, by the tags of the values. legerd tells in one call
which of these it would not hand out any more. Nothing of Podman is asked, no value is looked at.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from leger import changes, disk, generation
from leger.errors import LegerError
from leger.generation import Generation
from leger.model import Binding, Built, Compiled, Unit
from leger.scope import Scope
from leger.systemd import Manager, State, settled_states


@dataclass(frozen=True)
class Rotated:
    """A unit that runs (or failed) with another value of a secret than it would start with now.

    `podman` is the Podman secret's name (SECRET/KEY for a key of a Kubernetes Secret), `legerd`
    legerd's, `version` the one that it would start with; `how` is restart or reload.
    """

    unit: str
    deployment: str
    podman: str
    legerd: str
    version: int
    how: str

    @property
    def why(self) -> str:
        """In words, as `plan` and the history say it."""
        return f"secret {self.podman} has version {self.version} of {self.legerd}"


def held(scope: Scope) -> frozenset[str]:
    """The Podman secrets that units asked for since the boot."""
    units = [path.name for path in scope.started.iterdir()] if scope.started.is_dir() else []
    return frozenset(name.partition("/")[0] for unit in units for name in _note(scope, unit))


def marked(compiled: Compiled, rotated: Iterable[Rotated]) -> Compiled:
    """`compiled`, in which what `rotated` is about differs from what it was: for comparing only."""
    versions = {(one.unit, one.podman): -one.version for one in rotated}
    return replace(
        compiled,
        deployments={
            name: replace(
                built,
                bindings=tuple(
                    replace(binding, units=(unit,), version=version)
                    for binding in built.bindings
                    for unit in binding.units
                    for version in (versions.get((unit, binding.podman), binding.version),)
                ),
            )
            for name, built in compiled.deployments.items()
        },
    )


def reasons(rotated: Iterable[Rotated]) -> dict[str, str]:
    """Why each of the units has to restart or reload."""
    found: dict[str, str] = {}
    for one in rotated:
        found[one.unit] = f"{found[one.unit]}; {one.why}" if one.unit in found else one.why
    return found


@dataclass(frozen=True)
class _Held:
    """What one unit got for one binding; "" if that is not known, because it failed before."""

    unit: str
    deployment: str
    binding: Binding
    how: str
    tag: str


def due(scope: Scope, manager: Manager, report: Callable[[str], None]) -> tuple[Rotated, ...]:
    """The units that rotated secrets concern; none while legerd cannot be asked, which is said."""
    if not scope.started.is_dir():
        return ()
    from leger.legerdclient import UnreachableError  # many hosts and commands have no secrets

    try:
        return changed(scope, manager, generation.load_current(scope))
    except UnreachableError as error:
        report(f"warning: rotated secrets are not looked for: {error}")
        return ()


def changed(scope: Scope, manager: Manager, current: Generation | None) -> tuple[Rotated, ...]:
    """The units of `current` that rotated secrets concern; those that leave it alone are not.

    Raises UnreachableError when there is something to ask and legerd does not answer.
    """
    if current is None or not scope.started.is_dir():
        return ()
    held = list(_held(scope, manager, current))
    if not held:
        return ()
    from leger.legerdclient import Client

    asked = list(dict.fromkeys((one.binding.legerd, one.binding.version, one.tag) for one in held))
    newer = dict(zip(asked, Client().newer(asked), strict=True))
    return tuple(
        Rotated(one.unit, one.deployment, one.binding.podman, one.binding.legerd, version, one.how)
        for one in sorted(held, key=lambda one: (one.unit, one.binding.podman))
        if (version := newer[one.binding.legerd, one.binding.version, one.tag])
    )


def _held(scope: Scope, manager: Manager, current: Generation) -> Iterator[_Held]:
    """What the units that run have, as far as it matters to them that it changes."""
    bound = [
        (built, binding, unit)
        for built in current.compiled.deployments.values()
        for binding in built.bindings
        for unit in binding.units
        if "%" not in binding.legerd and _how(built, unit) != "none"
    ]
    states = settled_states(manager, sorted({unit for _, _, unit in bound}))
    notes = {unit: _note(scope, unit) for unit, state in states.items() if state.live}
    for built, binding, unit in bound:
        tag = notes.get(unit, {}).get(binding.podman, "")
        if _is_concerned(states.get(unit, State()), _unit(built, unit), tag):
            yield _Held(unit, built.name, binding, _how(built, unit), tag)


def _is_concerned(state: State, unit: Unit | None, tag: str) -> bool:
    """Whether another value means anything: to what runs, and to what failed for want of it."""
    if not state.live or (unit is not None and unit.oneshot and state.sub == "exited"):
        return False
    return bool(tag) or state.active == "failed"


def _unit(built: Built, name: str) -> Unit | None:
    return built.units.get(name) or built.units.get(changes.template_of(name))


def _how(built: Built, name: str) -> str:
    unit = _unit(built, name)
    return (unit.on_secret_change if unit else "") or built.on_secret_change


def _note(scope: Scope, unit: str) -> Mapping[str, str]:
    """What the hook noted when the unit started: the tag of each Podman secret's value."""
    try:
        raw = json.loads(disk.read_file(scope.started / unit))
    except (LegerError, ValueError):
        return {}
    return {str(name): str(tag) for name, tag in raw.items()} if isinstance(raw, dict) else {}
