"""The servers that are measured: legerd on a unix socket, and setec's own beside it."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.load import ask, request

ROOT = Path(__file__).resolve().parents[1]
URL = "LEGER_SETEC_URL"
_STARTER = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1")
os.execv(sys.executable, [sys.executable, "-m", "legerd.main", *sys.argv[2:]])
"""


@dataclass(frozen=True)
class Server:
    """A running server; `pid` is 0 where it is somebody else's."""

    name: str
    pid: int
    connect: Callable[[], socket.socket]

    def memory(self) -> float:
        """The resident memory in MiB."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            name, _, value = line.partition(":")
            if name == "VmRSS":
                return int(value.split()[0]) / 1024
        raise RuntimeError("no VmRSS")


@contextlib.contextmanager
def legerd(folder: Path, key: bytes = bytes(32)) -> Iterator[Server]:
    """legerd with the vault in `folder`, whose key-encryption key is `key`."""
    path = folder / "s"
    (folder / "key").write_bytes(key)
    (folder / "key").chmod(0o600)
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen(4096)
        number = listening.fileno()
        options = ["--state-dir", str(folder), "--key-file", str(folder / "key")]
        process = subprocess.Popen(
            [sys.executable, "-c", _STARTER, str(number), *options, "--policy", str(folder / "p")],
            pass_fds=[number],
            env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'lib'}:{ROOT / 'generator'}"},
            stderr=subprocess.DEVNULL,
        )
        try:
            with _unix(path) as first:
                ask(first, request("list", "{}"))  # it is ready now
            yield Server("legerd", process.pid, lambda: _unix(path))
        finally:
            process.terminate()
            process.wait(20)


@contextlib.contextmanager
def setec(folder: Path) -> Iterator[Server | None]:
    """setec's server with its database in `folder`; None where Go cannot make it.

    The environment may give the address (host:port) of another one, which everybody may call.
    """
    if given := os.environ.get(URL, "").removeprefix("http://").strip("/"):
        yield Server("setec", 0, lambda: _tcp(given))
        return
    program = _built()
    if program is None:
        yield None
        return
    with subprocess.Popen([program, str(folder)], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            address = process.stdout.readline().strip()
            yield Server("setec", process.pid, lambda: _tcp(address))
        finally:
            process.terminate()


def _built() -> Path | None:
    """setec's server, compiled from bench/setec; kept until its sources change."""
    command = shutil.which("go") or shutil.which("go", path="/usr/local/go/bin")
    if command is None:
        return None
    sources = ROOT / "bench/setec"
    program = Path(tempfile.gettempdir()) / f"leger-bench-{os.getuid()}" / "setec"
    program.parent.mkdir(mode=0o700, exist_ok=True)
    newest = max(path.stat().st_mtime for path in sources.iterdir())
    if not program.exists() or program.stat().st_mtime < newest:
        environment = {**os.environ, "GOTOOLCHAIN": "auto"}
        built = [command, "build", "-o", str(program), "."]
        if subprocess.run(built, cwd=sources, env=environment, check=False).returncode:
            return None
    return program


def _unix(path: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(str(path))
    return connection


def _tcp(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    connection = socket.create_connection((host, int(port)))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection
