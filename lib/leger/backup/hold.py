"""Units do not start for the time, whoever asks: their jobs wait behind one of ours.

A unit that wants a stopped one, and restarts by itself, starts that too; so does a timer of the
host's own. A runtime mask would need two reloads and outlive a killed command. This is a oneshot
unit that the others are ordered after: its start job lasts as long as the lock of this command.
"""

from __future__ import annotations

from collections.abc import Collection

from leger import processes
from leger.errors import LegerError
from leger.scope import Scope
from leger.systemd import Manager

UNIT = "leger-hold.service"


def take(scope: Scope, names: Collection[str]) -> None:
    """Let each start of `names` wait for `release`, or the end of this command. LegerError."""
    if not names:
        return
    before = " ".join(name.replace("\\", "\\\\") for name in sorted(names))
    command = [
        *("systemd-run", "--quiet", "--no-block", "--collect"),
        *(["--user"] if scope.name == "user" else []),
        f"--unit={UNIT}",
        "--description=Starts wait for a backup or restore of Leger's",
        "--service-type=oneshot",
        "--property=DefaultDependencies=no",
        "--property=Conflicts=shutdown.target",
        f"--property=Before=shutdown.target {before}",
        *("flock", str(scope.lock), "true"),
    ]
    done = processes.run(command, timeout=60)
    if done.code != 0:
        raise LegerError(f"{UNIT} cannot be started: {done.message}", hint=f"systemctl stop {UNIT}")


def release(manager: Manager) -> None:
    """Let what waits start now."""
    manager.run([("stop", UNIT)], 60)
