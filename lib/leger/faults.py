"""Faults of a source, collected, so that an administrator sees all of them at once."""

from __future__ import annotations

from collections.abc import Iterable

from leger.errors import InvalidQuadletsError
from leger.model import Fault


class FaultsError(InvalidQuadletsError):
    """A deployment cannot be prepared; `faults` says why, one by one."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__(
            "\n".join(str(fault) for fault in self.faults),
            hint=next((fault.hint for fault in self.faults if fault.hint), ""),
        )
