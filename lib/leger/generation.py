"""Generations: what was switched to, when and why; and the files that decide what runs.

manifests/N.json holds all that the next comparison and a roll back need, manifests/N.units.json
the units.json of that generation. /etc/leger/units.json decides what runs; `current` names the
generation that belongs there, so that a reset /etc is noticed.
"""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from leger_generator import plan

from leger import builtjson, disk
from leger.errors import LegerError
from leger.model import Built, Compiled, Tree, Unit
from leger.scope import Scope

FORMAT = 1
MAX_BYTES = 256 << 20
_KEYS = ("number", "scope", "created", "who", "why", "digest", "bad", "images")


@dataclass(frozen=True)
class Point:
    """A generation's number and the checksum of its units.json ("" and 0: before the first)."""

    generation: int = 0
    digest: str = ""


@dataclass(frozen=True)
class Current:
    """The file `current`: which generation belongs in /etc, and whether it was seen healthy."""

    point: Point
    confirmed: bool

    @classmethod
    def read(cls, scope: Scope) -> Self | None:
        """What `current` says; None before the first switch or if it cannot be understood."""
        try:
            raw = json.loads(disk.read_file(scope.current, 4096))
            point = Point(int(raw["generation"]), str(raw["blake2b"]))
            return cls(point, raw.get("confirmed") is True)
        except (LegerError, ValueError, KeyError, TypeError):
            return None

    def write(self, scope: Scope) -> None:
        """Replace `current`."""
        raw = {
            "generation": self.point.generation,
            "blake2b": self.point.digest,
            "confirmed": self.confirmed,
        }
        disk.write_file(scope.current, json.dumps(raw).encode() + b"\n", 0o600)


@dataclass(frozen=True)
class Generation:
    """One manifest: who switched to what and why; `bad` is the reason it was given up.

    `created` is Unix time in seconds; `definitions` holds each deployment's YAML as it was used,
    `own` names those that the host's own folder defines (no vendor, no fleet), `images` the id
    that each image had which its units name.
    """

    number: int
    scope: str
    compiled: Compiled
    definitions: Mapping[str, str] = field(default_factory=dict)
    created: float = 0.0
    who: str = ""
    why: str = ""
    digest: str = ""
    bad: str = ""
    images: Mapping[str, str] = field(default_factory=dict)
    own: Sequence[str] = ()

    @property
    def point(self) -> Point:
        """What `current` and switch.json call it by."""
        return Point(self.number, self.digest)

    def save(self, scope: Scope) -> Self:
        """Make manifests/N.json and N.units.json durable; returns it with its checksum."""
        try:
            data = plan.encode(self._plan())
        except plan.PlanError as error:
            raise LegerError(f"units.json cannot be written: {error}") from error
        done = replace(self, digest=plan.head_digest(data))
        disk.make_folder(scope.manifests)
        disk.write_file(units_path(scope, self.number), data, 0o600)
        done.save_manifest(scope)
        _keep(scope, done)
        return done

    def save_manifest(self, scope: Scope) -> None:
        """Replace manifests/N.json alone."""
        data = json.dumps(_raw(self), ensure_ascii=False, separators=(",", ":")).encode()
        disk.write_file(manifest_path(scope, self.number), data + b"\n", 0o600)

    def _plan(self) -> plan.Plan:
        compiled = self.compiled
        return plan.Plan(
            self.number,
            self.scope,
            quadlet=compiled.quadlet,
            deployments={
                name: {"store": str(built.tree.path), "commit": built.commit}
                for name, built in compiled.deployments.items()
            },
            search=compiled.search,
            files={path: plan.File.parse(path, entry) for path, entry in compiled.files.items()},
            links=compiled.links,
        )


EMPTY = Compiled(deployments={}, files={}, links={}, search=(), quadlet={})


def manifest_path(scope: Scope, number: int) -> Path:
    """Where the manifest of generation `number` lies."""
    return scope.manifests / f"{number}.json"


def units_path(scope: Scope, number: int) -> Path:
    """Where the copy of the units.json of generation `number` lies."""
    return scope.manifests / f"{number}.units.json"


