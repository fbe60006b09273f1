"""Errors that an administrator can act on; anything else is a bug and keeps its traceback."""

from __future__ import annotations


class LegerError(Exception):
    """Something the administrator can act on.

    The message says what and where, the hint what to do.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class UsageError(LegerError):
    """The command line or a value on it is wrong."""

    exit_code = 2


class NotAuthorisedError(LegerError):
    """legerd, a remote or the system refused this caller."""

    exit_code = 3


class InvalidQuadletsError(LegerError):
    """What a source holds cannot be deployed; nothing was changed."""

    exit_code = 4


class CancelledError(LegerError):
    """The administrator said no, or another command holds the lock."""

    exit_code = 5


class ConfigError(LegerError):
    """A configuration file cannot be understood."""
