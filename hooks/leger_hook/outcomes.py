"""How a run of the hook can end, and the one line that each has for the journal."""

from __future__ import annotations

import sys


class Failure(Exception):  # noqa: N818 these are outcomes, not faults of the program
    """Why the unit must not start: one line for each secret, each with what mends it."""


class NotReached(Failure):
    """The unit must not start because legerd was out of reach: it may when legerd is back."""


class Unreachable(Exception):  # noqa: N818
    """legerd gave no answer that can be used."""


class BrokenOff(Unreachable):
    """The other side closed the connection, as one does that is just being restarted."""


class StoreError(Exception):
    """Podman refused to read or write its secrets."""


class StoreSetAside(Failure):
    """Podman's store was unreadable and is set aside: begin again with an empty one."""


def say(kind: str, text: str) -> None:
    """One line for the journal of the unit."""
    print(f"leger: {kind}: {text}", file=sys.stderr, flush=True)  # noqa: T201
