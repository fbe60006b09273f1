"""What a rendered unit says of itself: inputs, dependencies, resource, and the text to compare."""

from __future__ import annotations

import functools
import itertools
import os
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Self

from leger import quadlet, starters
from leger.checkout import resolve
from leger.model import Tree, Unit
from leger.normal import normal
from leger.relative import joined
from leger.tree import LINK
from leger.unitfile import UnitFile, words

PLAIN_SUFFIXES = ("service", "timer", "socket", "path", "target")
_TRIGGERS = {"timer": ("Timer", "Unit"), "path": ("Path", "Unit"), "socket": ("Socket", "Service")}
_ESCAPED = re.compile(r"\\x([0-9a-f]{2})")
_ENDS = " \t\"':,;"
REFERENCE = re.compile(
    rf"(?<![^\s:,=\"'])[^\s:,=\"'/]+\.(?:{'|'.join(quadlet.SUFFIXES)})(?=$|[:,\s\"'])"
)
REFERRING = ("Volume", "Mount", "Network", "Pod", "Image", "Networks", "Artifact")
_NAMES = {
    "container": "ContainerName",
    "pod": "PodName",
    "network": "NetworkName",
    "volume": "VolumeName",
}


@dataclass(frozen=True)
class Rendered:
    """All that one run of quadlet made: units, links, and the unit of each quadlet file's name.

    Or the plain units of one tree, with theirs.
    """

    units: Mapping[str, str]
    links: Mapping[str, str]
    by_file: Mapping[str, str]

    @functools.cached_property
    def wanted(self) -> frozenset[str]:
        """The units that [Install] has started with another."""
        return starters.installed(self.links)


def quadlet_unit(place: Place, source: str, name: str, made: Rendered) -> Unit:
    """The unit `name` that the quadlet `source` of a tree became."""
    text = made.units[name]
    kind = quadlet.kind(source)
    section = f"X-{quadlet.SECTIONS[kind]}"
    parsed = UnitFile.parse(text)
    depends = _references(parsed, section, made.by_file)
    pod = parsed.last(section, "Pod")
    return Unit(
        name=name,
        deployment=place.deployment,
        kind=kind,
        source=source,
        text=text,
        normal=normal(text, place.tree.path),
        inputs=_context(parsed, source) or inputs(text, place),
        depends=tuple(unit for unit in depends if unit != name),
        resource=_resource(kind, parsed, section, source, name),
        wanted=name in made.wanted,
        oneshot=kind == "container" and parsed.last("Service", "Type") == "oneshot",
        image=parsed.last(section, "Image"),
        instances=_instances(name, made.units, made.links),
        pod=made.by_file.get(pod, ""),
        on_secret_change=parsed.last("X-Leger", "OnSecretChange"),
    )


def plain_unit(place: Place, source: str, text: str, made: Rendered) -> Unit:
    """A systemd unit that the tree brings as it is; `made` are all of its plain units."""
    name = source.rpartition("/")[2]
    parsed = UnitFile.parse(text)
    return Unit(
        name=name,
        deployment=place.deployment,
        kind="plain",
        source=source,
        text=text,
        normal=normal(text, place.tree.path),
        inputs=inputs(text, place),
        wanted=name in made.wanted,
        oneshot=parsed.last("Service", "Type") == "oneshot",
        instances=_instances(name, made.wanted),
    )


@dataclass(frozen=True)
class Place:
    """A deployment's tree, all files and folders in it ("." is the tree itself), its links."""

    deployment: str
    tree: Tree
    paths: frozenset[str]
    links: Mapping[str, str]

    @classmethod
    def of(cls, deployment: str, tree: Tree) -> Self:
        """Index the tree's paths."""
        paths = {".", *tree.files}
        for path in tree.files:
            parts = path.split("/")
            paths.update("/".join(parts[:count]) for count in range(1, len(parts)))
        links = {
            path: os.readlink(tree.path / path)
            for path, (mode, _) in tree.files.items()
            if mode == LINK
        }
        return cls(deployment, tree, frozenset(paths), links)


