"""Units that failed for want of legerd: noted, and started again when legerd is back.

Only of the system's manager; leger-retry.service, which legerd.service pulls in, runs `retry`.
"""

from __future__ import annotations

import contextlib
import os
import subprocess

from leger_hook.started import own_unit

FOLDER = "/run/leger/waiting"


def note(folder: str = FOLDER) -> None:
    """Note that the unit whose control group this process is in waits for legerd."""
    unit, _ = own_unit()
    if unit:
        os.makedirs(folder, mode=0o755, exist_ok=True)
        with open(f"{folder}/{unit}", "w"):
            pass


def retry(folder: str = FOLDER) -> int:
    """Start again what waits and is still failed; what somebody changed meanwhile is left."""
    names: list[str] = []
    with contextlib.suppress(FileNotFoundError):
        names = sorted(os.listdir(folder))
    for name in names:
        os.unlink(f"{folder}/{name}")
        if _systemctl("is-failed", "--quiet", "--", name) == 0:
            _systemctl("reset-failed", "--", name)
            _systemctl("start", "--no-block", "--", name)
    return 0


def _systemctl(*words: str) -> int:
    command = ["systemctl", *words]
    return subprocess.run(command, check=False, timeout=60).returncode
