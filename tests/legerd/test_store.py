"""The vault as its callers see it: mutations, refusals, what lies on the disk."""

from __future__ import annotations

import gc
import os
import pickle
import stat
import subprocess
import sys
from collections.abc import Iterator
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
from legerd.store import SecretBytes, SecretStore, Store
from legerd.vault import Vault
from tests.legerd.opened import KEK, reopened, value

LAST = 2**32 - 1


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "legerd"


@pytest.fixture
def store(folder: Path) -> Iterator[Store]:
    store = Store.open(folder, KEK, create=True)
    yield store
    store.close()


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
