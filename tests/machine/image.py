"""Base images: one suite of Debian with systemd and podman, built once and kept."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from machine.host import MachineError, cache, call, locked

SUITES = ("trixie", "forky")
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
SIZE = "4G"
STALE = 12 * 3600.0
RECIPE = 5  # raise it when an image made of the same packages would differ

SYSTEM = (
    "systemd systemd-sysv systemd-container dbus dbus-user-session libpam-systemd procps curl "
    "strace iproute2 git ca-certificates openssh-client openssh-server busybox-static make"
)
CONTAINERS = "podman crun catatonit netavark aardvark-dns passt uidmap nftables iptables"
PYTHON = (
    "python3 python3-bottle python3-cryptography python3-requests python3-yaml python3-git "
    "python3-podman python3-pystemd python3-jinja2 python3-waitress"
)
ONLY = {"trixie": "", "forky": "rpm dnf createrepo-c"}
MASKED = (
    "systemd-modules-load.service",
    "systemd-sysctl.service",
    "dev-hugepages.mount",
    "dev-mqueue.mount",
    "sys-kernel-debug.mount",
    "sys-kernel-tracing.mount",
    "run-lock.mount",
    "sys-fs-fuse-connections.mount",
    "sys-kernel-config.mount",
    "var-lib-machines.mount",
    "proc-sys-fs-binfmt_misc.automount",
    "ldconfig.service",
    "systemd-journal-catalog-update.service",
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "fstrim.timer",
    "ssh.service",
    "ssh.socket",
    "sshd-keygen.service",
)


def packages(suite: str) -> list[str]:
    """The Debian packages of a suite's base image."""
    if suite not in SUITES:
        raise MachineError(f"{suite}: no such suite, there are {', '.join(SUITES)}")
    return sorted(f"{SYSTEM} {CONTAINERS} {PYTHON} {ONLY[suite]}".split())


def key(suite: str) -> str:
    """What tells one base image from another: suite, packages and recipe."""
    content = f"{RECIPE} {suite} {SIZE} {' '.join(packages(suite))} {' '.join(MASKED)}"
    return hashlib.sha256(content.encode()).hexdigest()[:12]


def base_image(suite: str) -> Path:
    """The base image of `suite`, built now (a minute, needs the mirror) unless it is there."""
    image = cache() / f"base-{suite}-{key(suite)}.ext4"
    if image.exists():
        return image
    with locked(cache() / f"base-{suite}.lock"):
        if not image.exists():
            _discard_older(suite)
            _build(suite, image)
    return image


def quadlet_binary(suite: str) -> Path | None:
    """A program that runs the suite's own quadlet on this host; None if it cannot run here.

    It brings its own C library, so that only the processor and the kernel must fit.
    """
    base_image(suite)
    program = _quadlet_folder(suite) / "quadlet"
    try:
        call(program, "-version", timeout=10)
    except (MachineError, OSError):
        return None
    return program


def _quadlet_folder(suite: str) -> Path:
    return cache() / f"quadlet-{suite}-{key(suite)}"


def mirror() -> str:
    """Debian's mirror as this host has it: LEGER_MIRROR, else apt's own; empty if it has none."""
    if chosen := os.environ.get("LEGER_MIRROR"):
        return chosen
    for source in _apt_sources():
        for line in source.read_text().splitlines():
            words = line.split()
            if words[:1] == ["URIs:"] and words[1].rstrip("/").endswith("/debian"):
                return words[1]
            if words[:1] == ["deb"] and words[-3].rstrip("/").endswith("/debian"):
                return words[-3]
    return ""


def _apt_sources() -> Iterator[Path]:
    folder = Path("/etc/apt")
    yield from sorted(folder.glob("sources.list.d/*.sources"))
    yield from folder.glob("sources.list")


