"""Faults of a source, collected, so that an administrator sees all of them at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from leger.errors import ConfigError, InvalidQuadletsError
from leger.model import Fault

_MOST = 100


class FaultsError(InvalidQuadletsError):
    """A deployment cannot be prepared; `faults` says why, one by one, at most 100 of each."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(_first(faults))
        super().__init__(
            "\n".join(str(fault) for fault in self.faults),
            hint=next((fault.hint for fault in self.faults if fault.hint), ""),
        )


def _first(faults: Iterable[Fault]) -> Iterator[Fault]:
    """What is told of each deployment: its first faults, and how many more there are."""
    count: dict[str, int] = {}
    for fault in faults:
        count[fault.deployment] = count.get(fault.deployment, 0) + 1
        if count[fault.deployment] <= _MOST:
            yield fault
    for name, number in count.items():
        if number > _MOST:
            yield Fault(name, f"and {number - _MOST} more")


def in_file(deployment: str, file: str, error: ConfigError) -> Fault:
    """The fault that `error` is, which names `file` and perhaps a line before what is wrong."""
    rest = str(error).removeprefix(f"{file}:")
    line, _, message = rest.partition(":")
    if line.isdigit():
        return Fault(deployment, message.strip(), file, int(line), error.hint)
    return Fault(deployment, rest.strip(), file, hint=error.hint)
