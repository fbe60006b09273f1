"""One thing that was found out, and the command that mends it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """`text` says what is, `mend` is the command that mends it ("" where there is none)."""

    text: str
    mend: str = ""
