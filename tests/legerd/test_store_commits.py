"""Commits of the vault: those who wait together share one, and what a full disk does."""

from __future__ import annotations

import contextlib
import functools
import os
import resource
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from legerd.errors import (
    NotFound,
    StoreUnavailable,
)
from legerd.store import Store
from tests.legerd.opened import KEK, reopened, value


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "legerd"


@pytest.fixture
def store(folder: Path) -> Iterator[Store]:
    store = Store.open(folder, KEK, create=True)
    yield store
    store.close()


def test_writers_that_wait_together_get_what_they_would_alone(store: Store, folder: Path):
    def work(writer: int) -> list[int]:
        numbers = []
        for number in range(20):
            numbers.append(store.put("shared", f"{writer}/{number}".encode(), str(writer)))
            store.put(f"own/{writer}", str(number).encode(), "")
            if number % 5 == 4:
                store.delete(f"own/{writer}")
        return numbers

    with ThreadPoolExecutor(16) as pool:
        numbers = [n for found in pool.map(work, range(16)) for n in found]
    assert sorted(numbers) == list(range(1, 321))
    assert store.snapshot.sequence < 1 + 16 * 44
    before = {n: v.value.reveal() for n, v in store.snapshot["shared"].versions.items()}
    store = reopened(store, folder)
    assert {n: v.value.reveal() for n, v in store.snapshot["shared"].versions.items()} == before
    assert list(store.snapshot) == ["shared"]
    store.close()


def together(store: Store, calls: Sequence[Callable[[], object]]) -> list[BaseException | None]:
    """Make `calls` while the writer is busy, so that they wait together; what they raised."""
    with ThreadPoolExecutor(len(calls)) as pool:
        with store._alone():
            futures = [pool.submit(call) for call in calls]
            while len(store._queue) < len(calls):
                time.sleep(0.001)
        return [future.exception(timeout=60) for future in futures]


def test_those_who_wait_together_share_one_commit(store: Store, folder: Path):
    before = store.snapshot.sequence
    calls = [functools.partial(store.put, f"n{n}", b"", "") for n in range(12)]
    assert together(store, calls) == [None] * 12
    assert store.snapshot.sequence == before + 1
    store = reopened(store, folder)
    assert len(store.snapshot) == 12
    store.close()


def test_a_secret_made_changed_and_deleted_in_one_commit(store: Store, folder: Path):
    store.put("a", b"1", "")
    calls = [lambda: store.delete("a"), lambda: store.put("b", b"1", "")] * 3
    calls += [functools.partial(store.create_version, "a", n, b"", "") for n in (5, 6, 7)]
    together(store, calls)
    before = dict(store.snapshot)
    store = reopened(store, folder)
    assert dict(store.snapshot) == before
    store.close()


def test_one_refusal_does_not_touch_the_others_of_its_commit(store: Store):
    store.put("a", b"", "")
    calls: list[Callable[[], object]] = [lambda: store.activate("a", 99)] * 4
    calls += [functools.partial(store.put, f"n{n}", b"", "") for n in range(5)]
    errors = together(store, calls)
    assert [type(error) for error in errors] == [NotFound] * 4 + [type(None)] * 5
    assert len({id(error) for error in errors[:4]}) == 4
    assert len(store.snapshot) == 6


@contextlib.contextmanager
def files_limited_to(size: int) -> Iterator[None]:
    """As on a full disk: no file of this process grows beyond `size` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_disk_without_room_refuses_and_works_again(store: Store, folder: Path):
    store.put("a", b"1", "")
    before = store.snapshot
    for _ in range(3):
        with files_limited_to((folder / "secrets.db-wal").stat().st_size):
            with pytest.raises(StoreUnavailable) as caught:
                store.put("a", bytes(100_000), "")
            assert "room" in caught.value.hint
            assert dict(store.snapshot) == dict(before)
            assert value(store, "a") == b"1"
    assert store.put("a", b"2", "") == 2
    store = reopened(store, folder)
    assert sorted(store.snapshot["a"].versions) == [1, 2]
    store.close()


def test_all_who_wait_together_are_refused_when_the_disk_is_full(store: Store, folder: Path):
    store.put("a", b"1", "")
    calls = [functools.partial(store.put, f"n{n}", bytes(100_000), "") for n in range(8)]
    with files_limited_to((folder / "secrets.db-wal").stat().st_size):
        errors = together(store, calls)
    assert [type(error) for error in errors] == [StoreUnavailable] * 8
    assert len({id(error) for error in errors}) == 8
    assert list(store.snapshot) == ["a"]
    store.put("b", b"", "")
    assert list(store.snapshot) == ["a", "b"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MiB."""
    if os.geteuid() != 0:
        pytest.skip("only root mounts a file system")
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m,mode=700", "tmpfs", str(place)]
    if subprocess.run(mount, check=False).returncode:
        pytest.skip("no tmpfs can be mounted here")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def fill(place: Path) -> Path:
    """Take all that is left of a file system."""
    path = place / "filler"
    with contextlib.suppress(OSError), path.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    with contextlib.suppress(OSError), path.open("ab", buffering=0) as file:
        while True:
            file.write(b"x")
    return path


def test_a_full_disk_loses_nothing_and_can_be_started_on(small_disk: Path):
    folder, reserve = small_disk / "legerd", small_disk / "reserve"
    store = Store.open(folder, KEK, create=True)
    reserve.write_bytes(bytes(800_000))
    acknowledged = 0
    for number in range(2000):
        try:
            store.put(f"n{number}", os.urandom(5000), "")
        except StoreUnavailable:
            break
        acknowledged += 1
    assert 20 < acknowledged < 400
    fill(small_disk)
    with pytest.raises(StoreUnavailable):
        store.put("more", bytes(200_000), "")
    assert len(store.snapshot) == acknowledged
    store.close()
    filler = fill(small_disk)
    store = Store.open(folder, KEK)
    assert len(store.snapshot) == acknowledged
    with pytest.raises(StoreUnavailable):
        store.put("more", bytes(200_000), "")
    filler.unlink()
    reserve.unlink()
    store.put("more", bytes(200_000), "")
    store.close()
    store = Store.open(folder, KEK)
    assert len(store.snapshot) == acknowledged + 1
    store.close()


def test_a_sequence_that_cannot_be_written_is_no_acknowledgement(store: Store, folder: Path):
    store.put("a", b"1", "")
    with files_limited_to((folder / "secrets.db-wal").stat().st_size + (1 << 20)):
        pass
    read_only = os.open(folder / "sequence", os.O_RDONLY)
    sequence = store._vault._sequence
    writable, sequence._descriptor = sequence._descriptor, read_only
    with pytest.raises(StoreUnavailable):
        store.put("a", b"2", "")
    with pytest.raises(StoreUnavailable):
        store.put("a", b"3", "")
    assert value(store, "a") == b"1"
    sequence._descriptor = writable
    os.close(read_only)
    assert store.put("a", b"2", "") == 2
    store = reopened(store, folder)
    assert sorted(store.snapshot["a"].versions) == [1, 2]
    store.close()


def test_rows_that_a_stranger_moved_are_noticed_before_they_are_written_over(folder: Path):
    store = Store.open(folder, KEK, create=True)
    store.put("a", b"1", "")
    store.close()
    with contextlib.closing(sqlite3.connect(folder / "secrets.db")) as connection:
        connection.execute("UPDATE record SET place = place + 100")
        connection.commit()
    store = Store.open(folder, KEK)
    assert store.put("a", b"2", "") == 2
    store.close()
    Store.open(folder, KEK).close()
