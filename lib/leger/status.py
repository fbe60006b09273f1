"""What is deployed and how it runs, gathered without changing anything."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from leger_generator.identity import is_same, quadlet_identity

from leger import changes, disk, generation, systemd
from leger.errors import LegerError
from leger.generation import Current, Generation
from leger.legerdclient import Client
from leger.scope import Scope
from leger.systemd import Manager, State


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


@dataclass(frozen=True)
class Status:
    """The whole scope; `problems` are lines for an administrator."""

    generation: int
    confirmed: bool
    deployments: tuple[DeploymentStatus, ...]
    problems: tuple[str, ...]

    def raw(self) -> dict[str, object]:
        """As JSON takes it."""
        return asdict(self)


def read(scope: Scope) -> Status:
    """The status of `scope`. Raises LegerError where systemd does not run."""
    current = generation.load_current(scope) if _is_readable(scope) else None
    marked = Current.read(scope)
    problems = list(_file_problems(scope, current))
    if current is None:
        return Status(0, True, (), tuple(problems))
    manager = systemd.connect(scope)
    folder = _generator_folder(scope)
    deployments = tuple(_deployments(manager, current, folder))
    problems += list(_recovery_problem(scope, current))
    return Status(
        current.number, marked is not None and marked.confirmed, deployments, tuple(problems)
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


def _deployments(manager: Manager, current: Generation, folder: Path) -> Iterator[DeploymentStatus]:
    built = current.compiled.deployments
    loaded = manager.instances(
        sorted({name for one in built.values() for name in one.units if changes.is_template(name)})
    )
    for name, one in sorted(built.items()):
        names = sorted(changes.members([one], loaded))
        states = manager.states(names)
        units = tuple(_unit(manager, unit, states.get(unit, State()), folder) for unit in names)
        yield DeploymentStatus(name, one.commit, one.source, units)


def _unit(manager: Manager, name: str, state: State, folder: Path) -> UnitStatus:
    note = ""
    if state.load == "not-found":
        note = "not loaded: leger settle mends it"
    else:
        fragment = manager.fragment(name)
        if fragment is not None and folder not in fragment.parents:
            note = f"overridden by {fragment}"
        elif state.active == "failed":
            note = f"journalctl -b -u {name}"
    return UnitStatus(name, state.load, state.active, state.sub, note)


def _generator_folder(scope: Scope) -> Path:
    if scope.name == "system":
        return Path("/run/systemd/generator")
    return scope.runtime.parent / "systemd/generator"


def _file_problems(scope: Scope, current: Generation | None) -> Iterator[str]:
    if scope.switch.exists():
        yield "a switch was interrupted: the next leger command that changes units takes it up"
    if current is None:
        return
    if generation.emitted_point(scope) != current.point:
        yield f"{scope.units} is not that of generation {current.number}: leger settle mends it"
    yield from _emitted_problems(scope, current)
    try:
        path = str(current.compiled.quadlet.get("path", ""))
        if path and not is_same(quadlet_identity(path), dict(current.compiled.quadlet)):
            yield "podman's quadlet was replaced since the last deploy: units are rendered at boot"
    except OSError:
        yield f"{path} is gone: podman is not installed"
    for name, built in sorted(current.compiled.deployments.items()):
        if not built.tree.path.is_dir():
            yield f"{name}: its tree {built.tree.path} is gone: leger deploy update {name}"


def _emitted_problems(scope: Scope, current: Generation) -> Iterator[str]:
    try:
        note = json.loads(disk.read_file(scope.runtime / "emitted.json"))
        if note.get("blake2b") != current.digest:
            yield "the generator emitted another generation: systemctl daemon-reload, leger settle"
        for problem in note.get("problems", ()):
            yield f"the generator said: {problem}"
    except (LegerError, ValueError, AttributeError):
        yield "the generator has left no note since the boot: systemctl daemon-reload"


def _recovery_problem(scope: Scope, current: Generation) -> Iterator[str]:
    has_secrets = any(built.bindings for built in current.compiled.deployments.values())
    if scope.name == "system" and has_secrets and Client().recovery_key() == "":
        yield "there is no recovery key for legerd's secrets: legerd recovery-key makes one"
