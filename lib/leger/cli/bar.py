"""A bar on stderr while units are awaited; where that is no terminal, only the lines."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING, Self, TextIO

from leger.cli import output

if TYPE_CHECKING:
    from leger.judge import Progress

_WIDTH = 20
_WORDS = {"start": "starting", "health": "waiting for health", "quiet": "watching"}


class Bar(contextlib.AbstractContextManager["Bar"]):
    """One bar on the terminal's last line; it makes room for the lines that are told meanwhile."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._on = self._stream.isatty() and os.environ.get("TERM") != "dumb"
        self._shown = ""

    def __exit__(self, *_error: object) -> None:
        self._draw("")

    def __enter__(self) -> Self:
        return self

    def line(self, text: str) -> None:
        """Tell `text`, above the bar."""
        self._draw("")
        output.progress(text)

    def show(self, progress: Progress) -> None:
        """Draw how far it is."""
        if self._on:
            self._draw(drawn(progress, self._columns()))

    def _draw(self, text: str) -> None:
        if text == self._shown:
            return
        self._shown = text
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(f"\r\x1b[K{text}")
            self._stream.flush()

    def _columns(self) -> int:
        try:
            return os.get_terminal_size(self._stream.fileno()).columns or 80
        except OSError:
            return 80


def drawn(progress: Progress, columns: int) -> str:
    """The bar as text, on one line of `columns`."""
    full = _WIDTH * progress.done // max(1, progress.total)
    bar = "#" * full + "." * (_WIDTH - full)
    what = _WORDS.get(progress.what, progress.what)
    names = ", ".join(progress.waiting)
    text = f"[{bar}] {progress.done}/{progress.total} {what} {names}".rstrip()
    return text if len(text) < columns else f"{text[: columns - 2]}…"