def numbers(scope: Scope) -> list[int]:
    """The generations that are kept, oldest first."""
    names = (path.name.removesuffix(".json") for path in scope.manifests.glob("*.json"))
    return sorted(int(name) for name in names if name.isdigit())


def good_before(scope: Scope, number: int) -> int:
    """The last generation before `number` that was not given up; 0 if there is none.

    One that cannot be read is no way back either.
    """
    for other in reversed(numbers(scope)):
        with contextlib.suppress(LegerError):
            if other < number and not load(scope, other).bad:
                return other
    return 0


def next_number(scope: Scope) -> int:
    """A number that no generation has had."""
    current = Current.read(scope)
    return max([0, *numbers(scope), current.point.generation if current else 0]) + 1


def caller() -> str:
    """Who runs this: the user behind sudo where there is one."""
    uid = int(os.environ.get("SUDO_UID") or os.environ.get("LEGER_UID") or os.getuid())
    try:
        return f"{pwd.getpwuid(uid).pw_name}({uid})"
    except KeyError:
        return f"({uid})"


def new(
    scope: Scope,
    compiled: Compiled,
    definitions: Mapping[str, str],
    why: str,
    written: Iterable[str] = (),
) -> Generation:
    """The next generation of `scope`, not yet saved.

    `written` are deployments that the host itself will define with it.
    """
    from leger import deployment  # yaml, which `leger status` does not need

    return Generation(
        next_number(scope),
        scope.name,
        compiled,
        definitions,
        time.time(),
        caller(),
        why,
        own=tuple(sorted({*deployment.own(scope, compiled.deployments), *written})),
    )


def load(scope: Scope, number: int) -> Generation:
    """Read generation `number`, once while its files stay. Raises LegerError naming the file."""
    path, units = manifest_path(scope, number), units_path(scope, number)
    identities = disk.identity(path), disk.identity(units)
    known = _loaded.get(path)
    if known is not None and known[0] == identities:
        return _remember(path, identities, known[1])
    try:
        found = _load(path, units)
    except (ValueError, KeyError, TypeError, plan.PlanError) as error:
        raise LegerError(
            f"{path}: the manifest of generation {number} is damaged: {error}",
            hint=f"deploy again; the units of {scope.units} run on",
        ) from error
    return _remember(path, identities, found)


_loaded: dict[Path, tuple[object, Generation]] = {}
_MOST = 3


def _keep(scope: Scope, saved: Generation) -> None:
    """What was just written need not be read again: it is at hand as it would be read."""
    path, units = manifest_path(scope, saved.number), units_path(scope, saved.number)
    read = replace(saved, compiled=replace(saved.compiled, faults=(), warnings=()))
    _remember(path, (disk.identity(path), disk.identity(units)), read)


def _remember(path: Path, identities: object, found: Generation) -> Generation:
    _loaded.pop(path, None)
    if len(_loaded) >= _MOST:
        del _loaded[next(iter(_loaded))]
    _loaded[path] = identities, found
    return found


def _load(path: Path, units: Path) -> Generation:
    raw = json.loads(disk.read_file(path, MAX_BYTES))
    return _parse(raw, plan.decode(disk.read_file(units, plan.MAX_BYTES)))


def load_current(scope: Scope) -> Generation | None:
    """The generation that `current` names; None before the first switch.

    Without `current` (/var was lost) it is what units.json tells: its units, nothing of their
    trees.
    """
    current = Current.read(scope)
    if current is not None:
        return load(scope, current.point.generation) if current.point.generation else None
    try:
        return _from_units(plan.decode(disk.read_file(scope.units, plan.MAX_BYTES)))
    except (LegerError, plan.PlanError):
        return None


def is_known(scope: Scope, point: Point) -> bool:
    """Whether the files of the generation `point` are there, and whole."""
    try:
        return load(scope, point.generation).digest == point.digest
    except LegerError:
        return False


