"""How a commit that was given up is told."""

from __future__ import annotations

from leger.badcommits import Bad
from leger.cli.colour import plain


def line(bad: Bad, command: str) -> str:
    """One line; `command` is the one that would try it again."""
    reason = plain(bad.reason.replace("\n", "; "))
    return (
        f"{bad.deployment}: waits for a new commit: {bad.commit[:12]} was given up: {reason}"
        f" (leger {command} --retry tries it again)"
    )
