"""The quadlets of a tree as they were written: each file with its drop-ins, and every line."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from leger import quadlet
from leger.model import Fault
from leger.unitfile import Setting, UnitFile

MAX_BYTES = 1 << 20


@dataclass(frozen=True)
class Located:
    """A setting and the file of the tree in which it stands."""

    file: str
    setting: Setting


@dataclass(frozen=True)
class Source:
    """One quadlet of a deployment and the drop-ins that quadlet merges into it."""

    deployment: str
    path: str
    file: UnitFile
    dropins: Mapping[str, UnitFile]

    @functools.cached_property
    def name(self) -> str:
        """The file's name, by which quadlets refer to each other."""
        return self.path.rpartition("/")[2]

    @property
    def folder(self) -> str:
        """The folder that the quadlet's relative paths start at; "" is the tree's root."""
        return self.path.rpartition("/")[0]

    @functools.cached_property
    def kind(self) -> str:
        return quadlet.kind(self.path)

    @functools.cached_property
    def section(self) -> str:
        """The name of the quadlet's own section."""
        return quadlet.SECTIONS[self.kind]

    @functools.cached_property
    def unit(self) -> str:
        """The unit that quadlet makes of it, as the manual says; what it made counts more."""
        given = self.last(self.section, "ServiceName")
        stem = given or self.name.rpartition(".")[0]
        if given or self.kind in ("container", "kube"):
            return f"{stem}.service"
        prefix, at, instance = stem.partition("@")
        return f"{prefix}-{self.kind}{at}{instance}.service"

    def files(self) -> Iterator[tuple[str, UnitFile]]:
        """The quadlet and its drop-ins, in the order in which they count."""
        yield self.path, self.file
        yield from self.dropins.items()

    def named(self, section: str, *keys: str) -> Iterator[Located]:
        """The settings with one of `keys`, drop-ins included."""
        for path, file in self.files():
            yield from (Located(path, setting) for setting in file.named(section, *keys))

    def values(self, section: str, key: str) -> list[Located]:
        """Those of a key that may be repeated that count: an empty value drops those before."""
        found: list[Located] = []
        for item in self.named(section, key):
            found = [*found, item] if item.setting.value else []
        return found

    def last(self, section: str, key: str) -> str:
        """The value of a key that counts once."""
        return next((item.setting.value for item in reversed(self.values(section, key))), "")

    def fault(self, place: Located, message: str, hint: str = "") -> Fault:
        """A fault at `place`."""
        return Fault(self.deployment, message, place.file, place.setting.line, hint)


def read(deployment: str, texts: Mapping[str, str]) -> list[Source]:
    """The quadlets among `texts` (path -> text of all quadlets and drop-ins of a tree)."""
    parsed = {path: UnitFile.parse(text) for path, text in texts.items()}
    by_target: dict[str, list[str]] = {}
    for path in sorted(filter(dropin_target, texts)):
        by_target.setdefault(dropin_target(path), []).append(path)
    return [
        Source(deployment, path, parsed[path], _dropins(path, parsed, by_target))
        for path in sorted(parsed)
        if quadlet.is_quadlet(path)
    ]


def dropin_target(path: str) -> str:
    """The unit or type whose drop-in `path` is (web.container, container); "" for other files."""
    folder, _, name = path.rpartition("/")
    target = folder.rpartition("/")[2].removesuffix(".d")
    is_dropin = name.endswith(".conf") and folder.endswith(".d") and not name.startswith(".")
    return target if is_dropin else ""


def is_quadlet_dropin(path: str) -> bool:
    """Whether `path` is a drop-in of a quadlet, or of a whole type of them."""
    return dropin_target(path).rpartition(".")[2] in quadlet.SUFFIXES


def targets(name: str) -> tuple[str, ...]:
    """The drop-in folders of the quadlet `name` without .d, the most specific first."""
    stem, _, suffix = name.rpartition(".")
    found = [name]
    if "@" in stem and not stem.endswith("@"):
        found.append(f"{stem.partition('@')[0]}@.{suffix}")
    parts = stem.rstrip("@").split("-")
    found += [f"{'-'.join(parts[:count])}-.{suffix}" for count in range(len(parts) - 1, 0, -1)]
    return (*dict.fromkeys(found), suffix)


def chosen(path: str, by_target: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """The drop-ins that count for a quadlet, by name: of one name the most specific folder's.

    `by_target` holds the paths of a tree's drop-ins by what they are for (see dropin_target).
    """
    found: dict[str, str] = {}
    for target in targets(path.rpartition("/")[2]):
        for dropin in by_target.get(target, ()):
            found.setdefault(dropin.rpartition("/")[2], dropin)
    return dict(sorted(found.items()))


def _dropins(
    path: str, parsed: Mapping[str, UnitFile], by_target: Mapping[str, Sequence[str]]
) -> dict[str, UnitFile]:
    """What quadlet merges, in the order of the files' names."""
    return {dropin: parsed[dropin] for dropin in chosen(path, by_target).values()}
