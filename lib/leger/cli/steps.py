"""What happens to units, as lines and as JSON."""

from __future__ import annotations

from collections.abc import Iterator

from leger.changes import Changes


def verb(unit: str, changes: Changes) -> str:
    """What is done with a unit that is touched."""
    if unit in changes.gone:
        return "stop"
    if unit in changes.restart or (unit in changes.stop and unit in changes.start):
        return "restart"
    if unit in changes.reload:
        return "reload"
    return "start" if unit in changes.start else "stop"


def lines(changes: Changes) -> Iterator[str]:
    """Each unit that is touched, with the reason."""
    for unit, reason in changes.why.items():
        yield f"{verb(unit, changes)} {unit}: {reason}"


def raw(changes: Changes) -> dict[str, list[dict[str, str]]]:
    """The same by verb."""
    found: dict[str, list[dict[str, str]]] = {
        "start": [],
        "restart": [],
        "reload": [],
        "stop": [],
    }
    for unit, reason in changes.why.items():
        found[verb(unit, changes)].append({"unit": unit, "why": reason})
    return found