def inputs(text: str, place: Place) -> tuple[str, ...]:
    """The files and folders of the tree that the unit's text names ("." is all of it)."""
    found: set[str] = set()
    store = str(place.tree.path)
    for line in text.splitlines():
        if store in line and not line.startswith("SourcePath="):
            found.update(_named(rest, place.paths) for rest in line.split(store)[1:])
    if place.links:
        found |= {resolve(path, place.links) or path for path in found}
    return tuple(sorted(found - {""}))


def _named(rest: str, known: Collection[str]) -> str:
    """The longest path among `known` that `rest`, what follows the tree's path, begins with."""
    rest = _ESCAPED.sub(lambda match: chr(int(match[1], 16)), rest).replace("%%", "%")
    best = "." if rest == "" or rest[0] in _ENDS else ""
    for position in range(1, len(rest) + 1):
        if position == len(rest) or rest[position] in _ENDS:
            path = rest[:position].strip("/") or "."
            best = path if path in known else best
    return best


def install_links(name: str, text: str) -> dict[str, str]:
    """The links that [Install] of a plain unit asks for (generated units are never enabled)."""
    links: dict[str, str] = {}
    parsed = UnitFile.parse(text)
    default = parsed.last("Install", "DefaultInstance")
    linked = name.replace("@.", f"@{default}.") if "@." in name else name
    for key, folder in (("WantedBy", "wants"), ("RequiredBy", "requires"), ("UpheldBy", "upholds")):
        for value in parsed.values("Install", key):
            for target in words(value) if "@." not in linked else []:
                links[f"{target}.{folder}/{linked}"] = f"../{name}"
    for value in parsed.values("Install", "Alias"):
        links |= {alias: name for alias in words(value) if alias != name}
    return links


def triggered(unit: Unit) -> str:
    """What a plain timer, path or socket starts; "" for others, and where specifiers decide."""
    stem, _, suffix = unit.name.rpartition(".")
    if unit.kind != "plain" or suffix not in _TRIGGERS:
        return ""
    section, key = _TRIGGERS[suffix]
    parsed = UnitFile.parse(unit.text)
    accept = parsed.last("Socket", "Accept").lower() in ("1", "yes", "y", "true", "t", "on")
    own = f"{stem.partition('@')[0]}@.service" if accept else f"{stem}.service"
    name = parsed.last(section, key) or own
    return "" if "%" in name else name


def requires(text: str) -> tuple[str, ...]:
    """The units that the text needs: without them it would not run."""
    parsed = UnitFile.parse(text)
    return tuple(
        unit
        for key in ("Requires", "BindsTo", "Requisite", "Upholds", "PartOf")
        for value in parsed.values("Unit", key)
        for unit in words(value)
    )


def _context(parsed: UnitFile, source: str) -> tuple[str, ...]:
    """The folder that a .build is made from; systemd's WorkingDirectory= may be all of the tree."""
    folder = parsed.last("X-Build", "SetWorkingDirectory")
    if not folder or folder.startswith(("/", "%")) or folder in ("unit", "yaml") or ":" in folder:
        return ()
    return (joined(source.rpartition("/")[0], folder) or ".",)


def _references(parsed: UnitFile, section: str, by_file: Mapping[str, str]) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for item in parsed.named(section, *REFERRING):
        for reference in REFERENCE.findall(item.value):
            if reference in by_file:
                found[by_file[reference]] = None
    return tuple(found)


def _resource(kind: str, parsed: UnitFile, section: str, source: str, name: str) -> str:
    if kind not in _NAMES:
        return ""
    given = parsed.last(section, _NAMES[kind])
    if given:
        return given
    stem = source.rpartition("/")[2].rpartition(".")[0]
    if kind != "container":
        return f"systemd-{stem}"
    prefix, at, instance = name.rpartition(".")[0].partition("@")
    return f"systemd-{prefix}_{instance or '%i'}" if at else f"systemd-{prefix}"


def _instances(name: str, *paths: Iterable[str]) -> tuple[str, ...]:
    """The instances of the template `name` among the units and links `paths`; none of others."""
    stem, at, suffix = name.partition("@.")
    if not at:
        return ()
    candidates = {path.rpartition("/")[2] for path in itertools.chain(*paths)} - {name}
    return tuple(
        sorted(
            unit
            for unit in candidates
            if unit.startswith(f"{stem}@") and unit.endswith(f".{suffix}")
        )
    )
