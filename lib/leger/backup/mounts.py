"""Volumes by their real names: those of a unit, and those of the host's own quadlets."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from leger import hostfolders, kube
from leger.model import Built, Unit
from leger.scope import Scope
from leger.secretrefs import expand
from leger.sources import Source
from leger.unitfile import UnitFile, words

_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*")
_YAML = (".yaml", ".yml")


def of_unit(unit: Unit, built: Built) -> set[str]:
    """The volumes that one unit makes or mounts."""
    if unit.kind == "volume":
        return {unit.resource}
    if unit.kind == "kube":
        paths = (built.tree.path / path for path in unit.inputs if path.endswith(_YAML))
        return set(_claimed(paths))
    if unit.kind not in ("container", "pod"):
        return set()
    parsed = UnitFile.parse(unit.text)
    commands = (
        [expand(word, unit.name) for word in words(value)]
        for key in ("ExecStartPre", "ExecStart")
        for value in parsed.values("Service", key)
    )
    return {name for command in commands for name in _mounted(command) if _NAME.fullmatch(name)}


def made_by_host(scope: Scope) -> dict[str, str]:
    """The volumes that the host's own .volume files make, and the file of each."""
    return {_made(one): one.path for one in hostfolders.read(scope) if one.kind == "volume"}


def of_host(scope: Scope) -> set[str]:
    """The volumes that the host's own quadlets make or mount."""
    found = hostfolders.read(scope)
    made = {one.name: _made(one) for one in found if one.kind == "volume"}
    named = {name for one in found for name in _named(one)}
    return {*made.values(), *(made.get(name, name) for name in named)}


def _made(source: Source) -> str:
    return source.last("Volume", "VolumeName") or f"systemd-{source.name.rpartition('.')[0]}"


def _named(source: Source) -> Iterable[str]:
    """What a quadlet mounts, a volume or the name of a .volume file."""
    if source.kind == "kube":
        folder = Path(source.path).parent
        return _claimed(folder / value for value in _values(source, "Yaml"))
    given = [word for value in _values(source, "PodmanArgs") for word in words(value)]
    given += [f"--volume={value}" for value in _values(source, "Volume")]
    given += [f"--mount={value}" for value in _values(source, "Mount")]
    return _mounted(given)


def _values(source: Source, key: str) -> list[str]:
    return [place.setting.value for place in source.values(source.section, key)]


def _mounted(command: list[str]) -> Iterator[str]:
    """The sources of a podman command's mounts, in all spellings that quadlet writes."""
    for word, following in itertools.pairwise([*command, ""]):
        option, equals, value = word.partition("=")
        given = value if equals else following
        if option in ("-v", "--volume"):
            yield given.partition(":")[0]
        elif option == "--mount":
            pairs = dict(part.partition("=")[::2] for part in given.split(","))
            if pairs.get("type", "volume") == "volume":
                yield pairs.get("source") or pairs.get("src") or ""


def _claimed(paths: Iterable[Path]) -> Iterator[str]:
    for path in paths:
        yield from kube.claims(hostfolders.content(path), str(path))
