"""One thing that was found out, and the command that mends it."""

from __future__ import annotations

from dataclasses import dataclass

_SCOPED = ("apply", "deploy", "plan", "service", "settle", "staged", "sync", "why")


def in_scope(command: str, *, user: bool) -> str:
    """`command` as a user types it for the own deployments, if it is one of leger's about them."""
    program, _, rest = command.partition(" ")
    scoped = user and program == "leger" and rest.split(" ")[0] in _SCOPED
    return f"leger --user {rest}" if scoped else command


@dataclass(frozen=True)
class Finding:
    """`text` says what is, `mend` is the command that mends it ("" where there is none)."""

    text: str
    mend: str = ""
