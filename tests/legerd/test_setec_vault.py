"""setec's file as legerd's store: the rules, the disk, and what happens when it refuses."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from legerd import setec_file, setec_vault
from legerd.errors import (
    KeyUnavailable,
    LegerdError,
    NotFound,
    NotSupported,
    Rejected,
    StoreCorrupt,
    StoreLocked,
    StoreUnavailable,
    VersionClaimed,
)
from legerd.setec_file import DummyKey
from legerd.setec_vault import SetecVault
from legerd.store import Store
from legerd.values import Secret
from tests.legerd import golden

KEYS = (DummyKey(),)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A copy of what setec's server wrote."""
    copy = tmp_path / "database"
    copy.write_bytes(golden.path_of("versions").read_bytes())
    return copy


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Store]:
    with contextlib.closing(Store(SetecVault.open(path, KEYS))) as store:
        yield store


def on_disk(path: Path) -> dict[str, Secret]:
    return setec_file.parse(path.read_bytes(), KEYS, path)[1]


def test_every_mutation_is_on_the_disk_when_it_returns(path: Path) -> None:
    dek = json.loads(path.read_bytes())["DEK"]
    boxes = set()
    with opened(path) as store:
        steps: list[Callable[[], object]] = [
            lambda: store.put("new", b"1", "me"),
            lambda: store.put("new", b"2", "me"),
            lambda: store.activate("new", 2),
            lambda: store.create_version("new", 7, b"7", "me"),
            lambda: store.delete_version("new", 2),
            lambda: store.delete("api"),
        ]
        for step in steps:
            step()
            file = json.loads(path.read_bytes())
            assert (file["Version"], file["DEK"]) == (1, dek)
            boxes.add(file["DB"])
            assert golden.told(on_disk(path)) == golden.told(store.snapshot)
            assert path.stat().st_mode & 0o7777 == 0o600
    assert len(boxes) == len(steps)
    new = on_disk(path)["new"]
    assert golden.told({"new": new}) == {"new": (7, {1: b"1", 7: b"7"})}
    assert (new.latest, new.deleted) == (7, frozenset({2}))
    assert sorted(os.listdir(path.parent)) == ["database", "database.lock"]


def test_setecs_rules_hold_and_what_is_refused_writes_nothing(path: Path) -> None:
    before = path.read_bytes()
    refused: list[tuple[type[LegerdError], Callable[[Store], object]]] = [
        (NotFound, lambda store: store.activate("absent", 1)),
        (VersionClaimed, lambda store: store.create_version("prod/db/password", 2, b"", "")),
        (Rejected, lambda store: store.delete_version("api", 7)),
        (Rejected, lambda store: store.put("", b"", "")),
        (NotSupported, lambda store: store.set_recovery(bytes(31) + b"\x09")),
    ]
    with opened(path) as store:
        for error, step in refused:
            with pytest.raises(error):
                step(store)
        assert store.put("prod/db/password", b"three", "") == 3
        store.delete("absent")
        assert store.recovery == ""
    assert path.read_bytes() == before


def test_opening_and_closing_changes_nothing(path: Path) -> None:
    before = path.read_bytes()
    with opened(path) as store:
        assert golden.told(store.snapshot) == golden.content_of("versions")
    assert path.read_bytes() == before
    with pytest.raises(StoreUnavailable):
        store.put("a", b"", "")


def test_a_tag_survives_a_restart_and_other_writes(path: Path) -> None:
    with opened(path) as store:
        tag = store.tag("api", 7, b"seven")
        store.put("other", b"", "")
    with opened(path) as store:
        assert store.tag("api", 7, b"seven") == tag
        assert store.tag("api", 8, b"seven") != tag


def test_only_one_server_has_it(path: Path) -> None:
    with opened(path), pytest.raises(StoreLocked, match="database"), opened(path):
        pass
    with opened(path):
        pass


def test_a_link_stays_one(path: Path) -> None:
    link = path.with_name("link")
    link.symlink_to(path)
    with opened(link) as store:
        store.put("new", b"v", "")
    assert link.is_symlink()
    assert "new" in on_disk(path)


def test_what_a_killed_commit_left_is_removed_and_nothing_else(path: Path) -> None:
    for name in (".database.0123abcd", ".database.notes", ".databases.0123abcd"):
        path.with_name(name).touch()
    with opened(path):
        pass
    assert not path.with_name(".database.0123abcd").exists()
    assert path.with_name(".database.notes").exists()
    assert path.with_name(".databases.0123abcd").exists()


