"""`leger doctor`: what `status` has no time for, every part of an installation looked at once.

Each check tells what is as it should be in one line, or what is not, each with what mends it.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from leger_generator.identity import is_same, quadlet_identity

from leger import (
    collect,
    drift,
    emitted,
    generation,
    hostfolders,
    podman,
    processes,
    quadlet,
    systemd,
    tree,
    yamlfile,
)
from leger.errors import LegerError
from leger.generation import Current, Generation
from leger.legerdclient import Client, UnreachableError
from leger.scope import Scope
from leger.systemctl import Systemctl

GENERATORS = Path("/usr/lib/systemd")
HOOK = Path("/usr/libexec/leger/secrets-hook")
_PRIVATE = ("manifests", "sources", "staged", "backups")
_CATATONIT = ("/usr/libexec/podman/catatonit", "/usr/lib/podman/catatonit", "/usr/bin/catatonit")


@dataclass(frozen=True)
class Line:
    """One thing that was looked at; without `ok`, `mend` is what to do about it."""

    ok: bool
    text: str
    mend: str = ""

    def raw(self) -> dict[str, object]:
        """As JSON takes it."""
        return asdict(self)


@dataclass(frozen=True)
class Patient:
    """What the checks look at; `current` is None before the first deploy."""

    scope: Scope
    current: Generation | None

    @property
    def user(self) -> bool:
        return self.scope.name == "user"

    @property
    def bound(self) -> tuple[str, ...]:
        """The units that need secrets."""
        built = self.current.compiled.deployments.values() if self.current else ()
        return tuple(u for one in built for binding in one.bindings for u in binding.units)


Check = Callable[[Patient], Iterator[Line]]


def examine(scope: Scope) -> Iterator[Line]:
    """Look at everything; a check that cannot be made is a line of its own."""
    systemd.insist()
    try:
        current = generation.load_current(scope)
    except LegerError as error:
        yield Line(False, str(error), error.hint)
        current = None
    patient = Patient(scope, current)
    for check in CHECKS:
        try:
            yield from check(patient)
        except LegerError as error:
            yield Line(False, str(error), error.hint)


def _all_or(found: list[Line], well: str) -> Iterator[Line]:
    yield from found or [Line(True, well)]


def programs(patient: Patient) -> Iterator[Line]:
    """The generator, the hook and podman's quadlet are installed."""
    kind = "user" if patient.user else "system"
    found = [
        Line(False, f"{path} is not there or cannot be run", "install leger again")
        for path in (GENERATORS / f"{kind}-generators/leger-generator", HOOK)
        if not os.access(path, os.X_OK)
    ]
    yield from _all_or(found, "the generator and the hook are installed")
    binary = quadlet.installed()
    recorded = patient.current.compiled.quadlet if patient.current else {}
    if recorded and not is_same(quadlet_identity(str(binary)), dict(recorded)):
        yield Line(True, f"{binary} was replaced since the last deploy: units are rendered at boot")
    else:
        yield Line(True, f"{binary} is the one that the units were made with")


def pods(patient: Patient) -> Iterator[Line]:
    """Pods need catatonit, which podman only recommends."""
    built = patient.current.compiled.deployments.values() if patient.current else ()
    has_pods = any(unit.kind == "pod" for one in built for unit in one.units.values())
    if has_pods and not any(Path(path).exists() for path in _CATATONIT):
        yield Line(False, "pods do not start without catatonit", "install catatonit")


def files(patient: Patient) -> Iterator[Line]:
    """units.json, `current`, switch.json and the manifests belong together and can be read."""
    scope, found = patient.scope, []
    if scope.switch.exists():
        found.append(Line(False, "a switch was interrupted", "leger settle"))
    if scope.current.exists() and Current.read(scope) is None:
        found.append(
            Line(False, f"{scope.current} cannot be understood", "leger deploy update --all")
        )
    for number in generation.numbers(scope):
        try:
            generation.load(scope, number)
        except LegerError as error:
            path = generation.manifest_path(scope, number)
            found.append(Line(False, str(error), f"rm {path}, unless it is the current one"))
    yield from _all_or(found, f"{len(generation.numbers(scope))} generations can be read")


def modes(patient: Patient) -> Iterator[Line]:
    """Nobody else can write what decides what runs, nor read what is private."""
    scope = patient.scope
    public = (scope.etc, scope.deployments, scope.config, scope.units, scope.state)
    found = [line for path in (*public, scope.store, scope.data) if (line := _mode(path, 0o022))]
    private = (*(scope.state / name for name in _PRIVATE), scope.current, scope.switch)
    found += [line for path in private if (line := _mode(path, 0o077))]
    yield from _all_or(found, "files and folders have their owner and mode")


