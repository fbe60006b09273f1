"""The one door to stderr, which is the journal. Never give it anything that came in a request."""

from __future__ import annotations

import contextlib
import sys


def error(message: object, hint: str = "") -> None:
    """Something failed; `hint` says what mends it."""
    _say(f"error: {message}")
    if hint:
        _say(f"hint: {hint}")


def warning(message: object) -> None:
    """Something is not as it should be, and legerd goes on."""
    _say(f"warning: {message}")


def note(message: object) -> None:
    """Something that an administrator will want to know."""
    _say(str(message))


def _say(text: str) -> None:
    with contextlib.suppress(OSError):  # a full disk under the log must not stop an answer
        print(f"legerd: {text}", file=sys.stderr, flush=True)  # noqa: T201
