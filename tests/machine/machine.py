"""A machine: real systemd as PID 1 and real podman, on a throw-away copy of an image."""

from __future__ import annotations

import atexit
import fcntl
import itertools
import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Self

from machine import transfer
from machine.command import PATH, CommandError, Result, service, text, wait_with, wake
from machine.host import (
    MachineError,
    cache,
    copy_sparse,
    locked,
    loop_devices,
    machines,
    memory_disk,
    memory_suffices,
    program,
    why_not,
)
from machine.image import base_image, remove_stale
from machine.installed import installed_image
from machine.power import Power

BOOT_TIMEOUT = 120.0
STOP_TIMEOUT = 100.0
_numbers = itertools.count(1)
_live: dict[str, Machine] = {}


class Machine:
    """One machine. `with Machine.boot("trixie") as machine:` leaves nothing behind."""

    def __init__(self, name: str, *, hostname: str = "", share: Path | None = None) -> None:
        self.name = name
        self.hostname = hostname or name
        self.share = share
        self._folder = machines() / name
        self._power = Power(name)
        self._owner: IO[str] | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._spawned: list[subprocess.Popen[bytes]] = []

    @classmethod
    def boot(
        cls,
        suite: str = "trixie",
        *,
        installed: bool = False,
        image: Path | None = None,
        name: str = "",
        hostname: str = "",
        share: Path | None = None,
    ) -> Self:
        """Boot a throw-away copy: of the suite's base, of that with Leger installed, or of `image`.

        `share` is a folder of the host, seen read-only at /srv/host. The machine has no network
        but lo. Raises MachineError if it does not come up as "running".
        """
        if reason := why_not():
            raise MachineError(reason)
        if image is None:
            image = installed_image(suite) if installed else base_image(suite)
        collect()
        in_memory = not name and memory_suffices()
        name = name or f"{suite}-{os.getpid()}-{next(_numbers)}"
        machine = cls(name, hostname=hostname, share=share)
        machine._create(image, in_memory)
        try:
            machine._expect_running()
        except BaseException:
            machine.drop()
            raise
        return machine

    @classmethod
    def attach(cls, name: str) -> Self:
        """A machine that another process booted, or that was kept."""
        folder = machines() / name
        try:
            saved = json.loads((folder / "options").read_text())
        except FileNotFoundError as error:
            raise MachineError(f"{name}: no such machine") from error
        share = Path(saved["share"]) if saved["share"] else None
        return cls(name, hostname=saved["hostname"], share=share)

    @property
    def disk(self) -> Path:
        """The image that this machine runs on."""
        return (self._folder / "disk.ext4").resolve()

    @property
    def log(self) -> str:
        """What the start and the spawned commands wrote to stderr."""
        return (self._folder / "log").read_text(errors="replace")

    def _create(self, image: Path, in_memory: bool) -> None:
        with locked(cache() / "run.lock"):  # so that nobody collects it before it has an owner
            try:
                self._folder.mkdir(parents=True)
            except FileExistsError as error:
                raise MachineError(f"{self.name}: there is such a machine already") from error
            self._owner = (self._folder / "owner").open("w")
            fcntl.flock(self._owner, fcntl.LOCK_EX)
            _live[self.name] = self
        if in_memory:
            disk = memory_disk(self.name)
            (self._folder / "disk.ext4").symlink_to(disk)
        (self._folder / "root").mkdir()
        options = {"hostname": self.hostname, "share": str(self.share or "")}
        (self._folder / "options").write_text(json.dumps(options))
        copy_sparse(image, self.disk)

    def _expect_running(self) -> None:
        state = self.start()
        if state != "running":
            failed = self.run("systemctl", "list-units", "--failed", "--no-legend", check=False)
            raise MachineError(f"{self.name}: came up {state}: {failed.stdout}{self.log}")

    def start(self, *, wait: bool = True) -> str:
        """Boot what the disk holds; returns systemd's word for it: running, degraded, ...

        Without `wait` it returns "starting" as soon as commands can be run.
        """
        if self._power.is_on():
            raise MachineError(f"{self.name}: runs already")
        self._power.prepare()
        stage = Path(__file__).with_name("stage.py")
        argv = [sys.executable, "-IS", stage, self.disk, self._folder / "root"]
        argv += [self._power.cgroup, self.hostname, self.share or ""]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [str(part) for part in argv],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._wait_manager()
        return self.wait_booted() if wait else "starting"

    def _wait_manager(self) -> None:
        end = time.monotonic() + BOOT_TIMEOUT
        while not self._manager_answers():
            assert self._process is not None
            if self._process.poll() is not None or time.monotonic() > end:
                self._off()
                raise MachineError(f"{self.name}: did not start: {self.log}")
            time.sleep(0.02)

    def _manager_answers(self) -> bool:
        init = self._power.init()
        return init is not None and Path(f"/proc/{init}/root/run/systemd/private").exists()

    def wait_booted(self, timeout: float = BOOT_TIMEOUT) -> str:
        """Wait until all start jobs of the boot are done; returns running or degraded."""
        argv = ["systemctl", "is-system-running", "--wait"]
        return text(self._exchange(argv, timeout=timeout, check=False)).strip()

    def is_on(self) -> bool:
        """Whether the machine runs."""
        return self._power.is_on()

    def cut(self) -> None:
        """Cut the power: every block not yet fsynced is lost. `start` boots what is left."""
        self._power.cut()
        self._off()

    def stop(self) -> None:
        """Shut down in order."""
        with suppress(MachineError):
            self._inside("systemctl", "poweroff", timeout=10)
        self._wait_stopped()

    def reboot(self) -> str:
        """Shut down in order and boot again; returns like `start`."""
        self.stop()
        return self.start()

    def _wait_stopped(self) -> None:
        if not self._power.wait_off(STOP_TIMEOUT, lambda: wake(self._spawned)):
            self._off()
            raise MachineError(f"{self.name}: did not shut down within {STOP_TIMEOUT:.0f} s")
        self._off()

    def _off(self) -> None:
        self._power.kill()
        if not self._power.wait_off(60):
            raise MachineError(f"{self.name}: processes cannot be killed")
        if self._process is not None:
            wait_with(self._process, self._spawned, 60)
            self._process = None
        self._spawned.clear()
        end = time.monotonic() + 60
        while loop_devices(self.disk):
            if time.monotonic() > end:
                raise MachineError(f"{self.name}: its loop device stays busy")
            time.sleep(0.02)

    def drop(self) -> None:
        """End the machine and remove all of it; may be called twice."""
        _live.pop(self.name, None)
        with suppress(MachineError, OSError):
            self._power.cut()  # nobody needs what is not written yet
        self._off()
        self.disk.unlink(missing_ok=True)
        shutil.rmtree(self._folder, ignore_errors=True)
        if self._owner is not None:
            self._owner.close()
            self._owner = None

    def keep(self) -> None:
        """Let the machine outlive this process; `attach` finds it again by its name."""
        _live.pop(self.name, None)
        (self._folder / "kept").touch()
        if self._owner is not None:
            self._owner.close()
            self._owner = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.drop()

    def run(
        self,
        *argv: str | Path,
        input: bytes | str = b"",  # noqa: A002 - subprocess's own name for it
        check: bool = True,
        timeout: float = 60,
        user: str = "",
        env: Mapping[str, str] | None = None,
    ) -> Result:
        """Run a command as a service of its own, without a shell, to its end.

        As `user` it runs in a login session of that user, whose manager is then up. Raises
        CommandError if it fails, unless not `check`; MachineError after `timeout` seconds.
        """
        unit = f"machine-run-{os.getpid()}-{next(_numbers)}"
        command = self._enter(service(unit, argv, user, env))
        data = input.encode() if isinstance(input, str) else input
        try:
            done = subprocess.run(command, input=data, capture_output=True, timeout=timeout)
        except subprocess.TimeoutExpired as error:
            self._end(unit)
            said = text(b"".join(part for part in (error.stdout, error.stderr) if part))
            message = f"{shlex.join(map(str, argv))}: did not end within {timeout:.0f} s\n{said}"
            raise MachineError(f"{self.name}: {message}") from error
        result = Result(done.returncode, text(done.stdout), text(done.stderr))
        if check and result.code:
            raise CommandError(shlex.join(map(str, argv)), result)
        return result

    def _end(self, unit: str) -> None:
        with suppress(MachineError):
            self._inside("systemctl", "kill", "--signal=KILL", f"{unit}.service", timeout=10)
            self._inside("systemctl", "stop", f"{unit}.service", timeout=10)

    def sh(
        self,
        script: str,
        *,
        check: bool = True,
        timeout: float = 60,
        user: str = "",
        env: Mapping[str, str] | None = None,
    ) -> Result:
        """Run a bash script, which ends at its first failing command."""
        argv = ("bash", "-euo", "pipefail", "-s")
        return self.run(*argv, input=script, check=check, timeout=timeout, user=user, env=env)

    def spawn(
        self, *argv: str | Path, user: str = "", env: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """Start a command whose stdin and stdout are unbuffered pipes to the host.

        What it has written is the host's at once, whatever happens to the machine. Its stderr
        goes to `log`. A power cut ends it. Use it as a context manager or wait for it.
        """
        unit = f"machine-spawn-{os.getpid()}-{next(_numbers)}"
        with (self._folder / "log").open("ab") as log:
            spawned = subprocess.Popen(
                self._enter(service(unit, argv, user, env)),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                bufsize=0,
                start_new_session=True,
            )
        self._spawned.append(spawned)
        return spawned

    def _enter(self, argv: list[str]) -> list[str]:
        init = self._power.init()
        if init is None:
            raise MachineError(f"{self.name}: is not running")
        nsenter = [program("nsenter") or "nsenter", "-t", str(init)]
        clean = ["env", "-i", "HOME=/root", "LANG=C.UTF-8", f"PATH={PATH}"]
        return [*nsenter, "-m", "-u", "-i", "-n", "-p", "-C", "-r", "-w", "--", *clean, *argv]

    def _inside(self, *argv: str, timeout: float = 60) -> None:
        """Run a program in the machine beside systemd's own tree, for the machine's own needs."""
        self._exchange(list(argv), timeout=timeout)

    def _exchange(
        self, argv: list[str], data: bytes = b"", timeout: float = 60, *, check: bool = True
    ) -> bytes:
        try:
            done = subprocess.run(
                self._enter(argv), input=data, capture_output=True, timeout=timeout
            )
        except subprocess.TimeoutExpired as error:
            message = f"{self.name}: {argv[0]}: did not end within {timeout:.0f} s"
            raise MachineError(message) from error
        if check and done.returncode:
            message = text(done.stderr).strip() or f"exit {done.returncode}"
            raise MachineError(f"{self.name}: {shlex.join(argv)}: {message}")
        return done.stdout

    def push(self, content: bytes | str | Path, remote: str, mode: int = 0o644) -> None:
        """Put a file there (its folder is made), or a folder of the host with all it holds."""
        if isinstance(content, Path) and content.is_dir():
            self._exchange(["mkdir", "-p", remote])
            unpack = ["tar", "-x", "-f", "-", "--no-same-owner", "-C", remote]
            self._exchange(unpack, transfer.packed(content))
            return
        data = transfer.content_of(content)
        self._exchange(["sh", "-ec", transfer.RECEIVE, "push", remote, f"{mode:o}"], data)

    def pull(self, remote: str) -> bytes:
        """The content of a file."""
        return self._exchange(["sh", "-ec", 'exec cat -- "$1"', "pull", remote])

    def pull_folder(self, remote: str, local: Path) -> None:
        """Copy a folder of the machine, with all it holds, into a folder of the host."""
        transfer.unpack(self._exchange(["tar", "-c", "-f", "-", "-C", remote, "."]), local)

    def sync(self) -> None:
        """Write out everything, so that a cut from here on cannot lose it."""
        self._inside("sync")

    def boot_id(self) -> str:
        """The kernel's id of this boot."""
        return self.pull("/proc/sys/kernel/random/boot_id").decode().strip()

    def journal(self, *options: str) -> str:
        """The messages of this boot, e.g. journal("-u", "legerd")."""
        return self.run("journalctl", "-b", "-o", "cat", "--no-pager", *options).stdout

    def add_user(self, name: str, *, linger: bool = True) -> None:
        """Make a user with sub-ids for rootless podman; with `linger` their manager is up."""
        self.run("useradd", "--create-home", "--shell", "/bin/bash", name)
        if linger:
            self.run("loginctl", "enable-linger", name)
            self.sh(f"until systemctl is-active -q user@$(id -u {name}); do sleep 0.05; done")

    def shell_command(self) -> list[str]:
        """The argument list of an interactive root shell in the machine."""
        return self._enter(["TERM=linux", "bash", "-l"])

    def import_image(self, reference: str, user: str = "") -> None:
        """Make a container image of one static busybox, without a registry."""
        self.sh(f"{transfer.BUSYBOX_IMAGE} {shlex.quote(reference)}\n", user=user)


def collect() -> None:
    """Drop the machines whose process is gone, unless they were kept, and what builds left."""
    remove_stale()
    with locked(cache() / "run.lock"):
        for folder in machines().glob("*"):
            if folder.name not in _live and not (folder / "kept").exists():
                _drop_if_abandoned(folder)


def _drop_if_abandoned(folder: Path) -> None:
    # What does not go now (a busy disk) goes the next time; it must not spoil a test of today.
    with suppress(OSError, MachineError), (folder / "owner").open("a") as owner:
        fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
        Machine(folder.name).drop()


@atexit.register
def _drop_all() -> None:
    for machine in list(_live.values()):
        machine.drop()
