"""The record format: what is bound to what, what can be seen from outside."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from legerd.errors import StoreCorrupt
from legerd.records import EMPTY, SECRET, VERSION, Codec, Head, Key, Row, parse_row, size_class
from legerd.values import MAX_VERSION, Secret, SecretBytes, Version

CODEC = Codec(bytes(16), bytes(range(32)))
ID = b"i" * 16
TEXTS = st.text(st.characters(), max_size=40)
VERSIONS = st.builds(Version, st.binary(max_size=3000).map(SecretBytes), st.floats(0, 2**40), TEXTS)
NUMBERS = st.integers(1, MAX_VERSION)


@given(version=VERSIONS, number=NUMBERS)
def test_a_version_comes_back(version: Version, number: int):
    assert CODEC.version(CODEC.version_row(ID, number, version)) == version


@given(name=TEXTS, numbers=st.sets(NUMBERS, min_size=1), deleted=st.frozensets(NUMBERS))
def test_a_secret_comes_back(name: str, numbers: set[int], deleted: frozenset[int]):
    versions = {number: Version(SecretBytes(b""), 0, "") for number in numbers}
    latest = max(numbers | deleted)
    secret = Secret(name, versions, min(numbers), latest, deleted, ID)
    assert CODEC.secret(CODEC.secret_row(secret), versions) == secret


@given(head=st.builds(Head, *(st.integers(0, 2**64 - 1),) * 2, st.integers(0, 2**256 - 1)))
def test_a_head_comes_back(head: Head):
    assert CODEC.open_head(CODEC.seal_head(head)) == head


ROW = CODEC.version_row(ID, 7, Version(SecretBytes(b"value"), 1.5, "me"))


@pytest.mark.parametrize(
    "moved",
    [
        replace(ROW, key=Key(VERSION, ID, 8)),
        replace(ROW, key=Key(VERSION, b"j" * 16, 7)),
        replace(ROW, key=Key(SECRET, ID, 7)),
        replace(ROW, box=ROW.box[:-1]),
        replace(ROW, box=b""),
    ],
)
def test_a_row_is_bound_to_its_place(moved: Row):
    with pytest.raises(StoreCorrupt):
        CODEC.version(moved)


@pytest.mark.parametrize("other", [Codec(b"o" * 16, bytes(range(32))), Codec(bytes(16), bytes(32))])
def test_a_row_is_bound_to_database_and_key(other: Codec):
    with pytest.raises(StoreCorrupt):
        other.version(ROW)
    with pytest.raises(StoreCorrupt):
        other.open_head(CODEC.seal_head(EMPTY))
    assert other.mac(ROW) != CODEC.mac(ROW)
    assert other.lookup("a") != CODEC.lookup("a")


def test_a_row_under_the_lookup_of_another_name_is_refused():
    secret = Secret("a", {1: Version(SecretBytes(b""), 0, "")}, 1, 1, id=ID)
    row = replace(CODEC.secret_row(secret), lookup=CODEC.lookup("b"))
    with pytest.raises(StoreCorrupt):
        CODEC.secret(row, secret.versions)
    with pytest.raises(StoreCorrupt):
        CODEC.secret(CODEC.secret_row(secret), {2: secret.versions[1]})


def test_the_sum_over_a_set_shows_every_difference():
    rows = [CODEC.version_row(ID, n, Version(SecretBytes(b"v"), 0, "")) for n in range(1, 20)]
    macs = [CODEC.mac(row) for row in rows]
    whole = EMPTY.changed((), macs)
    assert EMPTY.changed((), reversed(macs)) == whole
    for at in range(len(macs)):
        others = macs[:at] + macs[at + 1 :]
        assert EMPTY.changed((), others).total != whole.total
        assert whole.changed([macs[at]], ()).total == EMPTY.changed((), others).total
        assert EMPTY.changed((), [*others, others[0]]).total != whole.total
    again = CODEC.mac(CODEC.version_row(ID, 1, Version(SecretBytes(b"v"), 0, "")))
    assert again != macs[0]


@given(size=st.integers(0, 2**34))
def test_sizes_are_padded_to_few_classes(size: int):
    padded = size_class(size)
    assert max(size, 256) <= padded <= max(256, size * 1.12)
    assert size_class(padded) == padded


def test_values_of_one_class_cannot_be_told_apart_by_length():
    lengths = {len(CODEC.version_row(ID, 1, Version(SecretBytes(bytes(n)), 0, "")).box)
               for n in range(150)}  # fmt: skip
    assert len(lengths) == 1
    assert len({size_class(n) for n in range(1 << 16)}) < 150


def test_the_same_name_and_value_twice_share_no_block():
    version = Version(SecretBytes(b"A" * 4096), 0, "me")
    secret = Secret("n" * 400, {1: version}, 1, 1, id=ID)
    for make in (lambda: CODEC.version_row(ID, 1, version), lambda: CODEC.secret_row(secret)):
        one, two = _blocks(make), _blocks(make)
        assert not one & two


def _blocks(make: Callable[[], Row]) -> set[bytes]:
    box = make().box
    return {box[at : at + 16] for at in range(len(box) - 15)}


@given(
    columns=st.tuples(
        *[st.one_of(st.none(), st.integers(), st.floats(), st.text(), st.binary())] * 5
    )
)
def test_whatever_sqlite_returns_is_a_row_or_refused(columns: tuple[object, ...]):
    try:
        row = parse_row(*columns)
    except StoreCorrupt:
        return
    assert isinstance(CODEC.mac(row), int)
