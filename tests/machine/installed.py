"""Images with Leger installed: a base image, a digest of the sources, one way for each suite."""

from __future__ import annotations

import functools
import hashlib
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from machine import image
from machine.host import MachineError, cache, call, copy_sparse, locked

if TYPE_CHECKING:
    from machine.machine import Machine

REPOSITORY = Path(__file__).resolve().parents[2]
INPUTS = ("Makefile", "setup.cfg", "setup.py", "LICENSE", "README.md", "CHANGELOG.md")
INPUT_FOLDERS = ("lib", "generator", "hooks", "legerd", "rpm", "docs", "tools", "tests/packaging")
IGNORED = ("__pycache__", "*.pyc", "*.egg-info", "*.swp")
KEPT = 3
IN_USE = 900.0  # seconds for which an image that was asked for is left alone


def _by_make(machine: Machine) -> None:
    machine.run("make", "-C", "/srv/host", "install", timeout=300)
    machine.sh(
        "systemd-sysusers && systemd-tmpfiles --create && systemctl daemon-reload\n"
        "systemctl preset legerd.socket legerd-users.socket legerd-keygen.service legerd.service "
        "leger-settle.service leger-sync.timer\n"
        "systemctl --global preset leger-settle.service leger-sync.timer\n"
    )


def _by_dnf(machine: Machine) -> None:
    machine.run("/srv/host/tests/packaging/install", "/srv/host", timeout=300)


# A test says itself when it wants a sync.
_NO_TIMERS = "systemctl disable --now leger-sync.timer; systemctl --global disable leger-sync.timer"

# How Leger gets into a machine of each suite; the sources are at /srv/host.
WAYS: dict[str, Callable[[Machine], None]] = {"trixie": _by_make, "forky": _by_dnf}


def installed_image(suite: str) -> Path:
    """An image of `suite` with Leger as this work tree has it, built now unless it is there."""
    sources, digest = _sources()
    result = cache() / f"installed-{suite}-{_key(suite, digest)}.ext4"
    with locked(cache() / f"installed-{suite}.lock"):
        if not result.exists():
            _discard_older(suite)
            _install(suite, sources, result)
        os.utime(result)
    return result


def _key(suite: str, digest: str) -> str:
    return hashlib.sha256(f"{image.key(suite)} {digest}".encode()).hexdigest()[:12]


@functools.cache
def _sources() -> tuple[Path, str]:
    """A private copy of what installing needs, so that one process tests one state; its digest."""
    import atexit
    import tempfile

    folder = Path(tempfile.mkdtemp(dir=cache(), prefix="sources-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    for name in INPUTS:
        if (REPOSITORY / name).exists():
            shutil.copy(REPOSITORY / name, folder)
    for name in INPUT_FOLDERS:
        if (REPOSITORY / name).is_dir():
            ignore = shutil.ignore_patterns(*IGNORED)
            shutil.copytree(REPOSITORY / name, folder / name, symlinks=True, ignore=ignore)
    return folder, _digest(folder)


def _digest(folder: Path) -> str:
    digest = hashlib.sha256(Path(__file__).read_bytes())
    for path in sorted(folder.rglob("*")):
        digest.update(f"\0{path.relative_to(folder)}\0{path.lstat().st_mode:o}\0".encode())
        if path.is_symlink():
            digest.update(str(path.readlink()).encode())
        elif path.is_file():
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _install(suite: str, sources: Path, result: Path) -> None:
    from machine.machine import Machine

    base = image.base_image(suite)
    with Machine.boot(suite, image=base, share=sources) as machine:
        machine.import_image("localhost/hello:1")
        WAYS[suite](machine)
        machine.sh(_NO_TIMERS)
        machine.push(b"", "/etc/machine-id", 0o444)
        machine.stop()
        _check(machine.disk)
        call("fallocate", "--dig-holes", machine.disk, timeout=300)
        partial = result.with_suffix(".new")  # the disk may lie on another file system
        copy_sparse(machine.disk, partial)
        partial.replace(result)


def _check(disk: Path) -> None:
    try:
        call("e2fsck", "-f", "-p", "-E", "discard", disk, timeout=300)
    except MachineError as error:
        raise MachineError(f"the image is damaged after installing: {error}") from error


def _discard_older(suite: str) -> None:
    images = [(path.stat().st_mtime, path) for path in cache().glob(f"installed-{suite}-*.ext4")]
    for used, path in sorted(images)[:-KEPT]:
        if time.time() - used > IN_USE:
            path.unlink()
