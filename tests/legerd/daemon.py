"""legerd as a process: started as systemd starts it (sockets passed), or with --dev on a port."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.legerd.served import HEADERS, UnixConnection
from tests.legerd.tailscaled import Tailscaled, tailscaled

ROOT = Path(__file__).parents[2]
# Does what systemd does: the sockets become descriptors from 3 on, LISTEN_PID the process itself.
_STARTER = """
import os, sys
for index, number in enumerate(sys.argv[1].split(",")):
    os.dup2(int(number), 3 + index)
os.environ["LISTEN_PID"] = str(os.getpid())
os.execv(sys.executable, [sys.executable, *sys.argv[2:]])
"""


@dataclass
class Daemon:
    """A running legerd; `address` is a path or a (host, port)."""

    folder: Path
    address: Path | tuple[str, int]
    process: subprocess.Popen[bytes]
    tailscaled: Tailscaled | None = None
    options: list[str] = field(default_factory=list)

    def connect(self) -> http.client.HTTPConnection:
        if isinstance(self.address, Path):
            return UnixConnection(self.address)
        return http.client.HTTPConnection(*self.address, timeout=10)

    def request(
        self, method: str, path: str, body: bytes | None = None, headers: Any = None
    ) -> tuple[int, bytes, dict[str, str]]:
        connection = self.connect()
        try:
            connection.request(method, path, body, HEADERS if headers is None else headers)
            answer = connection.getresponse()
            found = {key.lower(): value for key, value in answer.getheaders()}
            return answer.status, answer.read(), found
        finally:
            connection.close()

    def log(self) -> str:
        return (self.folder / "log").read_text()

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(15)


@contextlib.contextmanager
def unix_daemon(folder: Path, *options: str) -> Iterator[Daemon]:
    """legerd on a unix socket in `folder`, which is its state too."""
    path = folder / "s"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen(1024)
        with _running(folder, [listening], "--dev", *options) as process:
            yield Daemon(folder, path, process)


@contextlib.contextmanager
def tcp_daemon(folder: Path, *options: str) -> Iterator[Daemon]:
    """legerd on a loopback port, its callers identified by a fake tailscaled."""
    with tailscaled(folder / "t") as whois:
        more = ["--listen", "127.0.0.1:0", "--tailscaled-socket", str(folder / "t"), *options]
        with _running(folder, [], "--dev", *more) as process:
            port = int(_wait_for(folder / "log", r"listening on port (\d+)"))
            yield Daemon(folder, ("127.0.0.1", port), process, whois)


@contextlib.contextmanager
def start(
    folder: Path, sockets: list[socket.socket], *options: str
) -> Iterator[subprocess.Popen[bytes]]:
    """Start legerd with `sockets` passed; it is killed at the end if it still runs."""
    state = folder / "state"
    command = ["-m", "legerd.main", "--state-dir", str(state), "--hostname", "host.example"]
    command += [
        "--policy",
        str(folder / "policy.yaml"),
        "--units",
        str(folder / "units.json"),
        *options,
    ]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(map(str, (ROOT, ROOT / "lib", ROOT / "generator"))),
        "NOTIFY_SOCKET": str(folder / "n"),
    }
    numbers = [listening.fileno() for listening in sockets]
    if sockets:
        environment["LISTEN_FDS"] = str(len(sockets))
        command = ["-c", _STARTER, ",".join(map(str, numbers)), *command]
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, *command],
            pass_fds=numbers,
            env=environment,
            stdout=log,
            stderr=log,
            cwd=folder,
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextlib.contextmanager
def _running(
    folder: Path, sockets: list[socket.socket], *options: str
) -> Iterator[subprocess.Popen[bytes]]:
    """A legerd that has said READY=1."""
    (folder / "state").mkdir(mode=0o700, exist_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notices:
        notices.bind(str(folder / "n"))
        notices.settimeout(20)
        with start(folder, sockets, *options) as process:
            try:
                assert notices.recv(4096) == b"READY=1"
            except TimeoutError:
                raise AssertionError((folder / "log").read_text()) from None
            yield process


def _wait_for(path: Path, pattern: str) -> str:
    for _ in range(200):
        if found := re.search(pattern, path.read_text()):
            return found[1]
        time.sleep(0.05)
    raise AssertionError(path.read_text())
