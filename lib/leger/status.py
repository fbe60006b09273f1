"""What is deployed and how it runs, gathered without changing anything."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

from leger_generator.identity import is_same, quadlet_identity

from leger import drift, generation, systemd
from leger.drift import Drift, Seen
from leger.emitted import Note
from leger.errors import LegerError
from leger.generation import Current, Generation
from leger.scope import Scope
from leger.systemctl import Systemctl
from leger.systemd import State


@dataclass(frozen=True)
class UnitStatus:
    """A unit in systemd's words; `note` says what an administrator should know of it."""

    name: str
    load: str
    active: str
    sub: str
    note: str = ""


@dataclass(frozen=True)
class DeploymentStatus:
    """A deployment and its units."""

    name: str
    commit: str
    source: str
    units: tuple[UnitStatus, ...]

    def raw(self) -> dict[str, object]:
        """As JSON takes it."""
        return asdict(self)


@dataclass(frozen=True)
class Status:
    """The whole scope; `problems` are lines for an administrator."""

    generation: int
    confirmed: bool
    deployments: tuple[DeploymentStatus, ...]
    problems: tuple[str, ...]
    drift: tuple[Drift, ...] = ()

    def raw(self) -> dict[str, object]:
        """As JSON takes it."""
        return asdict(self)


def read(scope: Scope) -> Status:
    """The status of `scope`. Raises LegerError where systemd does not run."""
    current = generation.load_current(scope) if _is_readable(scope) else None
    marked = Current.read(scope)
    if current is None:
        return Status(0, True, (), tuple(_interrupted(scope)))
    systemd.insist()
    seen = drift.observe(scope, Systemctl(scope.name == "user"), current)
    drifts = drift.compare(scope, current, seen)
    problems = (
        *_interrupted(scope),
        *(f"{one.message}: {one.mend}" for one in drifts if not one.unit),
        *_generator_problems(scope, current),
        *_quadlet_problems(current),
        *_vault_problems(scope, current),
    )
    return Status(
        current.number,
        marked is not None and marked.confirmed,
        tuple(_deployments(current, seen, drifts)),
        problems,
        drifts,
    )


def _is_readable(scope: Scope) -> bool:
    try:
        scope.current.read_bytes()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise LegerError(
            f"{scope.current}: {error.strerror}", hint="use sudo, or leger --user for your own"
        ) from error
    return True


def _deployments(
    current: Generation, seen: Seen, drifts: Sequence[Drift]
) -> Iterator[DeploymentStatus]:
    notes: dict[str, list[str]] = {}
    for one in drifts:
        notes.setdefault(one.unit, []).append(one.message)
    for name, built in sorted(current.compiled.deployments.items()):
        units = tuple(
            _unit(unit, seen.states.get(unit, State()), notes.get(unit, ()))
            for unit, member in sorted(seen.units.items())
            if member.deployment == name
        )
        yield DeploymentStatus(name, built.commit, built.source, units)


def _unit(name: str, state: State, notes: Sequence[str]) -> UnitStatus:
    return UnitStatus(name, state.load, state.active, state.sub, "; ".join(notes))


def _interrupted(scope: Scope) -> Iterator[str]:
    if scope.switch.exists():
        yield "a switch was interrupted: the next leger command that changes units takes it up"
    if scope.backup_journal.exists():
        yield "a backup or restore is at work or was interrupted: the next such command takes it up"


def _generator_problems(scope: Scope, current: Generation) -> Iterator[str]:
    """What the generator said, unless it was about a units.json that is whole again."""
    note = Note.read(scope)
    if note is None or (note.is_stand_in and generation.is_in_place(scope, current.point)):
        return
    for problem in note.problems:
        yield f"the generator said: {problem}"


def _quadlet_problems(current: Generation) -> Iterator[str]:
    path = str(current.compiled.quadlet.get("path", ""))
    try:
        if path and not is_same(quadlet_identity(path), dict(current.compiled.quadlet)):
            yield "podman's quadlet was replaced since the last deploy: units are rendered at boot"
    except OSError:
        yield f"{path} is gone: podman is not installed"


def _vault_problems(scope: Scope, current: Generation) -> Iterator[str]:
    if scope.name == "system" and any(b.bindings for b in current.compiled.deployments.values()):
        from leger.legerdclient import Client

        if vault := Client().vault():
            yield from vault.problems()
