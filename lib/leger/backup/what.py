"""What belongs to a deployment: its volumes by their real names, its data, and who uses them."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from leger import changes, podman
from leger.backup import mounts
from leger.backup.rules import Rules
from leger.model import Built, Compiled, Unit
from leger.podman import Volume
from leger.scope import Scope

_RUNNING = ("container", "pod", "kube", "plain")
_STARTERS = (".timer", ".socket", ".path")
_PATH = re.compile(r"/[^\s:,;=\"']+")


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


def volumes(
    scope: Scope, compiled: Compiled, name: str, loaded: Collection[str] = ()
) -> tuple[str, ...]:
    """The volumes of the deployment `name`: those of its quadlets, but for what another defines.

    That is another deployment, or a quadlet of the host's own. Of its templates these are the
    volumes of the instances that a boot starts, and of those among `loaded`.
    """
    theirs = {
        unit.resource
        for other, built in compiled.deployments.items()
        for unit in built.units.values()
        if other != name and unit.kind == "volume"
    }
    found = _named(compiled, name, loaded)
    return tuple(sorted(found - theirs - mounts.made_by_host(scope).keys()))


def unshared(
    scope: Scope, compiled: Compiled, name: str, loaded: Collection[str] = ()
) -> tuple[str, ...]:
    """The volumes of `name` that no other deployment and no quadlet of the host's own uses."""
    others = {
        volume
        for other in compiled.deployments.keys() - {name}
        for volume in _named(compiled, other, loaded)
    }
    others |= mounts.of_host(scope)
    return tuple(one for one in volumes(scope, compiled, name, loaded) if one not in others)


def _named(compiled: Compiled, name: str, loaded: Collection[str]) -> set[str]:
    """The volumes that the quadlets of the deployment `name` make or mount."""
    return {
        volume
        for built in compiled.deployments.values()
        if built.name == name
        for unit in _members(built, loaded)
        for volume in mounts.of_unit(unit, built)
    }


def _members(built: Built, loaded: Collection[str]) -> Iterator[Unit]:
    """The units of a deployment, a template as each of its known and `loaded` instances."""
    for name, member in changes.members([built], loaded).items():
        yield member.unit if member.unit.name == name else replace(member.unit, name=name)


def chosen(
    scope: Scope, compiled: Compiled, name: str, rules: Rules, loaded: Collection[str]
) -> tuple[list[Volume], list[str]]:
    """The volumes to save, and what is left out with the reason, by `rules`."""
    there = podman.volumes()
    wanted = {*volumes(scope, compiled, name, loaded), *rules.volumes}
    hosts = mounts.made_by_host(scope)
    found: list[Volume] = []
    left: list[str] = []
    for volume in sorted(wanted | (_named(compiled, name, loaded) & hosts.keys())):
        if rules.leaves_out(volume) or volume not in there:
            continue
        if volume not in wanted:
            left.append(f"volume {volume}: it is the host's own, by {hosts[volume]}")
        elif there[volume].is_elsewhere:
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

    def touches(volumes: Collection[str], paths: Iterable[str]) -> bool:
        return bool({*volumes} & {*names}) or bool(data and _reached(scope, data, paths))

    members = [
        (unit, built) for built in compiled.deployments.values() for unit in _members(built, active)
    ]
    known = {unit.name for unit, _ in members}
    plain = {unit.name for unit, _ in members if unit.kind == "plain"}
    own = {unit.name: built for unit, built in members if active.get(unit.name)}
    direct = {
        unit.name
        for unit, built in members
        if unit.kind in _RUNNING and touches(mounts.of_unit(unit, built), _paths(scope, unit))
    }
    running = [one for one in podman.containers() if touches(one.volumes, one.paths)]
    direct |= {one.unit for one in running}
    direct |= {unit.pod for unit, _ in members if unit.name in direct and unit.pod}
    concerned = {own[name].name for name in direct if name in own}
    starters = {name for name in own if name.endswith(_STARTERS) and own[name].name in concerned}
    return Users(
        units=(*sorted(starters), *sorted(direct & own.keys() - starters)),
        plain=tuple(sorted(direct & own.keys() & plain - starters)),
        held=tuple(sorted((direct & known) | starters)),
        containers=tuple(one.id for one in running if one.unit in own),
        strangers=tuple(one.name for one in running if one.unit not in own),
    )


def _paths(scope: Scope, unit: Unit) -> Iterator[str]:
    """The absolute paths that a unit's text names."""
    text = unit.text.replace("%S", str(scope.state.parent)).replace("%h", str(Path.home()))
    return (match[0] for match in _PATH.finditer(text))


def _reached(scope: Scope, data: str, paths: Iterable[str]) -> bool:
    """Whether one of `paths` is data of the deployment `data`, lies in it or holds it.

    Who has / or /var looks at the whole host: of the folders above, only Leger's own count.
    """
    folder = f"{scope.data / data}/"
    ends = [f"{path.rstrip('/')}/" for path in paths]
    above = (f"{scope.state}/", f"{scope.data}/")
    return any(path.startswith(folder) or path in above for path in ends)
