"""The first process of a machine: namespaces, mounts, then systemd as PID 1.

Run as `python3 -IS stage.py IMAGE ROOT CGROUP HOSTNAME [SHARE]`. It stays outside, waits for the
machine's init and ends with it, which releases the mount and the loop device. The machine has its
own mount, pid, uts, ipc, net (lo only) and cgroup namespaces; its root is the image.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import signal
import socket
import stat
import struct
import subprocess
import sys
import uuid

NEWNS, NEWCGROUP, NEWUTS = 0x20000, 0x2000000, 0x4000000
NEWIPC, NEWPID, NEWNET = 0x8000000, 0x20000000, 0x40000000
READONLY, NOSUID, NODEV, NOEXEC, REMOUNT, BIND = 1, 2, 4, 8, 32, 4096
RECURSIVE, PRIVATE, SHARED, DETACH = 1 << 14, 1 << 18, 1 << 20, 2
PR_SET_PDEATHSIG = 1
SIOCSIFFLAGS, IFF_UP, IFF_RUNNING = 0x8914, 0x1, 0x40
DEVICES = (
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
    ("fuse", 10, 229),
    ("net/tun", 10, 200),
)

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def _mount(source: str, target: str, kind: str = "", flags: int = 0, options: str = "") -> None:
    arguments = (source.encode(), target.encode(), kind.encode(), flags, options.encode())
    _check(_libc.mount(*arguments), f"mount {target}")


def _unshare(flags: int) -> None:
    _check(_libc.unshare(flags), "unshare")


def main(image: str, root: str, cgroup: str, hostname: str, share: str = "") -> int:
    """Start the machine and wait for its end; 0 after a power-off, 1 after anything else."""
    _unshare(NEWNS | NEWUTS | NEWIPC | NEWNET)
    _mount("none", "/", flags=RECURSIVE | PRIVATE)
    subprocess.run(["mount", "-o", "loop", image, root], check=True)
    _mount("cgroup2", "/sys/fs/cgroup", "cgroup2")
    _unshare(NEWPID)
    child = os.fork()
    if child == 0:
        _machine(root, cgroup, hostname, share)
    _, status = os.waitpid(child, 0)
    ended = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
    return 0 if ended == signal.SIGINT else 1


def _machine(root: str, cgroup: str, hostname: str, share: str) -> None:
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    with open(f"/sys/fs/cgroup/{cgroup}/cgroup.procs", "w") as processes:
        processes.write("0")
    _unshare(NEWCGROUP)
    socket.sethostname(hostname)
    _loopback()
    os.umask(0)
    os.chdir(root)
    _file_systems(share)
    _devices()
    _proc()
    _enter()
    environment = {"container": "machine", "PATH": "/usr/sbin:/usr/bin"}
    systemd = "/usr/lib/systemd/systemd"
    os.execve(systemd, [systemd, "--log-target=journal"], environment)


def _loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        request = struct.pack("16sh14x", b"lo", IFF_UP | IFF_RUNNING)
        fcntl.ioctl(probe, SIOCSIFFLAGS, request)


def _file_systems(share: str) -> None:
    if share:
        _mount(share, "srv/host", flags=BIND)
        _mount("none", "srv/host", flags=BIND | REMOUNT | READONLY)
    safe = NOSUID | NODEV | NOEXEC
    _mount("proc", "proc", "proc", safe)
    _mount("sysfs", "sys", "sysfs", safe | READONLY)
    _mount("cgroup2", "sys/fs/cgroup", "cgroup2", safe, "nsdelegate")
    _mount("tmpfs", "dev", "tmpfs", NOSUID, "mode=755")
    _mount("tmpfs", "run", "tmpfs", NOSUID | NODEV, "mode=755")
    # systemd would mount it anyway, but wait a second: when the mount table has changed five
    # times it looks away that long, and other mounts are masked in the images for that reason.
    _mount("tmpfs", "tmp", "tmpfs", NOSUID | NODEV, "mode=1777")
    for folder in ("dev/pts", "dev/shm", "dev/net", "run/lock", "run/.proc"):
        os.mkdir(folder, 0o755)
    _mount("devpts", "dev/pts", "devpts", 0, "newinstance,ptmxmode=0666,mode=620,gid=5")
    _mount("tmpfs", "dev/shm", "tmpfs", NOSUID | NODEV, "mode=1777")


def _devices() -> None:
    for name, major, minor in DEVICES:
        os.mknod(f"dev/{name}", 0o666 | stat.S_IFCHR, os.makedev(major, minor))
    os.symlink("pts/ptmx", "dev/ptmx")
    os.symlink("/proc/self/fd", "dev/fd")
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        os.symlink(f"fd/{number}", f"dev/{name}")


def _proc() -> None:
    # The kernel has one boot id: without this every boot of every machine would share it.
    with open("run/.boot_id", "w") as boot_id:
        boot_id.write(f"{uuid.uuid4()}\n")
    os.chmod("run/.boot_id", 0o444)
    _mount("run/.boot_id", "proc/sys/kernel/random/boot_id", flags=BIND)
    # A second proc with nothing mounted over it: else rootless podman may not mount its own.
    _mount("proc", "run/.proc", "proc")


def _enter() -> None:
    os.mkdir(".old", 0o700)
    _check(_libc.pivot_root(b".", b".old"), "pivot_root")
    _check(_libc.umount2(b"/.old", DETACH), "umount /.old")
    os.rmdir("/.old")
    _mount("none", "/", flags=RECURSIVE | SHARED)
    os.chdir("/")


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
