"""A damaged, incomplete or older vault: the same answers or a refusal, and nothing written."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from legerd.changes import Edit
from legerd.errors import KeyUnavailable, LegerdError, StoreCorrupt, StoreUnavailable
from legerd.keys import Kek
from legerd.recovery import RecoveryKey
from legerd.store import Store

KEK = Kek.of(bytes(range(32)))
RECOVERY = RecoveryKey.of(b"r" * 32)

Files = dict[str, bytes]
Answers = dict[str, object]


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder in memory where there is one: these tests open a vault a thousand times."""
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    path = Path(tempfile.mkdtemp(prefix="leger-damage-", dir=memory))
    yield path
    shutil.rmtree(path)


def files(folder: Path) -> Files:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def lay(folder: Path, content: Files) -> None:
    """Make `folder` hold `content` and nothing else."""
    for path in folder.iterdir():
        path.unlink()
    for name, data in content.items():
        (folder / name).write_bytes(data)


def answers(store: Store) -> Answers:
    """Everything that the vault says."""
    found: Answers = {name: (s.active, s.latest, s.deleted, dict(s.versions), s.about) for name, s
                      in store.snapshot.items()}  # fmt: skip
    return {**found, "tag": store.tag("a", 1, b""), "recovery": store.recovery}


def work(store: Store) -> None:
    """A history that leaves rows of every kind."""
    store.put("a", b"first", "me")
    store.put("a", b"second", "me")
    store.set_recovery(RECOVERY.public.raw)
    store.put("b", os.urandom(5000), "you")
    store.put("gone", b"", "me")
    store.describe("gone", Edit("goes"))
    store.describe("b", Edit("of the shop", {"team": "shop"}, 1e9))
    store.create_version("a", 9, b"ninth", "me")
    store.delete_version("a", 2)
    store.delete("gone")


@contextlib.contextmanager
def opened(folder: Path, **how: bool) -> Iterator[Store]:
    store = Store.open(folder, KEK, **how)
    try:
        yield store
    finally:
        store.close()


def made(folder: Path) -> tuple[Files, Files, Answers]:
    """The files of one vault after a crash (with a -wal) and after a stop, and its answers."""
    with opened(folder, create=True) as store:
        work(store)
        crashed, told = files(folder), answers(store)
    assert len(crashed["secrets.db-wal"]) > 4096
    return crashed, files(folder), told


def same_or_refused(folder: Path, content: Files, told: Answers) -> bool:
    """Whether `content` opens, and then with the same answers; if not, that it was left alone."""
    lay(folder, content)
    refusal: LegerdError | None = None
    try:
        with opened(folder) as store:
            assert answers(store) == told
            assert store.put("new", b"new", "me") == 1
    except LegerdError as error:
        refusal = error
    if refusal is not None:
        assert isinstance(refusal, StoreCorrupt | KeyUnavailable), refusal
        assert refusal.hint
        assert files(folder) == content
        return False
    with opened(folder) as store:
        store.delete("new")
        assert answers(store) == told
    return True


def flipped(content: Files, name: str, at: int, bit: int) -> Files:
    data = bytearray(content[name])
    data[at] ^= 1 << bit
    return {**content, name: bytes(data)}


@pytest.mark.parametrize("stop", ["crashed", "clean"])
def test_every_flipped_byte(folder: Path, rng: random.Random, soak: bool, stop: str):
    crashed, clean, told = made(folder)
    content = crashed if stop == "crashed" else clean
    places = [(name, at) for name in ("secrets.db", "secrets.db-wal")
              for at in range(len(content.get(name, b"")))]  # fmt: skip
    if not soak:
        headers = [(name, at) for name, at in places if at < 100]
        places = rng.sample(headers, 60) + rng.sample(places, 300)
    results = [
        same_or_refused(folder, flipped(content, name, at, rng.randrange(8)), told)
        for name, at in places
    ]
    assert {True, False} == set(results)


def test_every_truncation(folder: Path, rng: random.Random):
    crashed, clean, told = made(folder)
    for content, name in (
        (crashed, "secrets.db-wal"),
        (crashed, "secrets.db"),
        (clean, "secrets.db"),
    ):
        size = len(content[name])
        for end in {0, 1, 31, 32, 100, 4096, size - 1, *rng.sample(range(size), 30)}:
            same_or_refused(folder, {**content, name: content[name][:end]}, told)


def test_without_its_wal_a_vault_is_refused(folder: Path):
    crashed, _, told = made(folder)
    without = {name: data for name, data in crashed.items() if name != "secrets.db-wal"}
    assert not same_or_refused(folder, without, told)


