"""The power switch of a machine: its cgroup on the host, which holds all of its processes."""

from __future__ import annotations

import fcntl
import os
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from machine.host import MachineError, cgroup_root

EXT4_IOC_SHUTDOWN = 0x8004587D
NO_LOG_FLUSH = 2


class Power:
    """Switches one machine on and off from outside."""

    def __init__(self, name: str) -> None:
        root = cgroup_root()
        if root is None:
            raise MachineError("the host has no cgroup2 hierarchy")
        self.cgroup = f"leger-{name}"
        self._folder = root / self.cgroup

    def prepare(self) -> None:
        """Make the cgroup that the machine's first process enters."""
        self._folder.mkdir(exist_ok=True)

    def init(self) -> int | None:
        """The host's pid of the machine's systemd; None while there is none."""
        with suppress(OSError):
            first = (self._folder / "init.scope/cgroup.procs").read_text().split("\n", 1)[0]
            return int(first) if first else None
        return None

    def is_on(self) -> bool:
        """Whether any process of the machine lives."""
        with suppress(OSError):
            return "populated 1" in (self._folder / "cgroup.events").read_text()
        return False

    def cut(self) -> None:
        """Lose the power: freeze everything, drop each unwritten block, kill everything.

        A kill alone would lose nothing, because the host's page cache survives it.
        """
        init = self.init()
        if init is None:
            raise MachineError(f"{self.cgroup}: is not running")
        (self._folder / "cgroup.freeze").write_text("1")
        disk = os.open(f"/proc/{init}/root", os.O_RDONLY)
        try:
            fcntl.ioctl(disk, EXT4_IOC_SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
        finally:
            os.close(disk)
        self.kill()

    def kill(self) -> None:
        """End all processes at once; what they wrote is kept."""
        with suppress(FileNotFoundError):
            (self._folder / "cgroup.kill").write_text("1")

    def wait_off(self, timeout: float, meanwhile: Callable[[], None] = lambda: None) -> bool:
        """Wait until no process is left and remove the cgroup; False if that takes too long."""
        end = time.monotonic() + timeout
        while self.is_on() or not self._removed():
            meanwhile()
            if time.monotonic() > end:
                return False
            time.sleep(0.02)
        return True

    def _removed(self) -> bool:
        for folder, _, _ in os.walk(self._folder, topdown=False):
            with suppress(OSError):
                Path(folder).rmdir()
        return not self._folder.exists()
