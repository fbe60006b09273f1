"""setec's own Go client against legerd: on a port, on a socket, and the shared cache file."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
from leger.secretvalue import SecretValue
from leger.setec import Client, FileCache, Store

from tests.legerd.daemon import Daemon
from tests.setec import golang, setecs

pytestmark = pytest.mark.xdist_group("go")  # built once
MODULE = Path(__file__).parent / "goclient"
NOWHERE = Client("unix:/nowhere")
FROM_GO, FROM_PYTHON = "ours/from go <é>", "ours/from python <é>"


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Go module's tests as a program."""
    golang.need(MODULE)
    path = tmp_path_factory.mktemp("go") / "client"
    built = golang.run(MODULE, "test", "-c", "-o", str(path), ".")
    assert built.returncode == 0, built.stderr
    return path


def run(program: Path, daemon: Daemon, folder: Path, tests: str = ".", **more: str) -> str:
    """What the Go tests say; all of them must be good."""
    where = {"LEGERD_SOCKET": str(daemon.address)}
    if not isinstance(daemon.address, Path):
        where = {"LEGERD_URL": setecs.url(daemon)}
    done = subprocess.run(
        [str(program), "-test.v", "-test.timeout=120s", f"-test.run={tests}"],
        env={"PATH": os.environ["PATH"], "HOME": str(folder), **where, **more},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("kind", ["port", "local"])
def test_setecs_own_client_finds_all_it_knows(
    program: Path, kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    said = run(program, request.getfixturevalue(kind), tmp_path)
    tests = "".join(path.read_text() for path in MODULE.glob("*_test.go"))
    wanted = set(re.findall(r"^func (Test\w+)", tests, re.M))
    passed = set(re.findall(r"^--- PASS: (\w+)", said, re.M))
    assert wanted - passed == {"TestCacheForPython", "TestCacheFromPython"}


def test_the_go_clients_cache_is_read_here(program: Path, port: Daemon, tmp_path: Path) -> None:
    path = tmp_path / "new/cache"
    run(program, port, tmp_path, "^TestCacheForPython$", SETEC_CACHE=str(path))
    before = path.read_bytes()
    cache = FileCache(path)
    with Store(
        NOWHERE,
        [FROM_GO],
        allow_lookup=True,
        cache=cache,
        poll_interval=-1,
        now=lambda: 1795401406,
    ) as store:
        assert store.secret(FROM_GO).get().reveal() == b"v10"
        ring = store.keyring(FROM_GO)
        assert ring.versions() == (9, 10)
        assert ring.get(9).reveal() == b"v9"
    # Written anew here, it is the same to the byte.
    with Store(
        setecs.client(port),
        [FROM_GO],
        allow_lookup=True,
        cache=cache,
        poll_interval=3600,
        now=lambda: 1795401406,
    ):
        path.touch()
        path.chmod(0o644)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.read_bytes() == before


def test_the_go_client_reads_our_cache(program: Path, port: Daemon, tmp_path: Path) -> None:
    client = setecs.client(port)
    client.delete(FROM_PYTHON)
    client.put(FROM_PYTHON, SecretValue(b"one"))
    path = tmp_path / "cache"
    with Store(
        client,
        [FROM_PYTHON],
        timeout=20,
        allow_lookup=True,
        cache=FileCache(path),
        poll_interval=-1,
    ) as store:
        ring = store.keyring(FROM_PYTHON)
        ring.create_version(9, SecretValue(b"v9"))
        ring.create_version(10, SecretValue(b"v10"))
    run(program, port, tmp_path, "^TestCacheFromPython$", SETEC_CACHE=str(path))