@pytest.mark.parametrize("damage", [b"", b"{", b"null", b"\xff" * 100])
def test_a_damaged_file_is_refused_and_left_alone(path: Path, damage: bytes) -> None:
    path.write_bytes(damage)
    with pytest.raises(StoreCorrupt, match="database"), opened(path):
        pass
    assert path.read_bytes() == damage
    assert sorted(os.listdir(path.parent)) == ["database", "database.lock"]
    with pytest.raises(StoreCorrupt), opened(path):
        pass


def test_a_file_that_is_not_there_is_not_made(path: Path) -> None:
    path.unlink()
    with pytest.raises(KeyUnavailable, match="there is no such file"), opened(path):
        pass
    assert os.listdir(path.parent) == []


def test_a_new_file_takes_no_others_place(path: Path, tmp_path: Path) -> None:
    before = path.read_bytes()
    with pytest.raises(StoreCorrupt, match="is there already"):
        setec_vault.create(path, KEYS[0])
    assert path.read_bytes() == before
    with pytest.raises(StoreUnavailable):
        setec_vault.create(tmp_path / "absent" / "database", KEYS[0])


@contextlib.contextmanager
def full_disk(size: int) -> Iterator[None]:
    """No file may grow beyond `size` bytes, as if there were no room for more."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_full_disk_changes_nothing_and_room_mends_it(path: Path) -> None:
    before = path.read_bytes()
    with opened(path) as store:
        with full_disk(500):
            for _ in range(3):
                with pytest.raises(StoreUnavailable, match="cannot be written"):
                    store.put("new", b"v", "")
        assert path.read_bytes() == before
        assert "new" not in store.snapshot
        assert sorted(os.listdir(path.parent)) == ["database", "database.lock"]
        assert store.put("new", b"v", "") == 1
    assert "new" in on_disk(path)


def test_what_another_program_wrote_is_not_lost(path: Path) -> None:
    with opened(path) as store:
        other = Store(SetecVault(path, KEYS, contextlib.ExitStack()))
        other.put("theirs", b"v", "")
        assert store.put("ours", b"v", "") == 1
        assert {"theirs", "ours"} <= set(store.snapshot)
    assert {"theirs", "ours"} <= set(on_disk(path))


def test_a_file_that_was_damaged_meanwhile_is_not_written_over(path: Path) -> None:
    before = path.read_bytes()
    with opened(path) as store:
        path.write_bytes(b"{}")
        with pytest.raises(StoreUnavailable, match="not a whole database"):
            store.put("new", b"v", "")
        assert path.read_bytes() == b"{}"
        path.unlink()
        with pytest.raises(StoreUnavailable):
            store.put("new", b"v", "")
        path.write_bytes(before)
        assert store.put("new", b"v", "") == 1


def test_writers_that_wait_share_a_commit_and_lose_nothing(path: Path) -> None:
    with opened(path) as store:
        threads = [
            threading.Thread(target=store.put, args=(f"name {number}", b"v", ""))
            for number in range(32)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert {f"name {number}" for number in range(32)} <= set(on_disk(path))


NAMES = st.sampled_from(["a", "b", "_internal/c"])
VALUES = st.sampled_from([b"", b"x", b"y"])
NUMBERS = st.integers(0, 4)
STEPS = st.one_of(
    st.tuples(st.just("put"), NAMES, VALUES, st.just("me")),
    st.tuples(st.just("create_version"), NAMES, NUMBERS, VALUES, st.just("me")),
    st.tuples(st.just("activate"), NAMES, NUMBERS),
    st.tuples(st.just("delete_version"), NAMES, NUMBERS),
    st.tuples(st.just("delete"), NAMES),
)


@settings(max_examples=30, deadline=None)
@given(st.lists(STEPS, max_size=12))
def test_a_restart_after_any_steps_changes_nothing(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[object, ...]]
) -> None:
    path = tmp_path_factory.mktemp("vault") / "database"
    setec_vault.create(path, KEYS[0])
    with opened(path) as store:
        for name, *arguments in steps:
            with contextlib.suppress(LegerdError):
                getattr(store, str(name))(*arguments)
        before = store.snapshot
    with opened(path) as store:
        assert golden.told(store.snapshot) == golden.told(before)
        states = [
            {name: (secret.latest, secret.deleted) for name, secret in snapshot.items()}
            for snapshot in (before, store.snapshot)
        ]
        assert states[0] == states[1]
