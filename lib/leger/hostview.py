"""What a compile asks the host: units that are there, files, listeners; each answer is noted.

A compile that was kept counts as long as the host gives the same answers.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from leger import ports
from leger.overrides import names_of
from leger.ports import Range, Socket

_GENERATED = ("system", "generator", "generator.early", "generator.late", "transient")


class HostView:
    """A host whose units that no generator made lie in `unit_folders`, the first winning."""

    def __init__(self, unit_folders: Sequence[str] = ()) -> None:
        self.unit_folders = tuple(unit_folders)
        self._outside: dict[str, str] = {}
        self._generated: dict[str, bool] = {}
        self._files: dict[str, bool] = {}
        self._listeners: dict[Range, list[Socket]] = {}

    def outside(self, name: str) -> str:
        """The folder in which the host has the unit `name`, or its template; "" without one."""
        if name not in self._outside:
            self._outside[name] = next(
                (
                    folder
                    for unit in names_of(name)
                    for folder, names in self._names.items()
                    if unit in names
                ),
                "",
            )
        return self._outside[name]

    def is_generated(self, name: str) -> bool:
        """Whether a generator, or a program at run time, made the unit `name` or its template."""
        if name not in self._generated:
            folders = [f"/run/systemd/{folder}" for folder in _GENERATED]
            made = [f"{folder}/{unit}" for folder in folders for unit in names_of(name)]
            self._generated[name] = any(os.path.lexists(path) for path in made)
        return self._generated[name]

    def has_file(self, path: str) -> bool:
        """Whether anything lies at `path`."""
        if path not in self._files:
            self._files[path] = os.path.lexists(path)
        return self._files[path]

    def listening(self, wanted: Iterable[Range]) -> list[Socket]:
        """Who listens on the `wanted` ports, as far as this user may see."""
        ranges = sorted(set(wanted))
        found = ports.listening(ranges) if ranges else []
        self._listeners = {
            one: sorted(socket for socket in found if ports.is_in(socket, one)) for one in ranges
        }
        return found

    def answers(self) -> dict[str, Any]:
        """All that was asked with what the host said, fit for JSON."""
        return {
            "folders": list(self.unit_folders),
            "outside": self._outside,
            "generated": self._generated,
            "files": self._files,
            "ports": [[*one, list(map(list, who))] for one, who in self._listeners.items()],
        }

    @classmethod
    def gives(cls, answers: Mapping[str, Any]) -> bool:
        """Whether this host says the same now. Raises KeyError and the like for other shapes."""
        now = cls(tuple(map(str, answers["folders"])))
        for name in answers["outside"]:
            now.outside(name)
        for name in answers["generated"]:
            now.is_generated(name)
        for path in answers["files"]:
            now.has_file(path)
        now.listening(Range(protocol, first, last) for protocol, first, last, _ in answers["ports"])
        return now.answers() == answers

    @functools.cached_property
    def _names(self) -> dict[str, frozenset[str]]:
        found = {}
        for folder in self.unit_folders:
            try:
                found[folder] = frozenset(os.listdir(folder))
            except OSError:
                found[folder] = frozenset()
        return found