def _build(suite: str, image: Path) -> None:
    with scratch() as folder:
        root = folder / "root"
        root.mkdir(mode=0o755)
        _bootstrap(suite, root)
        _configure(root)
        _extract_quadlet(root, _quadlet_folder(suite))
        unfinished = folder / "image"
        _make_file_system(root, unfinished)
        unfinished.replace(image)


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder beside the images, gone afterwards."""
    with tempfile.TemporaryDirectory(dir=cache(), prefix="scratch-") as name:
        yield Path(name)


def remove_stale() -> None:
    """Remove the folders of builds that were killed."""
    for pattern in ("scratch-*", "sources-*"):
        for folder in cache().glob(pattern):
            with suppress(FileNotFoundError):
                if time.time() - folder.stat().st_mtime > STALE:
                    shutil.rmtree(folder, ignore_errors=True)


def _bootstrap(suite: str, root: Path) -> None:
    options = [
        "--mode=root",
        "--variant=minbase",
        "--skip=check/qemu",
        "--quiet",
        # A mirror may be a snapshot, whose Release file has expired; its signature is checked.
        '--aptopt=Acquire::Check-Valid-Until "false"',
        "--dpkgopt=path-exclude=/usr/share/man/*",
        "--dpkgopt=path-exclude=/usr/share/locale/*",
        "--dpkgopt=path-exclude=/usr/share/doc/*",
        f"--include={','.join(packages(suite))}",
    ]
    if KEYRING.exists():
        options.append(f"--keyring={KEYRING}")
    source = [f"deb {mirror()} {suite} main"] if mirror() else []  # else mmdebstrap knows one
    call("mmdebstrap", *options, suite, root, *source, timeout=1800)


def _configure(root: Path) -> None:
    # Where the host keeps the pids controller on cgroup v1, podman's default limit cannot be set.
    (root / "etc/containers/containers.conf").write_text("[containers]\npids_limit = 0\n")
    manager = root / "etc/systemd/system.conf.d"
    manager.mkdir(parents=True, exist_ok=True)
    (manager / "machine.conf").write_text("[Manager]\nDefaultTimeoutStopSec=20s\n")
    for unit in MASKED:
        (root / "etc/systemd/system" / unit).symlink_to("/dev/null")
    (root / "srv/host").mkdir(parents=True)
    (root / "etc/machine-id").write_text("")
    (root / "etc/hostname").unlink(missing_ok=True)
    shutil.rmtree(root / "var/cache/apt", ignore_errors=True)
    shutil.rmtree(root / "var/lib/apt/lists", ignore_errors=True)


def _extract_quadlet(root: Path, target: Path) -> None:
    shutil.rmtree(target, ignore_errors=True)
    libraries = target / "lib"
    libraries.mkdir(parents=True)
    inside = "/usr/libexec/podman/quadlet"
    listing = call("chroot", root, "ldd", inside).decode().split()
    for library in {word for word in listing if word.startswith("/")}:
        shutil.copy(_within(root, library), libraries / Path(library).name)
    shutil.copy(_within(root, inside), target / "quadlet.bin")
    (loader,) = libraries.glob("ld-linux*")
    start = f'exec "$d/lib/{loader.name}" --library-path "$d/lib" "$d/quadlet.bin" "$@"'
    program = target / "quadlet"
    program.write_text(f'#!/bin/sh\nd=$(dirname "$(readlink -f "$0")")\n{start}\n')
    program.chmod(0o755)


def _within(root: Path, path: str) -> Path:
    """`path` of a tree as a path of the host, with links resolved inside of that tree."""
    resolved = call("chroot", root, "readlink", "-f", path).decode().strip()
    return root / resolved.lstrip("/")


def _make_file_system(root: Path, image: Path) -> None:
    # Nothing is left to a background thread, which would fill every copy with zeroes.
    extended = "assume_storage_prezeroed=1,lazy_itable_init=0,lazy_journal_init=0"
    options = ("-q", "-F", "-L", "root", "-E", extended, "-J", "size=32", "-m", "0")
    call("mkfs.ext4", *options, "-d", root, image, SIZE, timeout=600)
    call("fallocate", "--dig-holes", image, timeout=300)


def _discard_older(suite: str) -> None:
    """Images of package lists that are no longer asked for."""
    for pattern in (f"base-{suite}-*.ext4", f"installed-{suite}-*.ext4"):
        for path in cache().glob(pattern):
            path.unlink()
    for folder in cache().glob(f"quadlet-{suite}-*"):
        shutil.rmtree(folder)
