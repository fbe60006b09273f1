"""The hook as a process, between a legerd and a podman that answer over real sockets."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import socketserver
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from hook.podman_double import PodmanError, Store

ROOT = Path(__file__).resolve().parents[2]
START = (ROOT / "hooks/secrets-hook").read_text()


class UnixServer(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """One thread a connection, on a unix socket."""

    daemon_threads = True
    request_queue_size = 64
    owner: Any


class Handler(BaseHTTPRequestHandler):
    """Gives each request to the owner of the server."""

    protocol_version = "HTTP/1.1"
    server: UnixServer

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        status, content = self.server.owner.answer(
            self.command, self.path, dict(self.headers.items()), body
        )
        if status == 0:
            self.close_connection = True
            return
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_DELETE = _answer

    def address_string(self) -> str:
        return "unix"

    def log_message(self, *_: object) -> None:
        """Nothing on the tests' stderr."""


@contextmanager
def serving(path: Path, owner: object) -> Iterator[None]:
    """`owner.answer` behind the unix socket `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    server = UnixServer(str(path), Handler)
    server.owner = owner
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        path.unlink(missing_ok=True)


@dataclass
class Legerd:
    """POST /api/leger/fetch, as the design says."""

    secrets: dict[str, dict[int, bytes]] = field(default_factory=dict)
    active: dict[str, int] = field(default_factory=dict)
    denied: set[str] = field(default_factory=set)
    requests: list[dict[str, Any]] = field(default_factory=list)
    mode: str = "well"

    def put(self, name: str, value: bytes) -> None:
        versions = self.secrets.setdefault(name, {})
        versions[len(versions) + 1] = value
        self.active[name] = len(versions)

    def answer(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, bytes]:
        if self.mode == "hang":
            time.sleep(60)
        if self.mode == "break off":
            return 0, b""
        if self.mode == "break off once":
            self.mode = "well"
            return 0, b""
        if self.mode == "refuse":
            return 403, b"access denied\n"
        if self.mode == "fail":
            return 500, b"internal error\n"
        if self.mode == "talk nonsense":
            return 200, b'{"Secrets":[{"Name":"x"}]}'
        assert (method, path) == ("POST", "/api/leger/fetch")
        assert headers["Content-Type"] == "application/json"
        assert headers["Sec-X-Tailscale-No-Browsers"] == "setec"
        request = json.loads(body)
        self.requests.append(request)
        key = base64.b64decode(request["Key"], validate=True)
        assert len(key) == 32
        answers = [self._one(question, key) for question in request["Secrets"]]
        return 200, json.dumps({"Secrets": answers}).encode()

    def _one(self, question: Mapping[str, Any], key: bytes) -> dict[str, Any]:
        name, version = question["Name"], question["Version"]
        result = {"Name": name, "Status": 404, "Version": 0, "Value": "", "Tag": ""}
        if name in self.denied:
            return {**result, "Status": 403}
        version = version or self.active.get(name, 0)
        value = self.secrets.get(name, {}).get(version)
        if value is None:
            return result
        tag = hashlib.sha256(b"%s %d %s" % (name.encode(), version, value)).hexdigest()[:32]
        mac = base64.b64encode(hmac.digest(key, value, "sha256")).decode()
        known = {**result, "Version": version, "Tag": tag}
        if question["Have"] == tag and question["Mac"] in {"", mac}:
            return {**known, "Status": 304}
        return {**known, "Status": 200, "Value": base64.b64encode(value).decode()}


@dataclass
class PodmanApi:
    """The part of libpod's REST interface that the hook uses."""

    store: Store
    calls: list[str] = field(default_factory=list)
    created: list[str] = field(default_factory=list)

    def answer(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, bytes]:
        parts = urlsplit(target)
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        path = unquote(parts.path).removeprefix("/v5.0.0/libpod/")
        self.calls.append(f"{method} {path}")
        try:
            return 200, json.dumps(self._content(method, path, query, headers, body)).encode()
        except PodmanError as error:
            status = 404 if "no such" in str(error) else 500
            return status, json.dumps({"message": str(error), "response": status}).encode()

    def _content(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        headers: Mapping[str, str],
        body: bytes,
    ) -> Any:
        if (method, path) == ("POST", "secrets/create"):
            assert query["replace"] == "true"
            if headers.get("Content-Type") == "application/x-www-form-urlencoded":
                body = b""  # Go has taken it for a form
            labels = json.loads(query["labels"])
            key = self.store.create(query["name"], body, labels, replace=True)
            self.created.append(query["name"])
            return {"ID": key}
        if (method, path) == ("GET", "secrets/json"):
            return self.store.entries()
        if (method, path) == ("GET", "info"):
            return {"store": {"graphRoot": str(self.store.root)}}
        return self.store.inspect(path.removeprefix("secrets/").removesuffix("/json"))[0]


@dataclass(frozen=True)
class Run:
    """How the hook ended, what it said, and how long that took (seconds)."""

    code: int
    lines: list[str]
    stdout: str
    seconds: float


class World:
    """A runtime folder with both sockets, Podman's store, and the hook."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.runtime = folder / "runtime"
        self.store = Store(folder / "podman")
        self.store.root.mkdir()
        self.legerd = Legerd()
        self.api = PodmanApi(self.store)
        self.legerd_socket = self.runtime / "legerd.sock"
        self.podman_socket = self.runtime / "podman/podman.sock"
        (folder / "bin").mkdir()
        (folder / "bin/podman").symlink_to(Path(__file__).with_name("podman_double.py"))
        self.program = folder / "secrets-hook"
        self.program.write_text(START.replace("/usr/lib/leger", str(ROOT / "hooks")))
        self.program.chmod(0o755)

    @contextmanager
    def up(self) -> Iterator[World]:
        with serving(self.legerd_socket, self.legerd), serving(self.podman_socket, self.api):
            yield self

    @property
    def environment(self) -> dict[str, str]:
        return {
            "PATH": f"{self.folder}/bin:/usr/bin:/bin",
            "XDG_RUNTIME_DIR": str(self.runtime),
            "LEGERD_SOCKET": str(self.legerd_socket),
            "PODMAN_DOUBLE": str(self.store.root),
            "NOTIFY_SOCKET": "/nowhere",
            "LANG": "C.UTF-8",
        }

    def start(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [self.program, "--user", *words],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *words: str) -> Run:
        began = time.monotonic()
        with self.start(*words) as process:
            stdout, stderr = process.communicate(timeout=60)
        return Run(process.returncode, stderr.splitlines(), stdout, time.monotonic() - began)

    def spied(self) -> str:
        """All that could be seen of the processes from outside, and of what they left."""
        calls = self.store.root / "calls"
        seen = calls.read_text() if calls.exists() else ""
        left = [path for path in self.runtime.rglob("*") if path.is_file()]
        return seen + "".join(path.read_text(errors="replace") for path in left)

    def files(self) -> list[str]:
        """The names in Podman's folder, below `secrets`."""
        folder = self.store.root / "secrets"
        return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())

    def clear_calls(self) -> None:
        self.api.calls.clear()
        self.api.created.clear()
        self.legerd.requests.clear()


def pids_of(pattern: str) -> list[int]:
    """Processes whose command line holds `pattern`."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            line = Path(f"/proc/{name}/cmdline").read_text()
        except OSError:
            continue
        if pattern in line:
            found.append(int(name))
    return found
