"""The one door to stderr, which is the journal. Never give it anything that came in a request."""

from __future__ import annotations

import contextlib
import sys
import time

_REPEATED = 30.0
_last: tuple[str, float] = ("", 0.0)


def error(message: object, hint: str = "") -> None:
    """Something failed; `hint` says what mends it. The same again within 30 s is not repeated."""
    global _last  # noqa: PLW0603 - one log for the process
    text, now = f"error: {message}", time.monotonic()
    if text == _last[0] and now < _last[1] + _REPEATED:
        return
    _last = (text, now)
    _say(text)
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
