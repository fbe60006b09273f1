"""All deployments of a scope together, through the host's quadlet and our checks, into units."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from leger_generator.dropin import hook_dropin, path_of
from leger_generator.identity import quadlet_identity

from leger import author as authors
from leger import (
    checks,
    data,
    hooks,
    kube,
    member,
    messages,
    plain,
    precheck,
    recall,
    secretrefs,
)
from leger import quadlet as quadlets
from leger import sources as written
from leger import units as units_
from leger.compilehost import Host
from leger.hostview import HostView
from leger.model import Binding, Built, Compiled, Fault, Unit
from leger.plain import Plain
from leger.prepare import Origin, Prepared, at_origin
from leger.scope import Scope
from leger.sources import Source
from leger.world import World

TIMEOUT = 60.0


def compile_scope(
    scope: Scope,
    prepared: Mapping[str, Prepared],
    *,
    quadlet: Path,
    adopt: Collection[str] = (),
    returning: Collection[str] = (),
) -> Compiled:
    """Compile `prepared`, all of the scope's deployments, with the host's `quadlet` binary.

    The deployments in `adopt` take over the files of the same name in the host's own folders
    (Built.adopted names them); `returning` are the host's files that come back from where adopted
    ones lie. Bad content never raises: it is in `faults`, each naming its
    deployment, file and line. Raises LegerError when the binary cannot be run.
    """
    host = Host.of(scope, prepared, adopt, returning)
    key = recall.key(prepared, host, quadlet_identity(str(quadlet)))
    if known := recall.load(scope, key):
        return known
    view = HostView(host.unit_folders)
    inside = _read(prepared)
    compiler = Compiler(prepared, inside, host, view)
    compiler.faults += _missing_files(scope, prepared, inside, view)
    made = compiler.compiled(quadlet)
    recall.save(scope, key, view, made)
    return made


@dataclass(frozen=True)
class Inside:
    """What lies in the trees: quadlets, plain units, and what is wrong with them as text."""

    sources: Sequence[Source]
    plain: Mapping[str, Plain]
    faults: list[Fault]


def read(prepared: Mapping[str, Prepared]) -> Inside:
    """Read the trees of `prepared`."""
    return _read(prepared)


def _read(prepared: Mapping[str, Prepared]) -> Inside:
    sources: list[Source] = []
    faults: list[Fault] = []
    plains: dict[str, Plain] = {}
    for name, item in sorted(prepared.items()):
        texts, unreadable = precheck.texts(name, item.tree)
        own = written.read(name, texts)
        faults += [*unreadable, *precheck.faults(name, item.tree, texts, own)]
        sources += own
        plains[name] = plain.read(name, item.tree)
        faults += plains[name].faults
    return Inside(sources, plains, faults)


def _missing_files(
    scope: Scope, prepared: Mapping[str, Prepared], inside: Inside, view: HostView
) -> Iterator[Fault]:
    for name, item in prepared.items():
        own = [source for source in inside.sources if source.deployment == name]
        yield from data.missing(scope, data.needs(scope, name, own), item.tree, view.has_file)


class Compiler:
    """One compile; `host` is what is given, `view` answers, the rest is found on the way."""

    def __init__(
        self,
        prepared: Mapping[str, Prepared],
        inside: Inside,
        host: Host | None = None,
        view: HostView | None = None,
    ) -> None:
        self.prepared = prepared
        self.inside = inside
        self.host = host or Host()
        self.view = view or HostView()
        self.faults = list(inside.faults)
        self.warnings = [item for one in prepared.values() for item in one.warnings]
        self.warnings += [item for one in inside.plain.values() for item in one.warnings]
        self.units: list[Unit] = []
        self.by_source: dict[tuple[str, str], Unit] = {}
        self.bindings: dict[str, list[Binding]] = {name: [] for name in prepared}
        self.files: dict[str, Mapping[str, object]] = {}
        self.links: dict[str, str] = {}

    def compiled(self, binary: Path | None) -> Compiled:
        """Run `binary` over everything that it can read, and put together what it makes.

        Without one (None) only our own checks are made, and there are no units of quadlets.
        """
        made, host_units = self._made(binary) if binary else (units_.Rendered({}, {}, {}), {})
        self._quadlet_units(made)
        self._plain_units()
        for source in self.inside.sources:
            self._secrets(source)
        self._emit(made)
        self._check(host_units, ran=binary is not None)
        return Compiled(
            deployments={name: self._built(name) for name in sorted(self.prepared)},
            files=self.files,
            links=self.links,
            search=(str(self.host.tree.path),) if self.host.tree else (),
            quadlet=quadlet_identity(str(binary)) if binary else {},
            faults=self._sorted(self.faults),
            warnings=self._sorted(self.warnings),
        )

    def _made(self, binary: Path) -> tuple[units_.Rendered, dict[str, str]]:
        """What quadlet makes of the deployments, and the names of the host's own units."""
        unfit = {fault.deployment for fault in self.inside.faults}
        trees = {name: item.tree.path for name, item in self.prepared.items() if name not in unfit}
        folders = [*trees.values(), *([self.host.tree.path] if self.host.tree else [])]
        if not folders:
            return units_.Rendered({}, {}, {}), {}
        output = quadlets.run(binary, folders, user=self.host.user, timeout=TIMEOUT)
        told = messages.understand(output.messages, self.inside.sources, trees)
        self.faults += told.faults
        self.warnings += told.warnings
        by_file: dict[str, str] = {}
        host_units: dict[str, str] = {}
        for unit, path in output.sources.items():
            inside = any(path.startswith(f"{folder}/") for folder in trees.values())
            if inside:
                by_file[Path(path).name] = unit
            else:
                name = Path(path).name
                host_units[unit] = self.host.files.get(name, path)
        self._missing(by_file, host_units, unfit)
        return units_.Rendered(output.units, output.links, by_file), host_units

    def _missing(
        self, by_file: Mapping[str, str], host_units: Collection[str], unfit: set[str]
    ) -> None:
        """Every quadlet file must give its unit, whatever quadlet says or does not say."""
        told = {fault.deployment for fault in self.faults}
        made = {*by_file.values(), *host_units}
        for source in self.inside.sources:
            claimed = source.unit in made
            if source.name not in by_file and not claimed and source.deployment not in told | unfit:
                message = "quadlet made no unit of it and does not say why"
                self.faults.append(Fault(source.deployment, message, source.path))

    def _quadlet_units(self, made: units_.Rendered) -> None:
        places = {name: units_.Place.of(name, item.tree) for name, item in self.prepared.items()}
        for source in self.inside.sources:
            tree = self.prepared[source.deployment].tree
            name = made.by_file.get(source.name)
            if name and f"SourcePath={tree.path}/{source.path}\n" in f"{made.units[name]}\n":
                unit = units_.quadlet_unit(places[source.deployment], source.path, name, made)
                if unit.kind == "kube":
                    unit = replace(unit, images=kube.images(kube.texts(source, tree), tree))
                self.units.append(unit)
                self.by_source[source.deployment, source.path] = unit

    def _plain_units(self) -> None:
        for found in self.inside.plain.values():
            self.units += found.units.values()
        reading = {
            name: inputs
            for deployment, found in self.inside.plain.items()
            for name, inputs in member.with_dropins(
                [unit for unit in self.units if unit.deployment == deployment],
                found.dropins,
                found.places,
            ).items()
        }
        self.units = [
            replace(unit, inputs=reading[unit.name]) if unit.name in reading else unit
            for unit in self.units
        ]

    def _secrets(self, source: Source) -> None:
        item = self.prepared[source.deployment]
        prefix = f"{self.host.prefix}{source.deployment}/"
        own, faults = secretrefs.own_bindings(source, prefix)
        found = self._references(source, item)
        self.faults += [*faults, *found.faults]
        names = hooks.Names(item.deployment, item.author, own, self.host.prefix)
        unit = self.by_source.get((source.deployment, source.path))
        if unit is None:
            return
        self.bindings[source.deployment] += hooks.bindings(unit, found.references, names)
        words = hooks.hook(unit, found.references, names)
        if words:
            scope = "user" if self.host.user else "system"
            self.files[path_of(unit.name)] = {
                "text": hook_dropin(unit.text, words, scope),
                "deployment": unit.deployment,
                "hook": words,
            }

    def _references(self, source: Source, item: Prepared) -> secretrefs.Found:
        if source.kind == "container":
            return secretrefs.of_container(source)
        if source.kind != "kube":
            return secretrefs.Found(())
        keys = {name: item.author.required(name) for name in item.deployment.secrets}
        keys |= {name: wanted.required for name, wanted in item.author.secrets.items()}
        self.faults += kube.faults(source, item.tree)
        return secretrefs.of_kube(source, kube.texts(source, item.tree), keys)

    def _emit(self, made: units_.Rendered) -> None:
        owners = {unit.name: unit.deployment for unit in self.units}
        for unit in self.units:
            self.files[unit.name] = {"text": unit.text, "deployment": unit.deployment}
        for path, target in made.links.items():
            if target.rpartition("/")[2] in owners:
                self.links[path] = target
        for name, found in self.inside.plain.items():
            self.links |= found.links
            for path, text in found.dropins.items():
                self.files.setdefault(path, {"text": text, "deployment": name})

    def _check(self, host_units: Mapping[str, str], *, ran: bool) -> None:
        world = World(
            prepared=self.prepared,
            sources=self.inside.sources,
            units=self.units,
            links=self.links,
            dropins={
                name: {path: found.places[path] for path in found.dropins}
                for name, found in self.inside.plain.items()
            },
            bindings=self.bindings,
            host_files=self.host.files,
            host_units=host_units,
            view=self.view,
            adopted=self.host.taken,
            user=self.host.user,
            quadlet_ran=ran,
            on_host=self.host.is_real,
            own_units=self.host.own_units,
            host_dropins=self.host.dropins,
        )
        for check in checks.CHECKS:
            self.faults += check(world)
        told = {fault.deployment for fault in self.faults}
        self.faults += (f for f in checks.nothing_to_deploy(world) if f.deployment not in told)
        for check in checks.WARNINGS:
            self.warnings += check(world)

    def _built(self, name: str) -> Built:
        item = self.prepared[name]
        own = {unit.name: unit for unit in self.units if unit.deployment == name}
        return Built(
            name=name,
            commit=item.commit,
            source=item.deployment.source,
            tree=item.tree,
            units=own,
            bindings=hooks.merged(self.bindings[name]),
            on_secret_change=authors.on_secret_change(item.deployment, item.author),
            adopted=self.host.adopted.get(name, ()),
            refers=frozenset(self._refers(own.values())) - {name},
            settings=item.settings,
        )

    def _refers(self, own: Collection[Unit]) -> Iterator[str]:
        owners = {unit.name: unit.deployment for unit in self.units}
        for unit in own:
            for needed in (*unit.depends, *units_.requires(unit.text)):
                if needed in owners:
                    yield owners[needed]

    def _sorted(self, faults: Collection[Fault]) -> tuple[Fault, ...]:
        placed = [at_origin(fault, self._origins(fault)) for fault in faults]
        return tuple(
            sorted(dict.fromkeys(placed), key=lambda f: (f.deployment, f.file, f.line, f.message))
        )

    def _origins(self, fault: Fault) -> Mapping[str, Origin]:
        known = self.prepared.get(fault.deployment)
        return known.origins if known else {}
