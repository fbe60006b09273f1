"""A unit together with what decides whether it changed, and in words what did."""

from __future__ import annotations

import bisect
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from leger import sources
from leger.model import Built, Unit

_NAMED = 3


@dataclass(frozen=True)
class Member:
    """A unit, the files of its tree that it reads, and its secrets.

    `secrets` maps each Podman secret to legerd's name and version; `rebinding` says what another
    binding of them means for the unit: restart, reload or none. `definitions` are the files
    that its text was made of: they explain a change, and are none by themselves. `due` is why it
    is to restart although nothing of it changed.
    """

    unit: Unit
    files: Mapping[str, tuple[int, str]] = field(default_factory=dict)
    secrets: Mapping[str, tuple[str, int]] = field(default_factory=dict)
    rebinding: str = "restart"
    definitions: Mapping[str, tuple[int, str]] = field(default_factory=dict, compare=False)
    due: str = ""

    def is_as(self, other: Member) -> bool:
        """Whether nothing that matters to a running unit differs."""
        return self._is_but_for_secrets(other) and self.secrets == other.secrets

    def differs_in_secrets_only(self, other: Member) -> bool:
        """Whether its secrets are bound elsewhere, and nothing else changed."""
        return self._is_but_for_secrets(other) and self.secrets != other.secrets

    def _is_but_for_secrets(self, other: Member) -> bool:
        return (self.unit.normal, self.files, self.due) == (
            other.unit.normal,
            other.files,
            other.due,
        )

    def reason(self, before: Member) -> str:
        """What changed since `before`: files and secrets by name."""
        parts = [self.due] if self.due else []
        if self.unit.normal != before.unit.normal:
            defined = list(_changed(before.definitions, self.definitions))
            parts += defined or [f"{self.unit.source} makes another unit"]
        parts += _changed(before.files, self.files)
        parts += _rebound(before.secrets, self.secrets)
        more = len(parts) - _NAMED
        return "; ".join(parts[:_NAMED] + ([f"and {more} more"] if more > 0 else []))


class Members:
    """The members of one deployment, made from one look at its tree."""

    def __init__(self, built: Built) -> None:
        self._built = built
        self._paths = sorted(built.tree.files)
        self._dropins: dict[str, list[str]] = {}
        for path in self._paths:
            if target := sources.dropin_target(path):
                self._dropins.setdefault(target, []).append(path)

    def of(self, unit: Unit, name: str = "") -> Member:
        """`unit`, or its instance `name`."""
        files = self._built.tree.files
        return Member(
            unit,
            files={path: files[path] for path in sorted(self._read(unit.inputs))},
            secrets={
                binding.podman: (binding.legerd, binding.version)
                for binding in self._built.bindings
                if {unit.name, name} & set(binding.units)
            },
            rebinding=unit.on_secret_change or self._built.on_secret_change,
            definitions={path: files[path] for path in self._made_of(unit) if path in files},
        )

    def _read(self, inputs: Sequence[str]) -> set[str]:
        found: set[str] = set()
        for entry in inputs:
            if entry == ".":
                return set(self._paths)
            if entry in self._built.tree.files:
                found.add(entry)
            first = bisect.bisect_left(self._paths, f"{entry}/")
            last = bisect.bisect_left(self._paths, f"{entry}0")  # 0 follows the slash
            found.update(self._paths[first:last])
        return found

    def _made_of(self, unit: Unit) -> Iterator[str]:
        yield unit.source
        yield from sources.chosen(unit.source, self._dropins).values() if self._dropins else ()


def _changed(
    before: Mapping[str, tuple[int, str]], after: Mapping[str, tuple[int, str]]
) -> Iterator[str]:
    for path in sorted(before.keys() | after.keys()):
        if path not in before:
            yield f"{path} was added"
        elif path not in after:
            yield f"{path} was removed"
        elif before[path] != after[path]:
            yield f"{path} changed"


def _rebound(
    before: Mapping[str, tuple[str, int]], after: Mapping[str, tuple[str, int]]
) -> Iterator[str]:
    for podman in sorted(before.keys() | after.keys()):
        if podman not in after:
            yield f"secret {podman} is not needed any more"
        elif before.get(podman) != after[podman]:
            legerd, version = after[podman]
            yield f"secret {podman} is bound to {legerd}{f':{version}' if version else ''}"


def with_dropins(
    found: Collection[Unit], dropins: Mapping[str, str], places: Mapping[str, str]
) -> dict[str, tuple[str, ...]]:
    """The files of the tree among `dropins` (web.service.d/x.conf) that each unit reads."""
    by_target: dict[str, list[str]] = {}
    if not dropins:
        return {}
    for path in dropins:
        by_target.setdefault(path.partition(".d/")[0], []).append(places[path])
    reading = {}
    for unit in found:
        own = [place for name in sources.targets(unit.name) for place in by_target.get(name, ())]
        if own:
            reading[unit.name] = tuple(sorted({*unit.inputs, *own}))
    return reading
