"""The one door to other programs: a list of arguments, a time limit, no shell."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from leger.errors import LegerError


@dataclass(frozen=True)
class Completed:
    """How a program ended: `code` is negative for a signal; the outputs are whole."""

    code: int
    stdout: bytes
    stderr: bytes

    @property
    def message(self) -> str:
        """The last line that the program wrote to stderr, for an error of ours."""
        lines = self.stderr.decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else f"exit status {self.code}"


class TimedOutError(LegerError):
    """A program did not end within its time limit and was killed with its children."""


def run(
    command: Sequence[str],
    *,
    timeout: float,
    data: bytes = b"",
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> Completed:
    """Run `command` to its end, at most `timeout` seconds; `data` (a secret, say) is its stdin.

    The program gets a process group of its own, which is killed as a whole at the limit.
    Raises TimedOutError, and LegerError when it cannot be started.
    """
    try:
        process = subprocess.Popen(
            list(command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=None if environment is None else dict(environment),
            cwd=folder,
            start_new_session=True,
        )
    except OSError as error:
        raise LegerError(f"{command[0]}: cannot be run: {error.strerror}") from error
    try:
        stdout, stderr = process.communicate(data, timeout=timeout)
    except subprocess.TimeoutExpired as error:
        raise TimedOutError(f"{command[0]}: no end after {timeout:g} s, killed") from error
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    return Completed(process.returncode, stdout, stderr)
