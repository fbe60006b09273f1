"""Systemd units that lie beside the quadlets: deployed as they are, with their drop-ins."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from leger_generator.dropin import NAME as RESERVED
from leger_generator.names import is_file_path, is_link, is_unit_name

from leger import quadlet, units
from leger.checkout import resolve
from leger.model import Fault, Tree, Unit
from leger.tree import LINK

_OTHER_SUFFIXES = ("mount", "automount", "swap", "slice")
_INSTALLED = (".wants", ".requires", ".upholds")
_INSIDE = ("d", "wants", "requires", "upholds")


@dataclass(frozen=True)
class Plain:
    """The plain units, drop-ins (path below the generator's folder -> text) and links of a tree."""

    units: Mapping[str, Unit]
    dropins: Mapping[str, str]
    places: Mapping[str, str]
    links: Mapping[str, str]
    faults: tuple[Fault, ...]
    warnings: tuple[Fault, ...] = ()


def read(deployment: str, tree: Tree) -> Plain:
    """Find the plain units of `tree`: beside its quadlets, or in its root."""
    reader = _Reader(deployment, tree)
    for path in sorted(tree.files):
        reader.take(path)
    return reader.plain()


class _Reader:
    def __init__(self, deployment: str, tree: Tree) -> None:
        self.deployment = deployment
        self.tree = tree
        self.folders = {"", *(_folder(path) for path in tree.files if quadlet.is_quadlet(path))}
        self.targets = {
            path: os.readlink(tree.path / path)
            for path, (mode, _) in tree.files.items()
            if mode == LINK
        }
        self.linked = {resolve(path, self.targets) for path in self.targets}
        self.texts: dict[str, str] = {}
        self.places: dict[str, str] = {}
        self.links: dict[str, str] = {}
        self.faults: list[Fault] = []
        self.warnings: list[Fault] = []

    def take(self, path: str) -> None:
        name = self._relative(path)
        if not name:
            self._left(path)
            return
        place = resolve(path, self.targets) or ""
        if place not in self.tree.files:
            self._fault(path, "this link leads nowhere")
        elif place != path and self._is_alias(place, name):
            self.places[name] = path
            last = place.rpartition("/")[2]
            self.links[name] = f"../{last}" if "/" in name else last
        elif not is_file_path(name):
            self._fault(path, f"systemd takes no unit called {name!r}")
        elif name.endswith(f"/{RESERVED}"):
            self._fault(path, f"the name {RESERVED} is Leger's own")
        elif name.partition(".d/")[0] in units.PLAIN_SUFFIXES:
            self._fault(path, "changes every unit of the host")
        elif name in self.places:
            self._fault(path, f"{name} is there twice: {self.places[name]}")
        else:
            self.places[name] = path
            self._text(path, name)

    def plain(self) -> Plain:
        made = {name for name in self.texts if "/" not in name}
        links = dict(self.links)
        for name in made:
            links |= units.install_links(name, self.texts[name])
        good = {path: target for path, target in links.items() if is_link(path, target)}
        for path in sorted(links.keys() - good.keys()):
            unit = links[path].rpartition("/")[2]
            file = self.places.get(path) or self.places.get(unit, "")
            self._fault(file, f"cannot be installed as {path!r}")
        place = units.Place.of(self.deployment, self.tree)
        rendered = units.Rendered(self.texts, good, {})
        found = {
            name: units.plain_unit(place, self.places[name], self.texts[name], rendered)
            for name in sorted(made)
        }
        dropins = {name: text for name, text in self.texts.items() if "/" in name}
        return Plain(found, dropins, self.places, good, tuple(self.faults), tuple(self.warnings))

    def _left(self, path: str) -> None:
        """Say so where a file looks like a unit and is none of the deployment's."""
        folder, _, name = path.rpartition("/")
        suffix = name.rpartition(".")[2]
        if path in self.linked:
            return
        if suffix in units.PLAIN_SUFFIXES and folder.rpartition(".")[2] not in _INSIDE:
            message = "is not deployed: there is no quadlet in its folder"
            hint = "move it beside the quadlets, or name it in exclude:"
            self.warnings.append(Fault(self.deployment, message, path, hint=hint))
        elif suffix in _OTHER_SUFFIXES and folder in self.folders:
            message = f"is not deployed: only {', '.join(units.PLAIN_SUFFIXES)} are"
            self.warnings.append(Fault(self.deployment, message, path))

    def _relative(self, path: str) -> str:
        """Where a file of the tree would lie below the generator's folder; "" if it is no unit."""
        folder, _, name = path.rpartition("/")
        parent, _, last = folder.rpartition("/")
        stem, _, kind = last.rpartition(".")
        if parent in self.folders and stem.rpartition(".")[2] in units.PLAIN_SUFFIXES:
            if kind == "d" and name.endswith(".conf"):
                return f"{last}/{name}"
            if f".{kind}" in _INSTALLED and is_unit_name(name):
                return f"{last}/{name}"
        is_unit = name.rpartition(".")[2] in units.PLAIN_SUFFIXES
        return name if folder in self.folders and is_unit else ""

    def _is_alias(self, place: str, name: str) -> bool:
        """Whether a link to the file `place` is another name of a unit that is deployed itself."""
        unit = self._relative(place)
        return unit not in ("", name) and "/" not in unit

    def _text(self, path: str, name: str) -> None:
        try:
            self.texts[name] = (self.tree.path / path).read_bytes().decode()
        except UnicodeDecodeError:
            self._fault(path, "not UTF-8 text")
        else:
            if "\0" in self.texts[name]:
                self._fault(path, "a binary file")

    def _fault(self, path: str, message: str) -> None:
        self.faults.append(Fault(self.deployment, message, path))


def _folder(path: str) -> str:
    return path.rpartition("/")[0]
