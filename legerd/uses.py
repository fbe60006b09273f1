"""Which units of this host use a secret: what units.json says of the arguments of secrets-hook."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from leger.model import split_version
from leger_generator.dropin import unit_of
from leger_generator.plan import MAX_BYTES, Plan, PlanError, decode

from legerd import log

#: A specifier of a template, which stands for anything here.
_SPECIFIER = re.compile(r"%([A-Za-z%])")


@dataclass(frozen=True, order=True)
class Use:
    """A unit that gets a secret when it starts; `version` 0 is the active one."""

    unit: str
    version: int = 0


@dataclass(frozen=True)
class Uses:
    """All uses of one units.json: by name, and by pattern where a template's name is in it."""

    exact: Mapping[str, tuple[Use, ...]] = field(default_factory=dict)
    patterns: tuple[tuple[re.Pattern[str], Use], ...] = ()

    @classmethod
    def of(cls, plan: Plan) -> Uses:
        """What the units of `plan` use."""
        exact: dict[str, set[Use]] = {}
        patterns = []
        for text, use in _words(plan):
            if "@." in use.unit and "%" in text:
                patterns.append((_pattern(text), use))
            else:
                exact.setdefault(text, set()).add(use)
        return cls({name: tuple(sorted(found)) for name, found in exact.items()}, tuple(patterns))

    def find(self, name: str) -> tuple[Use, ...]:
        """The units that use the secret `name`."""
        more = {use for pattern, use in self.patterns if pattern.fullmatch(name)}
        return tuple(sorted({*self.exact.get(name, ()), *more}))


class UsesFile:
    """`path` as it is now, read again when it was replaced. Without Leger's units: no uses."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._uses: Uses | None = Uses()
        self._seen: tuple[int, ...] = ()

    def current(self) -> Uses | None:
        """None if the file is there and cannot be understood."""
        with self._lock:
            signature = self._signature()
            if signature != self._seen:
                self._seen = signature
                self._uses = self._read() if signature else Uses()
            return self._uses

    def _signature(self) -> tuple[int, ...]:
        try:
            status = self._path.stat()
        except OSError:
            return ()
        return status.st_mtime_ns, status.st_ino, status.st_size

    def _read(self) -> Uses | None:
        try:
            with self._path.open("rb") as file:
                return Uses.of(decode(file.read(MAX_BYTES + 1)))
        except (OSError, PlanError) as error:
            log.warning(f"{self._path}: {error}: the page shows no units")
            return None


def _words(plan: Plan) -> Iterator[tuple[str, Use]]:
    """Each secret that a unit is given, by legerd's name."""
    for path, file in plan.files.items():
        if unit := unit_of(path):
            for word in file.hook or ():
                _, equals, text = word.partition("=")
                if equals:
                    name, version = split_version(text)
                    yield name, Use(unit, version)


def _pattern(text: str) -> re.Pattern[str]:
    """What the names look like that a template's `text` stands for."""
    parts = _SPECIFIER.split(text)
    escaped = [
        re.escape(part) if index % 2 == 0 else "%" if part == "%" else ".+"
        for index, part in enumerate(parts)
    ]
    return re.compile("".join(escaped), re.DOTALL)
