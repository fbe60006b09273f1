"""Our own checks of what quadlet made: each a function from the compiled world to its faults."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from leger import ports, sources, unitfile, units
from leger.model import Binding, Fault, Unit
from leger.prepare import Prepared
from leger.sources import Source

_SYSTEM_TARGETS = ("multi-user.target", "graphical.target", "network-online.target")
_FILES = (".service", ".socket", ".timer", ".path", ".target")
_TREE_HINT = "use data: in .leger.yaml for what a container may own"


@dataclass(frozen=True)
class World:
    """Everything that was compiled together.

    `units` lists every unit (two may have one name); `dropins` the plain drop-ins of each
    deployment (path below the generator's folder -> file of the tree); `host_files` the host's
    quadlets by name and `host_units` their units; `unit_folders` is where systemd looks for units
    that no generator made; `adopted` the names that a deployment takes over; `own_units` what
    runs of ours already; `host_dropins` the host's drop-ins by the quadlet that they are for.
    Without a host (`on_host`) there are no sockets in use.
    """

    prepared: Mapping[str, Prepared]
    sources: Sequence[Source]
    units: Sequence[Unit]
    dropins: Mapping[str, Mapping[str, str]]
    bindings: Mapping[str, Sequence[Binding]]
    host_files: Mapping[str, str]
    host_units: Mapping[str, str]
    unit_folders: Sequence[str]
    adopted: frozenset[str] = frozenset()
    user: bool = False
    quadlet_ran: bool = True
    on_host: bool = False
    own_units: frozenset[str] = frozenset()
    host_dropins: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def replaces(self, deployment: str, name: str) -> bool:
        """Whether the host's file lets `deployment` take over the unit `name`."""
        return name in self.prepared[deployment].deployment.replaces


Check = Callable[[World], Iterator[Fault]]


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
    made = {(unit.deployment, unit.source): unit.name for unit in world.units}
    claims = [(unit.name, unit.deployment, unit.source) for unit in world.units]
    claims += [
        (source.unit, source.deployment, source.path)
        for source in world.sources
        if (source.deployment, source.path) not in made
    ]
    first: dict[str, tuple[str, str]] = {}
    for name, deployment, path in sorted(claims):
        other, twin = first.setdefault(name, (deployment, path))
        is_file = path.rpartition("/")[2] == twin.rpartition("/")[2]
        if (other, twin) != (deployment, path) and not is_file:
            owner = "" if other == deployment else f" of deployment {other}"
            yield Fault(deployment, f"makes {name}, and so does {twin}{owner}", path)


def units_outside(world: World) -> Iterator[Fault]:
    """A generated unit would win over the host's unit of the same name in /usr/lib."""
    for unit in world.units:
        if world.replaces(unit.deployment, unit.name):
            continue
        hint = f"give it another name, or allow it: replaces: [{unit.name}] in deployments.d/"
        if unit.name in world.host_units:
            message = f"makes {unit.name}, and so does the host's {world.host_units[unit.name]}"
            yield Fault(unit.deployment, message, unit.source)
        elif folder := _outside(world, unit.name):
            message = f"makes {unit.name}, which the host has in {folder}"
            yield Fault(unit.deployment, message, unit.source, hint=hint)


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


def secrets_of_two_values(world: World) -> Iterator[Fault]:
    """A Podman secret has one value: deployments cannot bind it to two names of legerd."""
    first: dict[str, tuple[str, Binding]] = {}
    for deployment, bindings in sorted(world.bindings.items()):
        for binding in bindings:
            owner, twin = first.setdefault(binding.podman, (deployment, binding))
            if (twin.legerd, twin.version) == (binding.legerd, binding.version):
                continue
            message = (
                f"Podman secret {binding.podman!r} is bound to {binding.legerd!r} and"
                f" by deployment {owner} to {twin.legerd!r}"
            )
            yield Fault(deployment, message, hint="bind both to one name: secrets: {...}")


def secrets_without_cgroups(world: World) -> Iterator[Fault]:
    """Without a cgroup legerd cannot tell a container from the host."""
    with_secrets = {
        unit for bindings in world.bindings.values() for item in bindings for unit in item.units
    }
    risky = {unit.source for unit in world.units if unit.name in with_secrets}
    for source in world.sources:
        if source.path not in risky:
            continue
        for key in ("PodmanArgs", "GlobalArgs", "CgroupsMode"):
            for place in source.named(source.section, key):
                mode = place.setting.value if key == "CgroupsMode" else ""
                if mode == "disabled" or _disables_cgroups(place.setting.value):
                    yield source.fault(place, "a container with secrets needs its cgroup")


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
    found = list(ports.published(world.sources))
    yield from ports.collisions(found)
    if world.on_host:
        own = {*world.own_units, *(unit.name for unit in world.units)}
        yield from ports.busy(found, ports.listening(found), own)


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
    files_of_one_name,
    files_of_the_host,
    units_of_one_name,
    units_outside,
    dropins_outside,
    quadlet_dropins_outside,
    secrets_of_two_values,
    secrets_without_cgroups,
    owners_changed,
    cycles,
    ports_that_collide,
    unknown_references,
)
WARNINGS: tuple[Check, ...] = (unreachable_targets, unknown_units, overrides_of_the_host)


def _outside(world: World, name: str) -> str:
    """The folder in which the host has a unit `name` of its own; "" without one."""
    return next((f for f in world.unit_folders if os.path.lexists(f"{f}/{name}")), "")


def _is_there(world: World, name: str) -> bool:
    """Whether the host has a unit `name`, or its template, whoever made it."""
    template = f"{name.partition('@')[0]}@.{name.rpartition('.')[2]}" if "@" in name else name
    made = [f"/run/systemd/{folder}" for folder in ("generator", "generator.late", "transient")]
    folders = [*world.unit_folders, "/run/systemd/system", *made]
    return any(
        os.path.lexists(f"{folder}/{unit}") for folder in folders for unit in (name, template)
    )


def _disables_cgroups(value: str) -> bool:
    arguments = unitfile.words(value)
    pairs = zip(arguments, [*arguments[1:], ""], strict=True)
    return "--cgroups=disabled" in arguments or ("--cgroups", "disabled") in pairs


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
