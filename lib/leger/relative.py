"""Relative paths in quadlets: what the repository has is mounted read-only from the tree; what it
has not, or only keeps the place of, belongs to the host, in data/NAME/.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from leger.checkout import resolve
from leger.model import Fault
from leger.secretrefs import expand
from leger.sources import Located, Source
from leger.unitfile import Setting, words

PLACEHOLDERS = (".gitkeep", ".keep", ".placeholder", ".gitignore")
_SPECIFIER = re.compile(r"%%|%[a-zA-Z]")
_BIND = re.compile(r"\btype=(?:bind|glob)\b")
_SOURCE = re.compile(r"\b(?:source|src)=(\.[^,\"']*)")
_BARE_SOURCE = re.compile(r"\b(?:source|src)=([^,\"']+)")
_READ_ONLY = re.compile(r"(?:^|[,\"'])(?:ro|readonly)(?:=(?:true|1))?(?=$|[,\"'])")
_WRITABLE = re.compile(r",(?:ro|readonly|rw)=?(?:true|false|0|1)?(?=$|[,\"'])|,rw(?=$|[,\"'])")
_HINT = "add ro; what a container may write is named by data: in .leger.yaml"


@dataclass
class Rewritten:
    """What becomes of the quadlets: changed settings by file, faults and warnings.

    `instances` are the units that are known of each quadlet that is a template.
    """

    instances: Mapping[str, Collection[str]]
    changes: dict[str, dict[Setting, str]] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    warnings: list[Fault] = field(default_factory=list)

    def change(self, place: Located, value: str) -> None:
        """Replace one setting's value."""
        if value != place.setting.value:
            self.changes.setdefault(place.file, {})[place.setting] = value


@dataclass(frozen=True)
class Content:
    """The paths of a tree, and those that belong to the host all the same (`data:`).

    `filled` are the folders that hold more than placeholders.
    """

    files: Collection[str]
    folders: frozenset[str]
    filled: frozenset[str]
    data: Sequence[str]
    links: Mapping[str, str]

    @classmethod
    def of(cls, files: Collection[str], data: Sequence[str], links: Mapping[str, str]) -> Content:
        """Index the paths of a tree; `links` tells where its links point."""
        folders: set[str] = set()
        filled: set[str] = set()
        for path in files:
            *parents, name = path.split("/")
            above = ["/".join(parents[: count + 1]) for count in range(len(parents))]
            folders.update(above)
            filled.update(above if name not in PLACEHOLDERS else ())
        return cls(files, frozenset(folders), frozenset(filled), data, links)

    def has(self, path: str, instances: Collection[str] = ()) -> bool:
        """Whether the tree has a file or folder `path`.

        If it has specifiers: for one of the `instances` (unit names), or where none is known, for
        any value of them.
        """
        if "%" not in path:
            real = resolve(path, self.links)
            return real == "" or real in self.files or real in self.folders
        if instances:
            return any(self.has(expand(path, unit).replace("%", "")) for unit in instances)
        if not _SPECIFIER.sub("", path.rpartition("/")[2]):
            return False
        pattern = re.compile("[^/]*".join(map(re.escape, _SPECIFIER.split(path))))
        return any(pattern.fullmatch(known) for known in (*self.files, *self.folders))

    def is_data(self, path: str) -> bool:
        """Whether `path` is in the tree only to be copied once into data/NAME/."""
        if any(path == name or path.startswith(f"{name}/") for name in self.data):
            return True
        return path in self.folders and path not in self.filled


def rewrite(sources: Sequence[Source], content: Content, data: Path) -> Rewritten:
    """Decide for every relative path of `sources`; `data` is the deployment's data/NAME."""
    result = Rewritten({source.path: _instances(source, sources) for source in sources})
    for source in sources:
        for place in source.named(source.section, "Volume"):
            _volume(source, place, content, data, result)
        for place in source.named(source.section, "Mount"):
            _mount(source, place, content, data, result)
        for place in source.named(source.section, "EnvironmentFile", "ConfigMap"):
            _file(source, place, content, data, result)
        for place in source.named("Kube", "Yaml"):
            _yaml(source, place, content, result)
        result.warnings += _unresolved(source)
    return result


def joined(folder: str, path: str) -> str | None:
    """`path` in `folder`, from the tree's root; None if it leaves the tree."""
    parts = folder.split("/") if folder else []
    for part in path.split("/"):
        if part == "..":
            if not parts:
                return None
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)


