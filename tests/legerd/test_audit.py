"""The audit log: setec's lines, on the disk before anybody goes on, whole after every accident."""

from __future__ import annotations

import json
import os
import re
import resource
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from legerd.audit import AuditLog, AuditUnavailable, Entry
from legerd.errors import StoreCorrupt
from legerd.identity import Principal

GOLDEN = Path(__file__).parents[1] / "data/setec-audit.log"
USER = Principal("host.example", user="unix:root(0)")
ENTRY = Entry(USER, "get", True, "prod/db", 3)
_VARYING = re.compile(rb'"id":\d+,"time":"[^"]+"')


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "audit.log"


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1]]


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """No file of this process may grow beyond `size` bytes: a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_lines_are_those_of_setec(path: Path) -> None:
    audit = AuditLog(path)
    for line in lines(GOLDEN):
        who = line["principal"]
        assert isinstance(who, dict)
        principal = Principal(who["hostname"], who["ip"], who.get("user", ""))
        version = line.get("secretVersion", 0)
        assert isinstance(version, int)
        audit.record(
            [
                Entry(
                    principal,
                    str(line["action"]),
                    line["authorized"] is True,
                    str(line.get("secret", "")),
                    version,
                )
            ]
        )
    audit.close()
    ours, theirs = (_VARYING.sub(b"", file.read_bytes()) for file in (path, GOLDEN))
    assert ours == theirs


def test_names_are_escaped_and_tags_listed(path: Path) -> None:
    audit = AuditLog(path)
    tagged = Principal("h", "100.64.0.7", tags=("tag:a",))
    audit.record([Entry(tagged, "put", False, "<&>\n\u2028")])
    audit.close()
    line = path.read_text()
    assert '"principal":{"hostname":"h","ip":"100.64.0.7","tags":["tag:a"]}' in line
    assert '"authorized":false,"secret":"\\u003c\\u0026\\u003e\\n\\u2028"}' in line
    assert re.search(r'"time":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d*[1-9])?Z"', line)


def test_only_its_user_may_read_it(path: Path) -> None:
    AuditLog(path).close()
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_link_in_its_place_is_refused(path: Path, tmp_path: Path) -> None:
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreCorrupt):
        AuditLog(path)


def test_those_who_wait_together_share_a_sync(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    audit = AuditLog(path)
    syncs = 0
    go_on = threading.Event()
    real = os.fdatasync

    def slow(descriptor: int) -> None:
        nonlocal syncs
        syncs += 1
        go_on.wait(10)
        real(descriptor)

    monkeypatch.setattr(os, "fdatasync", slow)
    threads = [threading.Thread(target=audit.record, args=([ENTRY],)) for _ in range(20)]
    for thread in threads:
        thread.start()
    while len(audit._waiting.lines) < 19:
        time.sleep(0.01)
    assert len(lines(path)) == 1
    go_on.set()
    for thread in threads:
        thread.join()
    audit.close()
    assert len(lines(path)) == 20
    assert syncs == 2


def test_a_promise_is_kept_or_told_broken(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    audit = AuditLog(path)
    told: list[bool] = []

    def promised() -> None:
        with audit.promising() as promise:
            audit.record([ENTRY])
            audit.record([ENTRY])
        done = threading.Event()
        promise.then(lambda recorded: (told.append(recorded), done.set())[0])
        assert done.wait(60)

    def broken(_data: bytes) -> None:
        raise RuntimeError

    promised()
    assert len(lines(path)) == 2
    audit.record([ENTRY])
    with room_for(path.stat().st_size):
        promised()
    with monkeypatch.context() as patch:
        patch.setattr(audit, "_write", broken)
        promised()
    promised()
    audit.close()
    assert told == [True, False, False, True]
    assert len(lines(path)) == 5


def test_what_cannot_be_written_is_refused_and_later_works_again(path: Path) -> None:
    audit = AuditLog(path)
    audit.record([ENTRY])
    size = path.stat().st_size
    with room_for(size + 17):
        for _ in range(3):
            with pytest.raises(AuditUnavailable):
                audit.record([ENTRY])
    assert path.stat().st_size == size + 17
    audit.record([ENTRY, ENTRY])
    audit.close()
    assert len(lines(path)) == 3


def test_a_failed_sync_is_a_refusal_too(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    audit = AuditLog(path)
    audit.record([ENTRY])

    def fail(_descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", fail)
        with pytest.raises(AuditUnavailable):
            audit.record([ENTRY])
    audit.record([ENTRY])
    audit.close()
    assert len(lines(path)) == 2


def test_while_refusing_nobody_waits_for_ever(path: Path) -> None:
    audit = AuditLog(path)
    failures = []

    def call() -> None:
        try:
            audit.record([ENTRY])
        except AuditUnavailable as error:
            failures.append(error)

    with room_for(0):
        threads = [threading.Thread(target=call) for _ in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
    assert len(failures) == 10
    audit.record([ENTRY])
    assert len(lines(path)) == 1
    audit.close()


@settings(deadline=None)
@given(tail=st.binary(max_size=40) | st.text('{}"a\r\n 1').map(str.encode), count=st.integers(0, 3))
def test_every_line_parses_after_a_cut(
    tmp_path_factory: pytest.TempPathFactory, tail: bytes, count: int
) -> None:
    path = tmp_path_factory.mktemp("cut") / "audit.log"
    audit = AuditLog(path)
    audit.record([ENTRY] * count)
    audit.close()
    whole = path.read_bytes()
    path.write_bytes(whole + tail)
    audit = AuditLog(path)
    audit.record([ENTRY])
    audit.close()
    assert path.read_bytes().startswith(whole)
    assert len(lines(path)) >= count + 1


def test_a_torn_line_before_a_whole_one_is_blanked(path: Path) -> None:
    audit = AuditLog(path)
    audit.record([ENTRY] * 3)
    audit.close()
    first, torn, last = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(first + b"\0" * (len(torn) - 1) + b"\n" + last)
    AuditLog(path).close()
    assert path.read_bytes() == first + b" " * len(torn) + last
    assert len(lines(path)) == 2


def test_a_long_unfinished_line_is_cut(path: Path) -> None:
    audit = AuditLog(path)
    audit.record([ENTRY])
    audit.close()
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"id":' + b"1" * 3_000_000 + b"\0" * 100)
    AuditLog(path).close()
    assert path.read_bytes() == whole


def test_rotation_by_size_loses_no_line_under_load(path: Path) -> None:
    audit = AuditLog(path, limit=4000, keep=1000)

    def write(number: int) -> None:
        for index in range(50):
            audit.record([Entry(USER, "put", True, f"{number}/{index}")])

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    audit.close()
    files = list(path.parent.glob("audit.log*"))
    assert len(files) > 10
    assert all(file.stat().st_size <= 4000 for file in files)
    found = [line["secret"] for file in files for line in lines(file)]
    assert sorted(map(str, found)) == sorted(f"{a}/{b}" for a in range(8) for b in range(50))


def test_the_oldest_goes_when_enough_are_kept(path: Path) -> None:
    audit = AuditLog(path, limit=300, keep=2)
    for number in range(12):
        audit.record([Entry(USER, "put", True, str(number))])
    audit.close()
    names = sorted(file.name for file in path.parent.iterdir())
    assert names == ["audit.log", "audit.log.1", "audit.log.2"]
    assert [line["secret"] for line in lines(path)][-1] == "11"


def test_after_a_rename_the_next_line_is_in_a_new_file(path: Path) -> None:
    audit = AuditLog(path)
    audit.record([ENTRY])
    path.rename(path.with_name("old"))
    audit.record([ENTRY])
    audit.reopen()
    audit.record([ENTRY])
    audit.close()
    assert len(lines(path.with_name("old"))) == 2
    assert len(lines(path)) == 1


def test_renames_under_load_lose_no_line(path: Path) -> None:
    audit = AuditLog(path)
    done = threading.Event()

    def write(number: int) -> None:
        for index in range(100):
            audit.record([Entry(USER, "put", True, f"{number}/{index}")])

    threads = [threading.Thread(target=write, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    renamed = 0
    while any(thread.is_alive() for thread in threads):
        if path.exists():
            renamed += 1
            path.rename(path.with_name(f"audit.log-{renamed}"))
            audit.reopen()
        done.wait(0.002)
    audit.close()
    assert renamed > 1
    found = [line["secret"] for file in path.parent.iterdir() for line in lines(file)]
    assert sorted(map(str, found)) == sorted(f"{a}/{b}" for a in range(6) for b in range(100))


def test_a_rotation_that_cannot_be_done_is_a_refusal_and_later_works(path: Path) -> None:
    audit = AuditLog(path, limit=400, keep=2)
    told = []
    in_the_way = path.with_name("audit.log.1")
    in_the_way.mkdir()
    (in_the_way / "file").touch()
    path.with_name("audit.log.2").mkdir()
    (path.with_name("audit.log.2") / "file").touch()
    for number in range(20):
        try:
            audit.record([Entry(USER, "put", True, str(number))])
            told.append(str(number))
        except AuditUnavailable:
            pass
    assert 0 < len(told) < 20
    for older in (in_the_way, path.with_name("audit.log.2")):
        (older / "file").unlink()
        older.rmdir()
    audit.record([Entry(USER, "put", True, "again")])
    audit.close()
    found = [line["secret"] for file in path.parent.iterdir() for line in lines(file)]
    assert sorted(map(str, found)) == sorted([*told, "again"])
