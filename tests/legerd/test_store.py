"""The vault as its callers see it: mutations, durability, refusals, and a disk that is full."""

from __future__ import annotations

import contextlib
import functools
import gc
import os
import pickle
import resource
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from legerd.errors import (
    InvalidVersion,
    KeyUnavailable,
    NotFound,
    Rejected,
    StoreLocked,
    StoreUnavailable,
    VersionClaimed,
)
from legerd.keys import Kek
from legerd.store import SecretBytes, SecretStore, Store
from legerd.vault import Vault

KEK = Kek.of(bytes(range(32)))
LAST = 2**32 - 1


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "legerd"


@pytest.fixture
def store(folder: Path) -> Iterator[Store]:
    store = Store.open(folder, KEK, create=True)
    yield store
    store.close()


def reopened(store: Store, folder: Path) -> Store:
    store.close()
    return Store.open(folder, KEK)


def value(store: Store, name: str, version: int = 0) -> bytes:
    secret = store.snapshot[name]
    return secret.versions[version or secret.active].value.reveal()


def test_the_store_is_what_the_server_asks_for(store: Store):
    asked: SecretStore = store
    assert len(asked.snapshot) == 0


def test_puts_make_versions_of_which_the_first_is_active(store: Store, folder: Path):
    assert [store.put("a", b"1", "me"), store.put("a", b"2", "you"), store.put("a", b"2", "")] == [
        1,
        2,
        2,
    ]
    store = reopened(store, folder)
    secret = store.snapshot["a"]
    assert (secret.active, secret.latest, sorted(secret.versions)) == (1, 2, [1, 2])
    assert [secret.versions[n].creator for n in (1, 2)] == ["me", "you"]
    assert secret.versions[1].created <= secret.versions[2].created
    store.close()


def test_an_empty_put_after_the_latest_was_deleted_makes_a_version(store: Store):
    store.put("a", b"1", "")
    store.put("a", b"", "")
    store.delete_version("a", 2)
    assert store.put("a", b"", "") == 3
    assert value(store, "a", 3) == b""


def test_there_is_no_version_after_the_last_number(store: Store):
    store.create_version("a", LAST, b"x", "")
    before = store.snapshot
    with pytest.raises(Rejected):
        store.put("a", b"y", "")
    assert store.snapshot is before
    assert store.put("a", b"x", "") == LAST


def test_deleted_numbers_stay_claimed_until_the_secret_goes(store: Store, folder: Path):
    store.create_version("a", 5, b"5", "")
    store.create_version("a", 9, b"9", "")
    store.delete_version("a", 5)
    store = reopened(store, folder)
    for number in (5, 9):
        with pytest.raises(VersionClaimed):
            store.create_version("a", number, b"", "")
    store.delete("a")
    assert store.put("a", b"", "") == 1
    store.close()


@pytest.mark.parametrize(
    ("error", "call", "arguments"),
    [
        (Rejected, "put", ("", b"", "")),
        (Rejected, "put", ("_internal/x", b"", "")),
        (Rejected, "create_version", ("", 0, b"", "")),
        (InvalidVersion, "create_version", ("a", 0, b"", "")),
        (VersionClaimed, "create_version", ("a", 1, b"", "")),
        (Rejected, "activate", ("", 1)),
        (Rejected, "activate", ("_internal/x", 1)),
        (Rejected, "activate", ("a", 0)),
        (Rejected, "activate", ("nope", 0)),
        (NotFound, "activate", ("nope", 1)),
        (NotFound, "activate", ("a", 77)),
        (Rejected, "delete", ("_internal/x",)),
        (Rejected, "delete_version", ("_internal/x", 1)),
        (Rejected, "delete_version", ("nope", 0)),
        (NotFound, "delete_version", ("nope", 1)),
        (Rejected, "delete_version", ("a", 1)),
        (NotFound, "delete_version", ("a", 77)),
    ],
)
def test_what_setec_refuses_changes_nothing(
    store: Store, error: type[Exception], call: str, arguments: tuple[object, ...]
):
    store.put("a", b"1", "")
    before = store.snapshot
    with pytest.raises(error):
        getattr(store, call)(*arguments)
    assert store.snapshot is before


