"""What a repository or a remote may cost: disk, memory, and words in a message."""

from __future__ import annotations

import http.server
import os
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import webgit
from leger import git, processes
from leger.config import Limits
from leger.deployment import Deployment
from leger.errors import LegerError
from leger.faults import FaultsError
from leger.git import FetchError, Mirror
from leger.model import Fault
from leger.scope import Scope
from repositories import Repository
from webgit import Web

MEMORY = 100  # MiB of a command; Python with Leger's modules takes 25 to 50


def files(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def test_a_server_that_serves_files_only_costs_no_more_than_the_limit(
    scope: Scope, repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = repository.commit({"a": "1"})
    (tmp_path / "served").mkdir()
    (tmp_path / "served/r").symlink_to(repository.path)
    certificate = webgit.certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    small = Limits(fetch_bytes=1 << 20)
    with Web(tmp_path / "served", certificate, dumb=True).served() as web:
        item = Deployment("web", f"{web.url}/r", ref="main")
        assert git.fetch(scope, item, small) == first
        mirror = Mirror.of(scope, item)
        before = files(mirror.path)
        many = {f"f{number}": secrets.token_bytes(100_000) for number in range(25)}
        large = repository.commit(many)
        for _ in range(2):
            with pytest.raises(FetchError, match="larger than 1 MiB"):
                git.fetch(scope, item, small)
            assert files(mirror.path) < before + 10_000
        assert (git.known(scope, item), mirror.has(first)) == (first, True)
        assert git.fetch(scope, item) == large
        second = repository.commit({"a": "2"})
        assert git.fetch(scope, item, small) == second
        assert mirror.run(["fsck"], 60).code == 0


class Flooding(http.server.BaseHTTPRequestHandler):
    """A remote that says no more than is right, and then writes for ever."""

    what = ""
    head = b"1" * 40 + b" HEAD\0side-band-64k ofs-delta\n"

    def do_GET(self) -> None:
        self._begin("advertisement")
        self._packet(b"# service=git-upload-pack\n")
        self.wfile.write(b"0000")
        self._packet(self.head)
        if self.what == "references":
            self._flood(b"1" * 40 + b" refs/%d/" + b"y" * 900 + b"/refs/heads/main\n")
        self._packet(b"1" * 40 + b" refs/heads/main\n")
        self.wfile.write(b"0000")

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self._begin("result")
        self._packet(b"NAK\n")
        self._flood(b"\2%d" + b"x" * 60_000 + b"\n")

    def _begin(self, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", f"application/x-git-upload-pack-{kind}")
        self.end_headers()

    def _packet(self, data: bytes) -> None:
        self.wfile.write(b"%04x" % (len(data) + 4) + data)

    def _flood(self, form: bytes) -> None:
        for number in range((256 << 20) // len(form)):
            try:
                self._packet(form % number)
            except OSError:
                return

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def flooding() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Flooding) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/r"
        server.shutdown()
        thread.join()


PEAK = """
import sys
from pathlib import Path
from leger import git, mirror, prepare
from leger.config import Limits
from leger.deployment import Deployment
from leger.gitprogram import Remote
from leger.scope import Scope
scope, address = Scope.system(Path(sys.argv[1])), sys.argv[2]
try:
    {code}
except Exception as error:
    print(type(error).__name__, error, error.hint)
print(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])
"""


def peak(code: str, scope: Scope, address: str) -> tuple[str, int]:
    """What `code` ends with, and the MiB that it took at most."""
    command = [sys.executable, "-c", PEAK.format(code=code), str(scope.etc.parents[1]), address]
    environment = {**os.environ, "PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    *said, memory = done.stdout.splitlines()
    return "\n".join(said), int(memory) >> 10


@pytest.mark.parametrize("what", ["references", "messages"])
def test_a_remote_that_floods_takes_no_memory_and_no_page(
    scope: Scope, flooding: str, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    monkeypatch.setattr(Flooding, "what", what)
    code = (
        "mirror.Fetch(mirror.Mirror(address, scope.sources / 'm.git'),"
        " Remote(address, Limits(fetch_seconds=60), ('http',)))"
        ".commit(Deployment('web', '/r', ref='main'))"
    )
    said, memory = peak(code, scope, flooding)
    assert said.startswith(f"FetchError {flooding}: answers with more than 16 MiB of text")
    assert memory < MEMORY


@pytest.mark.parametrize("count", [300_000, 600_000])
def test_a_commit_of_half_a_million_entries_is_refused_without_being_read(
    scope: Scope, repository: Repository, count: int
) -> None:
    repository.commit({"a": "1"})
    entries = b"".join(b"160000 %07d\0" % number + b"\1" * 20 for number in range(count))
    (repository.path / "raw").write_bytes(entries)
    tree = repository.git("hash-object", "-t", "tree", "--literally", "-w", "raw")
    repository.git("update-ref", "refs/heads/main", repository.git("commit-tree", tree, "-m", "x"))
    code = "item = Deployment('web', address); prepare.prepare(scope, item, git.fetch(scope, item))"
    said, memory = peak(code, scope, str(repository.path))
    assert "has more than 50000 files and folders" in said
    assert "limits: {files: ...} in config.yaml" in said
    assert memory < MEMORY


def test_a_commit_that_says_too_much_is_refused(scope: Scope, repository: Repository) -> None:
    repository.commit({"a": "1"})
    (repository.path / ".git/says").write_bytes(b"x" * (5 << 20))
    repository.git("commit", "--quiet", "--allow-empty", "-F", ".git/says")
    item = Deployment("web", str(repository.path))
    with pytest.raises(LegerError, match="what it says is too long"):
        git.Commit(Mirror.of(scope, item), git.fetch(scope, item))


def test_of_a_thousand_faults_the_first_are_told_of_each_deployment() -> None:
    many = [Fault(name, f"fault {number}") for name in ("a", "b") for number in range(1000)]
    told = FaultsError([*many, Fault("c", "one")]).faults
    assert [sum(fault.deployment == name for fault in told) for name in "abc"] == [101, 101, 1]
    assert str(told[-1]) == "b: and 900 more"
    assert Fault("c", "one") in told


def test_what_is_left_of_a_program_ends_with_the_time_though_it_ended_itself() -> None:
    mark = f"987.{secrets.randbelow(10**6)}"
    with pytest.raises(processes.TimedOutError, match=r"no end after 0\.3 s, killed"):
        processes.run(["sh", "-c", f"sleep {mark} & exit 0"], timeout=0.3)
    with pytest.raises(processes.TimedOutError, match=r"nothing moved for 0\.3 s, killed"):
        processes.stream(["sh", "-c", f"sleep {mark} & exit 0"], stall=0.3)
    for _ in range(200):
        if not running(mark):
            break
        time.sleep(0.05)
    assert running(mark) == []


def running(mark: str) -> list[str]:
    return webgit.showing(mark)


def test_a_program_that_writes_too_much_is_killed_and_its_last_words_are_short() -> None:
    with pytest.raises(processes.TooMuchError, match="yes: wrote more than 1 MiB, killed"):
        processes.run(["yes"], timeout=60, most=1 << 20)
    done = processes.run(["sh", "-c", "head -c 60000 /dev/zero | tr '\\0' x >&2"], timeout=60)
    assert done.message == "x" * 300


def test_a_program_is_watched_while_it_runs() -> None:
    looks: list[float] = []

    def look() -> None:
        looks.append(time.monotonic())
        if len(looks) == 2:
            raise LegerError("enough")

    with pytest.raises(LegerError, match="enough"):
        processes.run(["sleep", "600"], timeout=60, watch=look)
    assert len(looks) == 2