def record(scope: Scope) -> int:
    """Make the files of the generation that units.json holds, where they were lost with /var.

    It can then be gone back to, and the numbers go on from its own. Returns that number, or 0
    where units.json is not whole. Raises LegerError where the disk refuses.
    """
    try:
        data = disk.read_file(scope.units, plan.MAX_BYTES)
        found = _from_units(plan.decode(data))
    except (LegerError, plan.PlanError):
        return 0
    if not is_known(scope, found.point):
        disk.make_folder(scope.manifests)
        disk.write_file(units_path(scope, found.number), data, 0o600)
        written = scope.units.stat().st_mtime
        replace(found, created=written, why="found in units.json").save_manifest(scope)
    if Current.read(scope) is None:
        Current(found.point, confirmed=True).write(scope)
    return found.number


def emitted_point(scope: Scope) -> Point | None:
    """What /etc/leger/units.json holds; None if it is missing or not whole."""
    try:
        decoded = plan.decode(disk.read_file(scope.units, plan.MAX_BYTES))
    except (LegerError, plan.PlanError):
        return None
    return Point(decoded.generation, decoded.digest)


def is_in_place(scope: Scope, point: Point) -> bool:
    """Whether /etc/leger/units.json is, whole, that of the generation `point`."""
    try:
        return plan.seal(disk.read_file(scope.units, plan.MAX_BYTES))[0] == point.digest
    except (LegerError, plan.PlanError):
        return False


def commit(scope: Scope, point: Point) -> None:
    """Replace units.json by that of generation `point`: what runs is decided here."""
    data = disk.read_file(units_path(scope, point.generation), plan.MAX_BYTES)
    disk.make_folder(scope.etc, 0o755)
    if scope.units.exists():
        disk.write_file(scope.units_previous, disk.read_file(scope.units, plan.MAX_BYTES))
    disk.write_file(scope.units, data)


def with_images(scope: Scope, number: int, images: Mapping[str, str]) -> None:
    """Record in manifest `number` which ids the images had in the end."""
    replace(load(scope, number), images=images).save_manifest(scope)


def forget(scope: Scope, number: int) -> None:
    """Remove the files of a generation that was never switched to or is no longer kept."""
    for path in (manifest_path(scope, number), units_path(scope, number)):
        path.unlink(missing_ok=True)


def forget_after(scope: Scope, number: int) -> None:
    """Remove the generations after `number`, which were saved and never switched to."""
    for other in numbers(scope):
        if other > number:
            forget(scope, other)


def _raw(generation: Generation) -> dict[str, object]:
    return {
        "format": FORMAT,
        **{key: getattr(generation, key) for key in _KEYS},
        "own": list(generation.own),
        "deployments": {
            name: builtjson.dump(built) | {"definition": generation.definitions.get(name, "")}
            for name, built in generation.compiled.deployments.items()
        },
    }


def _parse(raw: Any, decoded: plan.Plan) -> Generation:
    if raw["format"] != FORMAT:
        raise ValueError(f"format {raw['format']}")
    deployments = raw["deployments"]
    files = {path: entry.raw() for path, entry in decoded.files.items()}
    compiled = Compiled(
        deployments={
            name: builtjson.parse(name, item, files) for name, item in deployments.items()
        },
        files=files,
        links=decoded.links,
        search=decoded.search,
        quadlet=decoded.quadlet,
    )
    return Generation(
        compiled=compiled,
        definitions={
            name: item["definition"] for name, item in deployments.items() if item["definition"]
        },
        own=tuple(raw.get("own", ())),
        **{key: raw[key] for key in _KEYS if key in raw},
    )


def _from_units(decoded: plan.Plan) -> Generation:
    files = {path: entry.raw() for path, entry in decoded.files.items()}
    deployments = {
        name: Built(
            name=name,
            commit=item["commit"],
            source="",
            tree=Tree(Path(item["store"]), "", {}),
            units={
                path: Unit(path, name, "plain", path, entry.text, normal=entry.text)
                for path, entry in decoded.files.items()
                if entry.deployment == name and "/" not in path
            },
            bindings=(),
        )
        for name, item in decoded.deployments.items()
    }
    compiled = Compiled(deployments, files, decoded.links, decoded.search, decoded.quadlet)
    return Generation(decoded.generation, decoded.scope, compiled, digest=decoded.digest)
