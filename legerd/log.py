"""The one door to stderr, which is the journal. Never give it anything that came in a request."""

from __future__ import annotations

import contextlib
import logging
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


class _Discreet(logging.Handler):
    """Logs where waitress complained and of what kind of exception; it quotes requests."""

    def emit(self, record: logging.LogRecord) -> None:
        kind = record.exc_info[0].__name__ if record.exc_info and record.exc_info[0] else ""
        place = f"{record.module}.{record.funcName}:{record.lineno}"
        note(f"http server: {place} {kind}".rstrip())


def quiet_logs() -> None:
    """Let nothing of a request into the log through waitress."""
    for name in ("waitress", "waitress.queue"):
        logger = logging.getLogger(name)
        logger.propagate = False
        logger.handlers = [_Discreet()]
        logger.setLevel(logging.CRITICAL if name.endswith("queue") else logging.WARNING)
