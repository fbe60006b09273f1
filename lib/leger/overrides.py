"""Files outside of Leger that change its units: whole units and masks that win, and drop-ins.

Read from the folders that systemd.unit(5) names, since asking the manager costs a call a unit.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from leger.scope import Scope


@dataclass(frozen=True)
class Overrides:
    """`units` maps a unit to the file that wins over ours, `masks` to the mask; `dropins` to the
    drop-ins of that very unit or of its template which are not ours.
    """

    units: dict[str, Path] = field(default_factory=dict)
    masks: dict[str, Path] = field(default_factory=dict)
    dropins: dict[str, tuple[Path, ...]] = field(default_factory=dict)


def generator_folder(scope: Scope) -> Path:
    """Where the generator's output lies."""
    if scope.name == "system":
        return _root(scope) / "run/systemd/generator"
    return scope.runtime.parent / "systemd/generator"


def generated(scope: Scope) -> frozenset[str]:
    """The names in the generator's folder."""
    return frozenset(_names(generator_folder(scope)))


def find(scope: Scope, names: Iterable[str], own: Collection[str]) -> Overrides:
    """What overrides the units `names`; `own` are the paths of Leger's files and drop-ins."""
    found = Overrides()
    by_file: dict[str, list[str]] = {}
    for name in names:
        for file in names_of(name):
            by_file.setdefault(file, []).append(name)
    generated = generator_folder(scope)
    wins = True
    for folder in _folders(scope):
        wins = wins and folder != generated
        for entry in _names(folder):
            if entry.endswith(".d") and entry[:-2] in by_file:
                _note_dropins(found, by_file[entry[:-2]], folder / entry, own)
            elif wins and entry in by_file:
                _note_unit(found, by_file[entry], folder / entry)
    return found


def names_of(unit: str) -> tuple[str, ...]:
    """The names under which a unit may lie: its own, and its template's."""
    prefix, at, instance = unit.partition("@")
    if not at or instance.startswith("."):
        return (unit,)
    return (unit, f"{prefix}@.{instance.rpartition('.')[2]}")


def _note_unit(found: Overrides, names: Iterable[str], path: Path) -> None:
    kind = found.masks if _is_mask(path) else found.units
    for name in names:
        if name not in found.units and name not in found.masks:
            kind[name] = path


def _note_dropins(
    found: Overrides, names: Iterable[str], folder: Path, own: Collection[str]
) -> None:
    files = [file for file in _names(folder) if file.endswith(".conf")]
    foreign = tuple(folder / file for file in files if f"{folder.name}/{file}" not in own)
    for name in names if foreign else ():
        found.dropins[name] = (*found.dropins.get(name, ()), *foreign)


def _is_mask(path: Path) -> bool:
    """A link to /dev/null or an empty file, as `systemctl mask` and systemd.unit(5) have it."""
    try:
        return os.path.realpath(path) == "/dev/null" or path.stat().st_size == 0
    except OSError:
        return False


def _names(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []


def _root(scope: Scope) -> Path:
    return scope.etc.parent.parent


def _folders(scope: Scope) -> tuple[Path, ...]:
    """The unit search path, what wins first."""
    if scope.name == "system":
        run, etc = _root(scope) / "run/systemd", _root(scope) / "etc/systemd"
        usr = _root(scope) / "usr"
        return (
            etc / "system.control",
            run / "system.control",
            run / "transient",
            run / "generator.early",
            etc / "system",
            run / "system",
            run / "generator",
            usr / "local/lib/systemd/system",
            usr / "lib/systemd/system",
        )
    config, run = scope.etc.parent / "systemd", scope.runtime.parent / "systemd"
    return (
        config / "user.control",
        run / "user.control",
        run / "transient",
        run / "generator.early",
        config / "user",
        Path("/etc/systemd/user"),
        run / "user",
        Path("/run/systemd/user"),
        run / "generator",
        Path.home() / ".local/share/systemd/user",
        Path("/usr/local/lib/systemd/user"),
        Path("/usr/lib/systemd/user"),
    )
