"""Units do not start for the time, whoever asks: their jobs wait behind one of ours.

A unit that wants a stopped one, and restarts by itself, starts that too; so does a timer of the
host's own. A runtime mask would need two reloads and outlive a killed command. This is a oneshot
unit that the others are ordered after: its start job lasts as long as the lock of this command.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection

from leger import processes
from leger.errors import LegerError
from leger.scope import Scope


def take(scope: Scope, names: Collection[str]) -> None:
    """Let each start of `names` wait for `release`, or the end of this command. LegerError."""
    if not names:
        return
    unit = f"leger-hold-{os.urandom(4).hex()}.service"  # one of a killed command may be there yet
    before = " ".join(name.replace("\\", "\\\\") for name in sorted(names))
    command = [
        *("systemd-run", "--quiet", "--no-block", "--collect"),
        *(["--user"] if scope.name == "user" else []),
        f"--unit={unit}",
        "--description=Starts wait for a backup or restore of Leger's",
        "--service-type=oneshot",
        "--property=DefaultDependencies=no",
        "--property=Conflicts=shutdown.target",
        f"--property=Before=shutdown.target {before}",
        *("flock", str(scope.lock), "true"),
    ]
    done = processes.run(command, timeout=60)
    if done.code != 0:
        raise LegerError(f"{unit} cannot be started: {done.message}")


def release(scope: Scope) -> None:
    """Let what waits start now."""
    user = ["--user"] if scope.name == "user" else []
    with contextlib.suppress(LegerError):
        processes.run(["systemctl", *user, "stop", "leger-hold-*.service"], timeout=60)
