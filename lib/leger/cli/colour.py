"""Colours, on a terminal only and not where NO_COLOR is set (https://no-color.org)."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from typing import Self

_CODES = {"red": "31", "green": "32", "yellow": "33", "cyan": "36", "bold": "1"}


@dataclass(frozen=True)
class Colour:
    """Paints, or does not."""

    on: bool

    @classmethod
    def of_stdout(cls) -> Self:
        """As the reader of the results wants it."""
        wanted = not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        return cls(wanted and sys.stdout.isatty())

    def paint(self, text: str, colour: str) -> str:
        """`text` in red, green, yellow, cyan or bold."""
        return f"\x1b[{_CODES[colour]}m{text}\x1b[0m" if self.on and text else text

    def diff(self, line: str) -> str:
        """A line of a unified diff."""
        for mark, colour in (("---", "bold"), ("+++", "bold"), ("@@", "cyan")):
            if line.startswith(mark):
                return self.paint(line, colour)
        if line[:1] in ("+", "-"):
            return self.paint(line, "green" if line[0] == "+" else "red")
        return line


def plain(text: str) -> str:
    """`text` of somebody else's on one line, so that it cannot move a terminal's cursor."""
    return "".join(
        char if char.isprintable() or char == "\t" else "\N{REPLACEMENT CHARACTER}" for char in text
    )
