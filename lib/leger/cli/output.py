"""What is said and where: results on stdout, everything else on stderr."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence

from leger.cli.colour import plain
from leger.errors import CancelledError, LegerError
from leger.model import Fault


def result(text: str) -> None:
    """Print a line of a result. Raises LegerError where it cannot be written."""
    with _told():
        print(text)  # noqa: T201


def finished(code: int) -> int:
    """Write what is left of the result; `code` again. Raises as `result`."""
    with _told():
        sys.stdout.flush()
    return code


@contextlib.contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:  # as `| head` does it
        raise
    except OSError as error:
        raise LegerError(f"the result cannot be written: {error.strerror}") from error


def document(value: object) -> None:
    """Print a result as JSON."""
    result(json.dumps(value, indent=2, ensure_ascii=False))


def table(rows: Iterable[Sequence[str]]) -> None:
    """Print rows in columns."""
    lines = [list(row) for row in rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    for line in lines:
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        result("  ".join(cells).rstrip())


def progress(text: str) -> None:
    """Tell what is being done; a reader that went away does not stop the work.

    What it says may be a repository's words: nothing of it moves a terminal's cursor.
    """
    said = "\n".join(map(plain, text.split("\n")))
    with contextlib.suppress(OSError, ValueError):
        print(said, file=sys.stderr, flush=True)  # noqa: T201


def error(problem: LegerError) -> None:
    """Tell why a command failed, and what to do."""
    for line in str(problem).splitlines():
        progress(f"leger: error: {line}")
    for line in problem.hint.splitlines():
        progress(f"leger: hint: {line}")


def failures(failed: Mapping[str, LegerError]) -> None:
    """Tell what went wrong with deployments or units, by name; "" is all of them together."""
    for name, problem in failed.items():
        lines = str(problem).splitlines()
        told = [line if line.startswith(name) else f"{name}: {line}" for line in lines]
        error(LegerError("\n".join(told), hint=problem.hint))


def warnings(faults: Iterable[Fault]) -> None:
    """Tell what was noticed and did not stop anything."""
    for fault in faults:
        progress(f"leger: warning: {fault}")
        if fault.hint:
            progress(f"leger: hint: {fault.hint}")


def confirm(question: str) -> None:
    """Ask on a terminal; CancelledError for anything but yes, or where nobody can be asked."""
    if not sys.stdin.isatty():
        raise CancelledError(f"not confirmed: {question}", hint="--yes answers it")
    progress(f"{question} [y/N] ")
    answer = ""
    with contextlib.suppress(KeyboardInterrupt):
        answer = sys.stdin.readline()
    if answer.strip().lower() not in ("y", "yes"):
        raise CancelledError("cancelled; nothing was changed")
