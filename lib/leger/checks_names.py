"""Checks of names: of files, units, aliases, drop-ins, and of what Podman calls them."""

from __future__ import annotations

from collections.abc import Iterator

from leger_generator.names import is_link

from leger import sources
from leger.model import Fault, Unit
from leger.sources import Source
from leger.unitfile import words
from leger.world import World


def files_of_one_name(world: World) -> Iterator[Fault]:
    """Quadlet would silently take the first of two files of one name."""
    first: dict[str, Source] = {}
    for source in world.sources:
        twin = first.setdefault(source.name, source)
        if twin.deployment != source.deployment:
            message = f"deployment {twin.deployment} has a {source.name} too"
            yield Fault(source.deployment, message, source.path)


def files_of_the_host(world: World) -> Iterator[Fault]:
    """The host's own quadlets keep their names."""
    for source in world.sources:
        if source.name in world.host_files and source.name not in world.adopted:
            message = f"the host has {world.host_files[source.name]}"
            hint = "leger deploy install --adopt takes it over"
            yield Fault(source.deployment, message, source.path, hint=hint)


def units_of_one_name(world: World) -> Iterator[Fault]:
    """Two units, by ServiceName= or a plain unit, can claim one name."""
    first: dict[str, tuple[str, str]] = {}
    for name, deployment, path in sorted(world.claims()):
        other, twin = first.setdefault(name, (deployment, path))
        is_file = path.rpartition("/")[2] == twin.rpartition("/")[2]
        if (other, twin) != (deployment, path) and not is_file:
            owner = "" if other == deployment else f" of deployment {other}"
            yield Fault(deployment, f"makes {name}, and so does {twin}{owner}", path)


def units_outside(world: World) -> Iterator[Fault]:
    """A generated unit would win over the host's unit of the same name in /usr/lib."""
    for name, deployment, path in world.claims():
        if world.replaces(deployment, name):
            continue
        hint = f"give it another name, or allow it: replaces: [{name}] in deployments.d/"
        if name in world.host_units:
            message = f"makes {name}, and so does the host's {world.host_units[name]}"
            yield Fault(deployment, message, path)
        elif name not in world.own_units and (folder := world.outside(name)):
            message = f"makes {name}, which the host has in {folder}"
            yield Fault(deployment, message, path, hint=hint)


def units_overridden(world: World) -> Iterator[Fault]:
    """A warning: the host put a unit of its own (or a mask) beside one that was ours already."""
    for unit in world.units:
        known = unit.name in world.own_units and not world.replaces(unit.deployment, unit.name)
        if known and (folder := world.outside(unit.name)):
            message = f"{folder}/{unit.name} stands beside what it makes"
            yield Fault(unit.deployment, message, unit.source, hint=f"systemctl cat {unit.name}")


def dropins_outside(world: World) -> Iterator[Fault]:
    """A drop-in changes a unit of its own deployment only."""
    for deployment, dropins in world.dropins.items():
        own = {unit.name for unit in world.units if unit.deployment == deployment}
        own |= {source.unit for source in world.sources if source.deployment == deployment}
        templates = {name.partition("@")[0] + "@" for name in own if "@." in name}
        for path, file in dropins.items():
            target = path.partition("/")[0].removesuffix(".d")
            instance = target.partition("@")[0] + "@" in templates
            if target not in own and not instance and not world.replaces(deployment, target):
                message = f"changes {target}, which is not a unit of this deployment"
                yield Fault(deployment, message, file)


def quadlet_dropins_outside(world: World) -> Iterator[Fault]:
    """A quadlet's drop-in for a quadlet of another deployment, or of nobody."""
    for deployment, prepared in world.prepared.items():
        own = {
            target
            for source in world.sources
            if source.deployment == deployment
            for target in sources.targets(source.name)
        }
        for path in filter(sources.is_quadlet_dropin, prepared.tree.files):
            if (target := sources.dropin_target(path)) not in own:
                message = f"a drop-in for {target}, which is not in this deployment"
                yield Fault(deployment, message, path)


def aliases_of_quadlets(world: World) -> Iterator[Fault]:
    """An alias that another quadlet's unit has: quadlet would write one over the other."""
    claimed = {source.unit: source for source in world.sources}
    for source in world.sources:
        for place in source.named("Install", "Alias"):
            for name in words(place.setting.value):
                if claimed.get(name, source) is not source:
                    message = f"the alias {name} is what {claimed[name].path} makes"
                    yield source.fault(place, message)


def aliases(world: World) -> Iterator[Fault]:
    """A link is a name too: it must be legal, and free."""
    by_name = {unit.name: unit for unit in world.units}
    for path, target in world.links.items():
        unit = by_name.get(target.rpartition("/")[2])
        if unit is None:
            continue
        free = "/" in path or world.replaces(unit.deployment, path)
        if not is_link(path, target):
            yield Fault(unit.deployment, f"{path!r} is not the name of a unit", unit.source)
        elif not free and (taken := _taken(world, path, by_name)):
            message = f"the alias {path} is the name of {taken}"
            yield Fault(unit.deployment, message, unit.source)


def resources_of_one_name(world: World) -> Iterator[Fault]:
    """Starting one of two containers of one name would remove the other.

    A pod and a container may have one name (web.pod and its web.container do).
    """
    first: dict[tuple[str, str], Unit] = {}
    for unit in world.units:
        if unit.kind not in ("container", "pod") or "%" in unit.resource:
            continue
        twin = first.setdefault((unit.kind, unit.resource), unit)
        if twin is not unit:
            same = twin.deployment == unit.deployment
            owner = "" if same else f" of deployment {twin.deployment}"
            message = f"Podman would call it {unit.resource}, as it calls {twin.source}{owner}"
            yield Fault(unit.deployment, message, unit.source)


def resources_that_are_shared(world: World) -> Iterator[Fault]:
    """A warning: two deployments keep one network or volume, and each may remove it."""
    first: dict[tuple[str, str], Unit] = {}
    for unit in world.units:
        if unit.kind in ("network", "volume") and "%" not in unit.resource:
            twin = first.setdefault((unit.kind, unit.resource), unit)
            if twin.deployment != unit.deployment:
                message = f"the {unit.kind} {unit.resource} is deployment {twin.deployment}'s too"
                yield Fault(unit.deployment, message, unit.source)


def _taken(world: World, name: str, by_name: dict[str, Unit]) -> str:
    if name in by_name:
        return f"a unit of deployment {by_name[name].deployment}"
    if name in world.host_units:
        return f"what the host's {world.host_units[name]} makes"
    folder = world.outside(name)
    return f"a unit that the host has in {folder}" if folder else ""