def _mode(path: Path, forbidden: int) -> Line | None:
    """What is wrong with the owner or the mode of `path`, if it is there."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise LegerError(f"{path}: {error.strerror}", hint="use sudo, or leger --user") from error
    if status.st_uid != os.getuid():
        text = f"{path} belongs to uid {status.st_uid}"
        return Line(False, text, f"chown {os.getuid()} {path}")
    mode = stat.S_IMODE(status.st_mode)
    if mode & forbidden:
        text = f"{path} has mode {mode:04o}, which lets others in"
        return Line(False, text, f"chmod {mode & ~forbidden:04o} {path}")
    return None


def trees(patient: Patient) -> Iterator[Line]:
    """Every tree is what its name says; drift tells of those that run."""
    compiled = patient.current.compiled if patient.current else generation.EMPTY
    deployed = {one.tree.path for one in compiled.deployments.values()}
    store = patient.scope.store
    used = collect.mounted()
    found, number = [], 0
    for path in sorted(store.iterdir()) if store.is_dir() else ():
        if path.name.startswith(".") or path in deployed:
            continue
        if path.is_symlink() or not path.is_dir():
            found.append(Line(False, f"{path} is none of Leger's", f"rm {path}"))
            continue
        number += 1
        if tree.read(path).digest != path.name.rpartition("-")[2]:
            found.append(_changed(path, is_used=path.name in used))
    yield from _all_or(found, f"{number} trees that no deployment has now are as they were written")


def _changed(path: Path, *, is_used: bool) -> Line:
    """A tree that was changed by hand; without a file that runs have mounted these turn empty."""
    if path.name.startswith(f"{hostfolders.NAME}-"):
        return Line(False, f"{path} was changed by hand", "leger apply")
    if is_used:
        text = f"{path} was changed by hand, and a container that runs still has it mounted"
        return Line(False, text, "leger service restart its deployment; then it is removed")
    text = f"{path} was changed by hand; nothing that runs uses it"
    return Line(False, text, f"rm -r {path}: it is made again when it is needed")


def drifted(patient: Patient) -> Iterator[Line]:
    """Everything that `leger status` tells, with every file of every tree read."""
    if patient.current is None:
        yield Line(True, "nothing is deployed")
        return
    manager = Systemctl(patient.user)
    found = drift.read(patient.scope, manager, patient.current, thorough=True)
    lines = [
        Line(False, f"{one.unit}: {one.message}" if one.unit else one.message, one.mend)
        for one in found
    ]
    number = len(patient.current.compiled.deployments)
    yield from _all_or(lines, f"{number} deployments are as generation {patient.current.number} is")


def generator(patient: Patient) -> Iterator[Line]:
    """What the generator noted when it ran last."""
    note = emitted.Note.read(patient.scope)
    if note is None:
        if patient.current is not None:
            yield Line(False, "the generator has left no note since the boot", "leger apply")
        return
    lines = [Line(False, f"the generator said: {one}", "leger apply") for one in note.problems]
    yield from _all_or(lines, f"the generator emitted generation {note.point.generation}")


def secrets(patient: Patient) -> Iterator[Line]:
    """Podman can read its secrets."""
    if not patient.bound:
        return
    broken = podman.broken_secrets()
    if not broken:
        yield Line(True, "podman can read its secrets")
        return
    manager = "systemctl --user" if patient.user else "systemctl"
    mend = f"{manager} restart {patient.bound[0]} sets it aside and fills a new one"
    yield Line(False, f"podman cannot read its secrets: {broken}", mend)


def daemon(patient: Patient) -> Iterator[Line]:
    """legerd answers, and there is a recovery key."""
    client = Client()
    own = client.server.path
    if not patient.bound and own and not Path(own).exists():
        yield Line(True, "no unit needs a secret, and legerd is not set up")
        return
    try:
        client.list()
    except UnreachableError as error:
        yield Line(False, str(error), error.hint)
        return
    except LegerError as error:
        yield Line(patient.user, str(error), error.hint)
    else:
        yield Line(True, "legerd answers")
    vault = None if patient.user else client.vault()
    for problem in vault.problems() if vault else ():
        yield Line(False, problem)


def policy(patient: Patient) -> Iterator[Line]:
    """policy.yaml can be read, and only root writes it."""
    path = patient.scope.etc / "policy.yaml"
    if patient.user or not path.exists():
        return
    if line := _mode(path, 0o022):
        yield line
    yamlfile.read(path)
    yield Line(True, f"{path} can be read")


def linger(patient: Patient) -> Iterator[Line]:
    """A user's units run without a login."""
    if not patient.user or not shutil.which("loginctl"):
        return
    command = ["loginctl", "show-user", str(os.getuid()), "--property=Linger", "--value"]
    done = processes.run(command, timeout=10)
    if done.stdout.strip() == b"yes":
        yield Line(True, "your units run without a login")
    else:
        yield Line(False, "your units end with your last login", "loginctl enable-linger")


CHECKS: tuple[Check, ...] = (
    programs,
    files,
    modes,
    generator,
    drifted,
    trees,
    pods,
    secrets,
    daemon,
    policy,
    linger,
)