def edit(folder: Path, *statements: tuple[str, tuple[object, ...]]) -> Files:
    with contextlib.closing(sqlite3.connect(folder / "secrets.db")) as connection:
        for statement, values in statements:
            connection.execute(statement, values)
        connection.commit()
        connection.execute("PRAGMA journal_mode = DELETE")
    return files(folder)


def rows(folder: Path) -> list[tuple[int, bytes]]:
    with contextlib.closing(sqlite3.connect(folder / "secrets.db")) as connection:
        return connection.execute("SELECT place, box FROM record").fetchall()


DOUBLE = """INSERT INTO record (kind, key, version, box)
    SELECT kind, key, version + 1, box FROM record WHERE place = ?"""


def test_each_row_deleted_swapped_doubled(folder: Path):
    _, clean, told = made(folder)
    found = rows(folder)
    assert len(found) == 9
    for place, _ in found:
        for statement in ("DELETE FROM record WHERE place = ?", DOUBLE):
            lay(folder, clean)
            assert not same_or_refused(folder, edit(folder, (statement, (place,))), told)
    for (one, first), (two, second) in itertools.combinations(found, 2):
        lay(folder, clean)
        change = "UPDATE record SET box = ? WHERE place = ?"
        content = edit(folder, (change, (second, one)), (change, (first, two)))
        assert not same_or_refused(folder, content, told)


def test_each_row_replayed(folder: Path):
    with opened(folder, create=True) as store:
        work(store)
    old, before = files(folder), dict(rows(folder))
    with opened(folder) as store:
        store.activate("a", 1)
        store.describe("b", Edit(expires=2e9))
        store.activate("b", store.put("b", b"later", "me"))
        store.set_recovery(RECOVERY.public.raw)
        told = answers(store)
    new, after = files(folder), dict(rows(folder))
    changed = [place for place in before if before[place] != after.get(place)]
    assert len(changed) == 4
    for place in changed:
        lay(folder, new)
        content = edit(
            folder, ("UPDATE record SET box = ? WHERE place = ?", (before[place], place))
        )
        assert not same_or_refused(folder, content, told)
    lay(folder, old)
    with contextlib.closing(sqlite3.connect(folder / "secrets.db")) as connection:
        (head,) = connection.execute("SELECT head FROM vault").fetchone()
    lay(folder, new)
    content = edit(folder, ("UPDATE vault SET head = ?", (head,)))
    assert not same_or_refused(folder, content, told)


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TRIGGER t AFTER INSERT ON record BEGIN DELETE FROM record; END",
        "CREATE TABLE other (a)",
        "CREATE VIEW v AS SELECT * FROM record",
        "DROP TABLE vault",
        "ALTER TABLE record ADD COLUMN more",
        "PRAGMA user_version = 2",
        "PRAGMA application_id = 0",
        "DELETE FROM vault",
        "UPDATE vault SET database = 'text'",
        "UPDATE vault SET database = x'00'",
        "UPDATE vault SET head = 7",
        "UPDATE record SET box = 'text' WHERE place = 1",
        "UPDATE record SET version = -1 WHERE place = 1",
        "UPDATE record SET kind = 99 WHERE place = 1",
        "UPDATE record SET lookup = NULL WHERE lookup IS NOT NULL",
    ],
)
def test_another_schema_or_another_form_of_rows_is_refused(folder: Path, statement: str):
    _, _, told = made(folder)
    content = edit(folder, (statement, ()))
    assert not same_or_refused(folder, content, told)


def test_a_schema_of_another_type_is_refused(folder: Path):
    _, _, told = made(folder)
    writable = ("PRAGMA writable_schema = ON", ())
    blob = ("UPDATE sqlite_schema SET sql = CAST(sql AS BLOB) WHERE name = 'record'", ())
    assert not same_or_refused(folder, edit(folder, writable, blob), told)


@pytest.mark.parametrize("content", [b"", b"\0" * 4096, b"SQLite format 3\0", b'{"Version":1}'])
def test_what_is_no_database_is_refused(folder: Path, content: bytes):
    _, clean, told = made(folder)
    assert not same_or_refused(folder, {**clean, "secrets.db": content}, told)


@pytest.fixture
def days(folder: Path) -> tuple[Files, Files, Answers]:
    """Yesterday's files and today's, and today's answers."""
    with opened(folder, create=True) as store:
        work(store)
    yesterday = files(folder)
    with opened(folder) as store:
        store.put("a", b"today", "me")
        told = answers(store)
    return yesterday, files(folder), told