def test_what_changes_nothing_writes_nothing(store: Store, folder: Path):
    store.put("a", b"1", "")
    before = {path: path.read_bytes() for path in folder.iterdir()}
    snapshot = store.snapshot
    assert store.put("a", b"1", "") == 1
    store.activate("a", 1)
    store.delete("nope")
    store.delete("")
    assert store.snapshot is snapshot
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_a_snapshot_never_changes(store: Store):
    store.put("a", b"1", "")
    old = store.snapshot
    store.put("a", b"2", "")
    store.put("b", b"1", "")
    store.delete("a")
    assert list(old) == ["a"]
    assert sorted(old["a"].versions) == [1]
    assert list(store.snapshot) == ["b"]
    assert store.snapshot.sequence > old.sequence


def test_a_deleted_value_is_let_go(store: Store, folder: Path):
    store.put("a", b"1", "")
    store = reopened(store, folder)
    kept = store.snapshot["a"].versions[1].value
    store.delete("a")
    gc.collect()
    assert sys.getrefcount(kept) == 2
    store.close()


def test_names_are_in_the_order_of_their_bytes(store: Store):
    names = ["é", "z", "a/b", "a", "a b", "\U0001f600", "\uffff", "\ud800"]
    for name in names:
        store.put(name, b"", "")
    expected = sorted(names, key=lambda name: name.encode("utf-8", "surrogatepass"))
    assert list(store.snapshot) == expected


def test_large_values_come_back(store: Store, folder: Path):
    values = {size: os.urandom(size) for size in (0, 1, 4095, 600 << 10, 4 << 20)}
    for size, content in values.items():
        store.put(str(size), content, "")
    store = reopened(store, folder)
    assert {size: value(store, str(size)) for size in values} == values
    store.close()


def test_tags_depend_on_name_version_value_and_vault_and_last(store: Store, tmp_path: Path):
    other = Store.open(tmp_path / "other", KEK, create=True)
    tags = [
        store.tag("a", 1, b"v"),
        store.tag("b", 1, b"v"),
        store.tag("a", 2, b"v"),
        store.tag("a", 1, b"w"),
        store.tag("", 1, b"av"),
        other.tag("a", 1, b"v"),
    ]
    assert len(set(tags)) == len(tags)
    assert all(len(tag) == 43 and tag.isascii() and tag.isprintable() for tag in tags)
    other.close()
    store = reopened(store, tmp_path / "legerd")
    assert store.tag("a", 1, b"v") == tags[0]
    store.close()


def test_files_are_private_and_say_nothing(store: Store, folder: Path):
    canaries = [b"canary-name", b"canary-value-canary-value", b"canary-creator"]
    for number in range(50):
        store.put(f"canary-name/{number}", canaries[1], "canary-creator")
    contents = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert set(contents) == {"secrets.db", "secrets.db-wal", "sequence", "lock"}
    for content in contents.values():
        assert not any(canary in content for canary in canaries)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}


def test_a_value_does_not_show_itself():
    secret = SecretBytes(b"hidden")
    assert "hidden" not in f"{secret!r} {secret} {[secret]}"
    assert secret == SecretBytes(b"hidden")
    assert secret != SecretBytes(b"other")
    with pytest.raises(TypeError):
        pickle.dumps(secret)
    with pytest.raises(TypeError):
        hash(secret)


def test_one_server_at_a_time(store: Store, folder: Path):
    with pytest.raises(StoreLocked) as caught:
        Store.open(folder, KEK)
    assert "systemctl stop legerd" in caught.value.hint
    store.close()
    store.close()
    Store.open(folder, KEK).close()


def test_no_other_process_opens_the_database(store: Store, folder: Path):
    store.put("a", b"", "")
    script = (
        "import sqlite3, sys; sqlite3.connect(sys.argv[1], timeout=0).execute('BEGIN EXCLUSIVE')"
    )
    done = subprocess.run(
        ["python3", "-c", script, str(folder / "secrets.db")], capture_output=True, check=False
    )
    assert b"locked" in done.stderr


def test_a_closed_store_takes_nothing(store: Store):
    store.close()
    with pytest.raises(StoreUnavailable):
        store.put("a", b"", "")


def test_without_create_no_vault_is_made(folder: Path):
    folder.mkdir()
    with pytest.raises(KeyUnavailable) as caught:
        Store.open(folder, KEK)
    assert "backup" in caught.value.hint
    assert not list(folder.iterdir())


def test_what_a_broken_creation_left_is_no_obstacle(folder: Path):
    folder.mkdir(mode=0o700)
    (folder / ".secrets.db.new").write_bytes(b"half")
    (folder / ".secrets.db.new-wal").write_bytes(b"half")
    (folder / "sequence").write_bytes(b"old")
    Vault.create(folder, KEK)
    assert {path.name for path in folder.iterdir()} == {"lock", "secrets.db", "sequence"}
    Store.open(folder, KEK).close()


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
