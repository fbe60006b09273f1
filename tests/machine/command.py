"""Commands in a machine: how they are started, and how they end."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from machine.host import MachineError

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin"


@dataclass(frozen=True)
class Result:
    """How a command in a machine ended."""

    code: int
    stdout: str
    stderr: str


class CommandError(MachineError):
    """A command in a machine failed that was expected to succeed."""

    def __init__(self, command: str, result: Result) -> None:
        super().__init__(f"{command}: exit {result.code}\n{result.stdout}{result.stderr}".strip())
        self.result = result


def service(
    unit: str, argv: tuple[str | Path, ...], user: str, env: Mapping[str, str] | None
) -> list[str]:
    """systemd-run's arguments: no expansion of $, pipes passed on, the exit code is ours."""
    options = ["--quiet", "--wait", "--pipe", "--collect", "--expand-environment=no"]
    options += [f"--unit={unit}", f"--setenv=PATH={PATH}", "--setenv=LANG=C.UTF-8"]
    options += [f"--setenv={name}={value}" for name, value in (env or {}).items()]
    # What a command leaves running (podman run --detach) stays, as after a login.
    options += [f"--uid={user or 'root'}"]
    login = ["--property=PAMName=login", "--property=WorkingDirectory=~"]
    options += login if user else ["--property=KillMode=process"]
    return ["systemd-run", *options, "--", *map(str, argv)]


def wake(spawned: list[subprocess.Popen[bytes]]) -> None:
    """Let commands that were spawned in a machine go on to their end, while the machine ends.

    A shutdown stops all processes for a moment before it kills them. An nsenter that sees its
    child stopped stops itself; its dead child, which it does not collect, keeps the machine.
    """
    for command in spawned:
        if command.poll() is None:
            command.send_signal(signal.SIGCONT)


def wait_with(
    process: subprocess.Popen[bytes], spawned: list[subprocess.Popen[bytes]], seconds: float
) -> None:
    """Wait for a machine's first process, waking what was `spawned` in the machine."""
    end = time.monotonic() + seconds
    while True:
        wake(spawned)
        if process.poll() is not None or time.monotonic() > end:
            break
        time.sleep(0.02)
    process.wait(0)


def text(data: bytes) -> str:
    """What a program wrote, whatever it was."""
    return data.decode(errors="replace")
