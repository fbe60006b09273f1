"""A command that switches units runs in a service of its own: a closed terminal does not stop it."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from leger.cli import output

_KEPT = ("LANG", "LC_ALL", "SUDO_UID", "SSH_AUTH_SOCK", "HOME", "PATH", "TERM", "NO_COLOR")


def run_inside(arguments: Sequence[str], *, user: bool) -> int:
    """Run `leger ARGUMENTS` in a transient service, attached to this one's streams.

    Returns its exit code. Where systemd does not run it runs here.
    """
    program = [sys.executable, *_flags(), str(Path(sys.argv[0]).resolve()), *arguments]
    environment = {"LEGER_INSIDE": "1"}
    if not Path("/run/systemd/system").is_dir() or shutil.which("systemd-run") is None:
        os.execve(program[0], program, {**os.environ, **environment})
    environment |= {key: os.environ[key] for key in _KEPT if key in os.environ}
    unit = f"leger-{os.getpid()}-{os.urandom(3).hex()}.service"
    command = [
        "systemd-run",
        *(["--user"] if user else []),
        "--quiet",
        "--wait",
        "--pipe",
        "--collect",
        "--service-type=exec",
        "--property=KillMode=mixed",
        f"--unit={unit}",
        f"--working-directory={Path.cwd()}",
        *(f"--setenv={key}={value}" for key, value in environment.items()),
        "--",
        *program,
    ]
    process = subprocess.Popen(command, start_new_session=True)
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            output.progress("leger: asked to stop; a switch that has begun is finished first")
            with contextlib.suppress(OSError):
                _interrupt(unit, user=user)


def _interrupt(unit: str, *, user: bool) -> None:
    subprocess.run(
        ["systemctl", *(["--user"] if user else []), "kill", f"--signal={signal.SIGINT}", unit],
        check=False,
        capture_output=True,
        timeout=30,
    )


def _flags() -> list[str]:
    return ["-I"] if sys.flags.isolated else []