def is_relative(path: str) -> bool:
    """Whether quadlet takes an EnvironmentFile= or the like as relative to the quadlet's folder."""
    return bool(path) and not path.startswith(("/", "%"))


def _volume(
    source: Source, place: Located, content: Content, data: Path, result: Rewritten
) -> None:
    path, colon, rest = place.setting.value.partition(":")
    if not path.startswith(".") or not colon:
        return
    target, _, options = rest.partition(":")
    own = _decide(source, place, path, content, result)
    if own is None:
        return
    if own:
        result.change(place, f"{data / own}:{rest}")
        return
    chosen = [option for option in options.split(",") if option]
    if not {"ro", "O"} & set(chosen):
        result.warnings.append(source.fault(place, f"{path} is mounted read-only", _HINT))
        kept = [option for option in chosen if option != "rw"]
        result.change(place, f"{path}:{target}:{','.join(['ro', *kept])}")


def _mount(source: Source, place: Located, content: Content, data: Path, result: Rewritten) -> None:
    value = place.setting.value
    match = _SOURCE.search(value)
    if match is None or _BIND.search(value) is None:
        return
    own = _decide(source, place, match[1], content, result)
    if own is None:
        return
    if own:
        result.change(place, f"{value[: match.start(1)]}{data / own}{value[match.end(1) :]}")
    elif _READ_ONLY.search(value) is None:
        result.warnings.append(source.fault(place, f"{match[1]} is mounted read-only", _HINT))
        bare = _WRITABLE.sub("", value)
        end = len(bare) - 1 if bare.endswith(("'", '"')) else len(bare)
        result.change(place, f"{bare[:end]},ro=true{bare[end:]}")


def _file(source: Source, place: Located, content: Content, data: Path, result: Rewritten) -> None:
    changed = False
    paths: list[str] = []
    for path in words(place.setting.value):
        own = _decide(source, place, path, content, result) if is_relative(path) else ""
        changed = changed or bool(own)
        paths.append(str(data / own) if own else path)
    if changed:
        result.change(place, " ".join(paths))


def _yaml(source: Source, place: Located, content: Content, result: Rewritten) -> None:
    for path in words(place.setting.value):
        if not is_relative(path):
            continue
        found = joined(source.folder, path)
        if found is None or found not in content.files:
            result.faults.append(source.fault(place, f"{path} is not in the repository"))


def _decide(
    source: Source, place: Located, path: str, content: Content, result: Rewritten
) -> str | None:
    """ "" if `path` stays in the tree, its place below data/NAME if not; None after a fault."""
    found = joined(source.folder, path)
    if found is None:
        result.faults.append(source.fault(place, f"{path} leaves the repository's folder"))
        return None
    known = content.has(found, result.instances[source.path])
    return "" if known and not content.is_data(found) else found


def _instances(source: Source, sources: Sequence[Source]) -> list[str]:
    """The units of the instances that links make of a template, or of the instance itself."""
    stem, at, _ = source.name.partition("@")
    return [
        item.unit
        for item in sources
        if at and item.kind == source.kind and item.name.startswith(f"{stem}@")
        if "@." not in item.name
    ]


def _unresolved(source: Source) -> Iterator[Fault]:
    """The relative paths that quadlet leaves as they are, so that podman looks elsewhere."""
    keys = ["PodmanArgs", "SeccompProfile", "Rootfs", "AuthFile"]
    keys += ["Device"] if source.kind == "volume" else []
    if source.kind == "build" and not source.last("Build", "SetWorkingDirectory"):
        keys += ["File", "IgnoreFile", "Secret"]
    yield from _without_dot(source)
    for place in source.named(source.section, *keys):
        for word in words(place.setting.value):
            path = re.split(r"[=,]", word)[-1] if "=" in word else word
            if path.startswith(("./", "../")):
                message = f"quadlet leaves {path} as it is: podman looks for it in / or $HOME"
                yield source.fault(place, message, "give an absolute path")
                break


def _without_dot(source: Source) -> Iterator[Fault]:
    """A path that quadlet would resolve if it began with ./ and that podman takes for a name."""
    for place in source.named(source.section, "Volume", "Mount"):
        value = place.setting.value
        match = _BARE_SOURCE.search(value) if _BIND.search(value) else None
        path = match[1] if match else ""
        if place.setting.key == "Volume":
            path = value.partition(":")[0]
            path = path if "/" in path else ""
        if path and not path.startswith(("/", ".", "%", '"', "'")):
            yield source.fault(place, f"quadlet leaves {path} as it is", f"write ./{path}")
