"""Faults of a source, collected, so that an administrator sees all of them at once."""

from __future__ import annotations

from collections.abc import Iterable

from leger.errors import ConfigError, InvalidQuadletsError
from leger.model import Fault


class FaultsError(InvalidQuadletsError):
    """A deployment cannot be prepared; `faults` says why, one by one."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__(
            "\n".join(str(fault) for fault in self.faults),
            hint=next((fault.hint for fault in self.faults if fault.hint), ""),
        )


def in_file(deployment: str, file: str, error: ConfigError) -> Fault:
    """The fault that `error` is, which names `file` and perhaps a line before what is wrong."""
    rest = str(error).removeprefix(f"{file}:")
    line, _, message = rest.partition(":")
    if line.isdigit():
        return Fault(deployment, message.strip(), file, int(line), error.hint)
    return Fault(deployment, rest.strip(), file, hint=error.hint)