def test_yesterdays_database_is_refused(folder: Path, days: tuple[Files, Files, Answers]):
    yesterday, today, told = days
    assert not same_or_refused(folder, {**today, "secrets.db": yesterday["secrets.db"]}, told)
    with pytest.raises(StoreCorrupt, match="older than it was") as caught:
        Store.open(folder, KEK)
    assert "--accept-rollback" in caught.value.hint


def test_a_roll_back_is_accepted_if_it_is_said_and_then_is_the_newest(
    folder: Path, days: tuple[Files, Files, Answers]
):
    yesterday, today, told = days
    lay(folder, {**today, "secrets.db": yesterday["secrets.db"]})
    with opened(folder, accept_rollback=True) as store:
        assert 10 not in store.snapshot["a"].versions
    with opened(folder) as store:
        assert store.put("b", b"other", "me") == 2
        told = answers(store)
    newest = files(folder)
    for old in (yesterday, today):
        assert not same_or_refused(folder, {**newest, "secrets.db": old["secrets.db"]}, told)
    assert same_or_refused(folder, newest, told)


def test_missing_rows_are_accepted_only_if_it_is_said(folder: Path):
    made(folder)
    with contextlib.closing(sqlite3.connect(folder / "secrets.db")) as connection:
        connection.execute("DELETE FROM record WHERE kind = 6 OR kind = 2 AND version = 1")
        connection.execute("DELETE FROM record WHERE lookup IS NOT NULL AND key NOT IN "
                           "(SELECT key FROM record WHERE kind = 2)")  # fmt: skip
        connection.commit()
    with pytest.raises(StoreCorrupt, match="rows are missing"):
        Store.open(folder, KEK)
    with opened(folder, accept_rollback=True) as store:
        assert dict(store.snapshot["a"].versions).keys() == {9}
    with opened(folder) as store:
        assert list(store.snapshot) == ["a"]


def test_without_the_sequence_a_vault_is_refused(folder: Path):
    _, clean, told = made(folder)
    for sequence in (None, b"", bytes(8192), b"x" * 8192):
        content = {name: data for name, data in clean.items() if name != "sequence"}
        if sequence is not None:
            content["sequence"] = sequence
        assert not same_or_refused(folder, content, told)
    lay(folder, content)
    with opened(folder, accept_rollback=True) as store:
        assert answers(store) == told
    with opened(folder) as store:
        assert answers(store) == told


@pytest.mark.parametrize("name", ["sequence", "secrets.db"])
def test_what_is_no_file_is_refused(folder: Path, name: str):
    made(folder)
    (folder / name).rename(folder / "elsewhere")
    (folder / name).mkdir()
    with pytest.raises(StoreUnavailable) as caught:
        Store.open(folder, KEK)
    assert caught.value.hint
    (folder / name).rmdir()
    (folder / "elsewhere").rename(folder / name)
    Store.open(folder, KEK).close()


def test_a_sequence_of_another_vault_says_nothing(folder: Path, tmp_path: Path):
    _, clean, told = made(folder)
    with opened(tmp_path, create=True) as store:
        work(store)
    other = (tmp_path / "sequence").read_bytes()
    assert not same_or_refused(folder, {**clean, "sequence": other}, told)


def test_a_crash_between_the_commit_and_the_sequence_opens(folder: Path):
    with opened(folder, create=True) as store:
        work(store)
        before = (folder / "sequence").read_bytes()
        store.put("a", b"committed", "me")
        told = answers(store)
        crashed = files(folder)
    assert same_or_refused(folder, {**crashed, "sequence": before}, told)


def test_a_torn_sequence_falls_back_to_the_number_before(folder: Path):
    crashed, _, told = made(folder)
    numbers = [crashed["sequence"][at : at + 8] for at in (0, 4096)]
    newest = 0 if numbers[0] > numbers[1] else 4096
    for at in range(newest, newest + 40):
        assert same_or_refused(folder, flipped(crashed, "sequence", at, 3), told)


REFUSALS: list[tuple[str, Callable[[Path], object]]] = [
    ("sealed with key", lambda folder: Store.open(folder, Kek.of(bytes(32)))),
    ("sealed with key", lambda folder: Store.open(folder, Kek.of(bytes(32)), create=True)),
    ("recovery key", lambda folder: Store.open(folder, RecoveryKey.generate())),
]


@pytest.mark.parametrize(("message", "call"), REFUSALS)
@pytest.mark.parametrize("stop", ["crashed", "clean"])
def test_the_wrong_key_is_refused(
    folder: Path, stop: str, message: str, call: Callable[[Path], object]
):
    crashed, clean, _ = made(folder)
    content = crashed if stop == "crashed" else clean
    lay(folder, content)
    with pytest.raises(KeyUnavailable, match=message) as caught:
        call(folder)
    assert caught.value.hint
    assert files(folder) == content
