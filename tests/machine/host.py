"""What a machine needs of its host: folders, locks, the cgroup tree, a few programs."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

PROGRAMS = ("mmdebstrap", "mkfs.ext4", "e2fsck", "fallocate", "cp", "mount", "nsenter", "tar")
STANDARD_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
MEMORY = Path("/dev/shm")
MEMORY_NEEDED = 8 << 30


class MachineError(Exception):
    """A machine could not be built, booted or reached."""


def cache() -> Path:
    """The folder of all images and machines: ${XDG_CACHE_HOME:-~/.cache}/leger/machines."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(base) / "leger" / "machines"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def machines() -> Path:
    """The folder of the machines that exist."""
    return cache() / "run"


def why_not() -> str:
    """Why machines cannot run here, in one line; empty if they can."""
    if os.geteuid() != 0:
        return "test machines need root (loop mounts and namespaces)"
    missing = [name for name in PROGRAMS if program(name) is None]
    if missing:
        return f"test machines need {', '.join(missing)}: run tools/setup"
    if cgroup_root() is None:
        return "test machines need a mounted cgroup2 hierarchy"
    return ""


def program(name: str) -> str | None:
    """The path of a program, the administrators' folders included."""
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:{STANDARD_PATH}")


def cgroup_root() -> Path | None:
    """Where the host has cgroup2: /sys/fs/cgroup, or .../unified on a hybrid one."""
    for line in Path("/proc/mounts").read_text().splitlines():
        _, place, kind, *_ = line.split()
        if kind == "cgroup2":
            return Path(place)
    return None


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold `path` for one process at a time; waits as long as it takes."""
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def call(*argv: str | Path, timeout: float = 60, data: bytes | None = None) -> bytes:
    """Run a program of the host to its end and return its stdout.

    Raises MachineError with what it said if it fails or takes longer than `timeout` seconds.
    """
    command = [str(part) for part in argv]
    command[0] = program(command[0]) or command[0]
    try:
        done = subprocess.run(
            command, input=data, capture_output=True, timeout=timeout, env=_environment()
        )
    except subprocess.TimeoutExpired as error:
        raise MachineError(f"{command[0]}: did not end within {timeout:.0f} s") from error
    if done.returncode:
        raise MachineError(f"{_shell(command)}: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout


def _environment() -> dict[str, str]:
    path = f"{os.environ.get('PATH', '')}:{STANDARD_PATH}"
    return {**os.environ, "PATH": path, "LC_ALL": "C.UTF-8"}


def _shell(command: Sequence[str]) -> str:
    return " ".join(command)


def copy_sparse(source: Path, target: Path) -> None:
    """Copy an image: shares its blocks where the file system can, else keeps its holes."""
    call("cp", "--reflink=auto", "--sparse=auto", source, target, timeout=300)


def loop_devices(image: Path) -> list[str]:
    """The loop devices that still hold `image`."""
    return [
        path.parent.parent.name
        for path in Path("/sys/block").glob("loop*/loop/backing_file")
        if _backing(path) == str(image)
    ]


def _backing(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def memory_suffices() -> bool:
    """Whether throw-away disks can lie in memory, where nobody waits for the host's disk."""
    available = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return MEMORY.is_dir() and min(available, shutil.disk_usage(MEMORY).free) > MEMORY_NEEDED


def memory_disk(name: str) -> Path:
    """Where the disk of a machine lies that is kept in memory."""
    return MEMORY / f"leger-machine-{name}.ext4"
