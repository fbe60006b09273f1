"""Our own checks of what quadlet made: each a function from the compiled world to its faults."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from leger import checks_health as health
from leger import checks_names as names
from leger import checks_secrets as secrets
from leger import ports, unitfile, units
from leger.model import Fault
from leger.world import Check, World

_SYSTEM_TARGETS = ("multi-user.target", "graphical.target", "network-online.target")
_FILES = (".service", ".socket", ".timer", ".path", ".target")
_TREE_HINT = "use data: in .leger.yaml for what a container may own"


def nothing_to_deploy(world: World) -> Iterator[Fault]:
    """A folder without quadlets and units is a mistake: it would remove all that runs of it."""
    filled = {deployment for _, deployment, _ in world.claims()}
    filled |= {name for name, dropins in world.dropins.items() if dropins}
    for name in world.prepared.keys() - filled:
        yield Fault(
            name,
            "there is neither a quadlet nor a unit in this folder",
            hint=f"is path: right? leger deploy remove {name} removes it",
        )


def owners_changed(world: World) -> Iterator[Fault]:
    """`:U` would change the owner of the immutable tree's files."""
    for source in world.sources:
        for place in source.named(source.section, "Volume"):
            path, _, options = place.setting.value.partition(":")
            if path.startswith(".") and "U" in options.rpartition(":")[2].split(","):
                message = "the option U changes the owner of files of the repository"
                yield source.fault(place, message, _TREE_HINT)


def cycles(world: World) -> Iterator[Fault]:
    """Quadlets that need each other in a ring can never start."""
    graph = {unit.name: unit.depends for unit in world.units}
    by_name = {unit.name: unit for unit in world.units}
    done: set[str] = set()
    for name in sorted(graph):
        ring = _ring(name, graph, done)
        if ring:
            unit = by_name[ring[0]]
            yield Fault(unit.deployment, f"needs itself: {' -> '.join(ring)}", unit.source)


def unknown_references(world: World) -> Iterator[Fault]:
    """Where no quadlet ran: names of quadlets that the folder does not have."""
    known = {source.name for source in world.sources}
    for source in world.sources if not world.quadlet_ran else ():
        for place in source.named(source.section, *units.REFERRING):
            for name in units.REFERENCE.findall(place.setting.value):
                if name not in known:
                    yield source.fault(place, f"{name} is not in this deployment")


def ports_that_collide(world: World) -> Iterator[Fault]:
    """Published ports: of two quadlets, or of a quadlet and who listens on this host already."""
    yield from ports.impossible(world.sources)
    found = list(ports.published(world.sources))
    yield from ports.collisions(found)
    if world.on_host:
        own = {*world.own_units, *(unit.name for unit in world.units)}
        yield from ports.busy(found, world.view.listening(item.range for item in found), own)


def unreachable_targets(world: World) -> Iterator[Fault]:
    """A warning: a user's manager has no multi-user.target, so nothing would start the unit."""
    for source in world.sources if world.user else ():
        for place in source.named("Install", "WantedBy", "RequiredBy", "UpheldBy"):
            for target in unitfile.words(place.setting.value):
                if target in _SYSTEM_TARGETS:
                    message = f"{target} is never reached by a user's manager"
                    yield source.fault(place, message, "use default.target")


def unknown_units(world: World) -> Iterator[Fault]:
    """A warning: a unit that is needed and that neither the deployments nor the host has."""
    known = {*world.host_units, *(unit.name for unit in world.units)}
    for source in world.sources if world.on_host else ():
        for place in source.named("Unit", "Requires", "BindsTo", "Requisite"):
            for name in unitfile.words(place.setting.value):
                if name.endswith(_FILES) and name not in known and not _is_there(world, name):
                    yield source.fault(place, f"{name} is not there: this unit would not start")
    for unit in world.units if world.on_host else ():
        name = units.triggered(unit)
        if name and name not in known and not _is_there(world, name):
            message = f"starts {name}, which is not there"
            yield Fault(unit.deployment, message, unit.source)


def overrides_of_the_host(world: World) -> Iterator[Fault]:
    """A warning: a drop-in that the host has for a deployment's quadlet does not apply."""
    for source in world.sources:
        for path in world.host_dropins.get(source.name, ()):
            if source.name in world.adopted:
                continue
            message = f"the host's {path} does not apply"
            hint = f"override the unit: systemctl edit {source.unit}"
            yield Fault(source.deployment, message, source.path, hint=hint)


CHECKS: tuple[Check, ...] = (
    names.files_of_one_name,
    names.files_of_the_host,
    names.units_of_one_name,
    names.units_outside,
    names.dropins_outside,
    names.quadlet_dropins_outside,
    names.aliases_of_quadlets,
    names.aliases,
    names.resources_of_one_name,
    secrets.secrets_of_two_values,
    secrets.secrets_without_cgroups,
    health.health_labels,
    owners_changed,
    cycles,
    ports_that_collide,
    unknown_references,
)
WARNINGS: tuple[Check, ...] = (
    names.units_overridden,
    names.resources_that_are_shared,
    secrets.bindings_without_use,
    unreachable_targets,
    unknown_units,
    overrides_of_the_host,
)


def _is_there(world: World, name: str) -> bool:
    """Whether the host has a unit `name`, or its template, whoever made it."""
    return bool(world.outside(name)) or world.view.is_generated(name)


def _ring(start: str, graph: Mapping[str, Sequence[str]], done: set[str]) -> list[str]:
    """A ring that can be reached from `start`, its first unit again at the end; empty without."""
    path: list[str] = []
    waiting: list[tuple[str, bool]] = [(start, False)]
    while waiting:
        name, left = waiting.pop()
        if left:
            path.pop()
            done.add(name)
        elif name in path:
            return [*path[path.index(name) :], name]
        elif name not in done:
            path.append(name)
            waiting.append((name, True))
            waiting += [(item, False) for item in graph.get(name, ())]
    return []
