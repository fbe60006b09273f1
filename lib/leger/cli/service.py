"""A command that switches units runs in a service of its own, which no closed terminal stops."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from leger import processes, relay
from leger.cli import output
from leger.errors import NotAuthorisedError

_KEPT = (
    "LANG", "LC_ALL", "SUDO_UID", "SSH_AUTH_SOCK", "HOME", "PATH", "TERM", "NO_COLOR",
    relay.VARIABLE,
)  # fmt: skip


def authorise(*, user: bool) -> None:
    """Refuse early, with a hint, what systemd and the file system would refuse anyway."""
    if not user and os.getuid() != 0:
        raise NotAuthorisedError(
            "the system's deployments are root's", hint="use sudo, or leger --user for your own"
        )


def is_possible() -> bool:
    """Whether there is a manager that can run a service."""
    return Path("/run/systemd/system").is_dir() and shutil.which("systemd-run") is not None


def run_inside(arguments: Sequence[str], *, user: bool) -> int:
    """Run `leger ARGUMENTS` in a transient service, attached to this one's streams.

    Returns its exit code.
    """
    environment = {"LEGER_INSIDE": "1"}
    environment |= {key: os.environ[key] for key in _KEPT if key in os.environ}
    unit = new_name()
    command = [
        *transient(unit, environment),
        "--property=OnFailure=leger-resume.service",  # killed in a switch, it goes on by itself
        *(["--user"] if user else []),
        f"--working-directory={Path.cwd()}",
        "--",
        *program(),
        *arguments,
    ]
    return attached(command, ["systemctl", *(["--user"] if user else [])], unit)


def new_name() -> str:
    """A name for a transient service that no other has."""
    return f"leger-{os.getpid()}-{os.urandom(3).hex()}.service"


def program() -> list[str]:
    """How this program is run, as it was."""
    flags = ["-I"] if sys.flags.isolated else []
    return [sys.executable, *flags, str(Path(sys.argv[0]).resolve())]


def transient(unit: str, environment: Mapping[str, str]) -> list[str]:
    """systemd-run for the service `unit`: attached, gone when it ends; more options may follow."""
    return [
        "systemd-run",
        "--quiet",
        "--wait",
        "--pipe",
        "--collect",
        "--expand-environment=no",
        "--service-type=exec",
        "--property=KillMode=mixed",
        f"--unit={unit}",
        *(f"--setenv={key}={value}" for key, value in environment.items()),
    ]


def attached(command: Sequence[str], manager: Sequence[str], unit: str) -> int:
    """Run systemd-run to the end of the service `unit`, to which an interrupt is passed on."""
    sys.stdout.flush()  # what was said before comes before what it says
    process = subprocess.Popen(command, start_new_session=True)
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            output.progress("leger: asked to stop; a switch that has begun is finished first")
            processes.run([*manager, "kill", "--signal=SIGINT", unit], timeout=30)
