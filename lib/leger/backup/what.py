"""What belongs to a deployment: its volumes by their real names, its data, and who uses them."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from leger import changes, kube, podman
from leger.backup.rules import Rules
from leger.model import Built, Compiled, Unit
from leger.podman import Container, Volume
from leger.scope import Scope
from leger.secretrefs import expand
from leger.unitfile import UnitFile, words

_RUNNING = ("container", "pod", "kube", "plain")
_STARTERS = (".timer", ".socket", ".path")
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*")
_YAML = (".yaml", ".yml")


@dataclass(frozen=True)
class Users:
    """Who uses what is saved: units, running containers, strangers.

    `units` are those to stop (starters first), `plain` those of them that use it without a
    container, `held` those that may not start meanwhile, up or not. `containers` are ids of theirs;
    `strangers` are names of containers that belong to no unit of Leger's.
    """

    units: tuple[str, ...] = ()
    plain: tuple[str, ...] = ()
    held: tuple[str, ...] = ()
    containers: tuple[str, ...] = ()
    strangers: tuple[str, ...] = ()


def volumes(compiled: Compiled, name: str) -> tuple[str, ...]:
    """The volumes of the deployment `name`: those of its quadlets, and no other deployment's."""
    owned = {
        unit.resource
        for other, built in compiled.deployments.items()
        for unit in built.units.values()
        if other != name and unit.kind == "volume"
    }
    built = compiled.deployments.get(name)
    if built is None:
        return ()
    found = {volume for unit in _members(built) for volume in used(unit, built)}
    return tuple(sorted(found - owned))


def unshared(compiled: Compiled, name: str) -> tuple[str, ...]:
    """The volumes of `name` that no other deployment uses."""
    others = {
        volume
        for other, built in compiled.deployments.items()
        if other != name
        for unit in _members(built)
        for volume in used(unit, built)
    }
    return tuple(volume for volume in volumes(compiled, name) if volume not in others)


def used(unit: Unit, built: Built) -> set[str]:
    """The volumes that one unit makes or mounts, by their real names."""
    if unit.kind == "volume":
        return {unit.resource}
    if unit.kind == "kube":
        return set(_claims(unit, built))
    if unit.kind not in ("container", "pod"):
        return set()
    parsed = UnitFile.parse(unit.text)
    found: set[str] = set()
    for key in ("ExecStartPre", "ExecStart"):
        for value in parsed.values("Service", key):
            found |= set(_mounted([expand(word, unit.name) for word in words(value)]))
    return {name for name in found if _NAME.fullmatch(name)}


def _mounted(command: list[str]) -> Iterator[str]:
    """The sources of a podman command's mounts, in all spellings that quadlet writes."""
    for word, following in zip(command, [*command[1:], ""], strict=True):
        option, equals, value = word.partition("=")
        given = value if equals else following
        if option in ("-v", "--volume"):
            yield given.partition(":")[0]
        elif option == "--mount":
            pairs = dict(part.partition("=")[::2] for part in given.split(","))
            if pairs.get("type", "volume") == "volume":
                yield pairs.get("source") or pairs.get("src") or ""


def _claims(unit: Unit, built: Built) -> Iterator[str]:
    for path in unit.inputs:
        file = built.tree.path / path
        if path.endswith(_YAML) and file.is_file():
            yield from kube.claims(file.read_bytes(), path)


def _members(built: Built) -> Iterator[Unit]:
    """The units of a deployment, a template as each of its instances."""
    for name, member in changes.members([built]).items():
        yield member.unit if member.unit.name == name else replace(member.unit, name=name)


def chosen(compiled: Compiled, name: str, rules: Rules) -> tuple[list[Volume], list[str]]:
    """The volumes to save, and what is left out with the reason, by `rules`."""
    there = podman.volumes()
    wanted = sorted({*volumes(compiled, name), *rules.volumes})
    found: list[Volume] = []
    left: list[str] = []
    for volume in wanted:
        if rules.leaves_out(volume) or volume not in there:
            continue
        if there[volume].is_elsewhere:
            left.append(f"volume {volume}: what it holds lies elsewhere, by its options")
        else:
            found.append(there[volume])
    return found, left


def users(
    scope: Scope,
    compiled: Compiled,
    names: Collection[str],
    data: str,
    active: Mapping[str, bool],
) -> Users:
    """Who uses the volumes `names`, or data of the deployment `data` ("": nobody's).

    `active` says of each unit of Leger's whether there is something to stop.
    """
    folder = f"{scope.data / data}/" if data else "\0"
    running = [one for one in podman.containers() if _touches(one, names, folder)]
    known = {unit.name: unit for built in compiled.deployments.values() for unit in _members(built)}
    plain = {name for name, unit in known.items() if unit.kind == "plain"}
    own = {
        unit.name: built
        for built in compiled.deployments.values()
        for unit in _members(built)
        if active.get(unit.name)
    }
    direct = {
        unit.name
        for built in compiled.deployments.values()
        for unit in _members(built)
        if unit.kind in _RUNNING and (used(unit, built) & set(names) or folder in unit.text)
    }
    direct |= {one.unit for one in running}
    direct |= set(_pods(compiled, direct))
    concerned = {own[name].name for name in direct if name in own}
    starters = {name for name in own if name.endswith(_STARTERS) and own[name].name in concerned}
    return Users(
        units=(*sorted(starters), *sorted(direct & own.keys() - starters)),
        plain=tuple(sorted(direct & own.keys() & plain - starters)),
        held=tuple(sorted((direct & known.keys()) | starters)),
        containers=tuple(one.id for one in running if one.unit in own),
        strangers=tuple(one.name for one in running if one.unit not in own),
    )


def _touches(container: Container, names: Collection[str], folder: str) -> bool:
    below = any(f"{path}/".startswith(folder) for path in container.paths)
    return below or bool(container.volumes.intersection(names))


def _pods(compiled: Compiled, names: Iterable[str]) -> Iterator[str]:
    """The pods that members among `names` run in: they are stopped and started as a whole."""
    wanted = set(names)
    for built in compiled.deployments.values():
        for unit in _members(built):
            if unit.name in wanted and unit.pod:
                yield unit.pod
