"""Errors that an administrator can act on; anything else is a bug and keeps its traceback."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import TracebackType


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


class BugError(LegerError):
    """A bug of Leger's that some content brought to light; it names its place in the code."""


@contextlib.contextmanager
def contained(name: str) -> Iterator[None]:
    """Let what goes wrong within this hold back `name` alone: all of it is raised as LegerError.

    What the disk refused is told as such, any other exception as a bug of Leger's (BugError).
    """
    try:
        yield
    except LegerError:
        raise
    except OSError as error:
        if error.filename is None:
            raise _bug(name, error) from error
        raise of_the_disk(error) from error
    except Exception as error:
        raise _bug(name, error) from error


def bugs(names: Iterable[str], job: Callable[[str], object]) -> dict[str, BugError]:
    """Those of `names` with which `job` shows a bug of Leger's."""
    found: dict[str, BugError] = {}
    for name in names:
        try:
            with contained(name):
                job(name)
        except BugError as error:
            found[name] = error
    return found


def of_the_disk(error: OSError) -> LegerError:
    """What the file system refused, for an administrator: full, read-only, not permitted."""
    return LegerError(
        f"{error.filename}: {error.strerror}", hint="check free space, permissions and mounts"
    )


def _bug(name: str, error: Exception) -> BugError:
    said = str(error).encode(errors="backslashreplace").decode().partition("\n")[0][:200]
    where = f"a bug of Leger's, in {_place(error.__traceback__)}"
    return BugError(
        f"{name}: {where}: {type(error).__name__}: {said}",
        hint="report it with the content that shows it; without that content all goes on",
    )


def _place(trace: TracebackType | None) -> str:
    """The innermost line of the library on the way to an exception."""
    here, place = Path(__file__).parent, ""
    while trace is not None:
        path = Path(trace.tb_frame.f_code.co_filename)
        if path.is_relative_to(here) and path != Path(__file__):
            place = f"{path.relative_to(here)}:{trace.tb_lineno}"
        trace = trace.tb_next
    return place
