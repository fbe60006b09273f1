"""A full disk under the database, the audit log, or both: refused whole, and later it works."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from legerd.commands import DEV_KEY
from legerd.keys import Kek
from legerd.store import Store
from tests.legerd.daemon import Daemon, unix_daemon
from tests.legerd.test_store_commits import fill

Answer = tuple[int, bytes]
VALUE = base64.b64encode(bytes(300_000)).decode()


@pytest.fixture
def disks(tmp_path: Path) -> Iterator[dict[str, Path]]:
    """Two file systems of 4 MiB: for the database, and for the audit log."""
    if os.geteuid():
        pytest.skip("only root mounts a file system")
    with contextlib.ExitStack() as mounted:
        found = {"database": tmp_path / "database", "audit": tmp_path / "state"}
        for place in found.values():
            place.mkdir(mode=0o700)
            command = ["mount", "-t", "tmpfs", "-o", "size=4m,mode=700", "tmpfs", str(place)]
            if subprocess.run(command, check=False).returncode:
                pytest.skip("no tmpfs can be mounted here")
            mounted.callback(subprocess.run, ["umount", "-l", str(place)], check=True)
        yield found


def call(legerd: Daemon, name: str, **fields: object) -> Answer:
    return legerd.request("POST", f"/api/{name}", json.dumps(fields).encode())[:2]


def together(legerd: Daemon, prefix: str, value: str) -> dict[str, Answer]:
    """Eight puts at once, each of another secret."""
    names = [f"{prefix}{number}" for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        answers = pool.map(lambda name: call(legerd, "put", Name=name, Value=value), names)
        return dict(zip(names, answers, strict=True))


def use_up(legerd: Daemon) -> None:
    """Call until the page that the audit log has already is full."""
    for _ in range(100):
        if call(legerd, "list")[0] == 500:
            return
    raise AssertionError("the audit log has room")


@pytest.mark.parametrize("full", [("database",), ("audit",), ("database", "audit")])
def test_what_a_full_disk_refuses_is_whole_and_works_later(
    tmp_path: Path, disks: dict[str, Path], full: tuple[str, ...]
) -> None:
    database = disks["database"] / "secrets.db"
    with unix_daemon(tmp_path, "--db", str(database)) as legerd:
        assert call(legerd, "put", Name="before", Value="dg==") == (200, b"1")
        fillers = [fill(disks[name]) for name in full]
        if "audit" in full:
            use_up(legerd)
        answers = together(legerd, "full/", VALUE)
        refused = [name for name, answer in answers.items() if answer[0] != 200]
        assert {answers[name] for name in refused} == {(500, b"internal error\n")}
        assert len(refused) >= 7
        reads = call(legerd, "get", Name="before")
        assert reads == ((500, b"internal error\n") if "audit" in full else (200, reads[1]))
        for filler in fillers:
            filler.unlink()
        for name in refused:
            assert call(legerd, "get", Name=name) == (404, b"not found\n")
        assert {answer[0] for answer in together(legerd, "after/", "dg==").values()} == {200}
        assert call(legerd, "get", Name="before")[0] == 200
        assert legerd.stop() == 0
    log = legerd.log()
    assert "Traceback" not in log
    assert "No space left" in log or "room" in log
    for line in (disks["audit"] / "audit.log").read_text().splitlines():
        assert isinstance(json.loads(line), dict)
    store = Store.open(disks["database"], Kek.of(DEV_KEY))
    there = {name for name, answer in answers.items() if answer[0] == 200}
    assert set(store.snapshot) == {"before", *there, *(f"after/{n}" for n in range(8))}
    store.close()


@pytest.mark.parametrize("full", ["database", "audit"])
def test_on_a_full_disk_it_starts_or_says_why_it_does_not(
    tmp_path: Path, disks: dict[str, Path], full: str
) -> None:
    database = disks["database"] / "secrets.db"
    with unix_daemon(tmp_path, "--db", str(database)) as legerd:
        assert call(legerd, "put", Name="a", Value="dg==") == (200, b"1")
        assert legerd.stop() == 0
    (tmp_path / "s").unlink()
    (tmp_path / "n").unlink()
    filler = fill(disks[full])
    with unix_daemon(tmp_path, "--db", str(database)) as legerd:
        if full == "audit":
            use_up(legerd)
        assert call(legerd, "get", Name="a")[0] == (200 if full == "database" else 500)
        assert call(legerd, "put", Name="b", Value=VALUE)[0] == 500
        filler.unlink()
        assert call(legerd, "put", Name="b", Value=VALUE) == (200, b"1")
        assert call(legerd, "get", Name="a")[0] == 200
