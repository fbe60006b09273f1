"""Go's gob, read and written."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from legerd import gob

# Written by Go 1.26: type Dummy struct { Name string; Plaintext, AssociatedData []byte }
DEFINITION = bytes.fromhex(
    "447f0301010d64756d6d79414541444461746101ff8000010301044e616d65010c000109506c61696e74657874"
    "010a00010e4173736f63696174656444617461010a000000"
)
# type Mixed struct { N int; B bool; U uint; S string }, with N: -300, B: true and U: 70000
MIXED = bytes.fromhex(
    "2a7f030101054d6978656401ff8000010401014e0104000101420102000101550106000101530"
    "10c0000000eff8001fe0257010101fd01117000"
)


def test_what_go_wrote_is_read() -> None:
    found = gob.decode(DEFINITION + bytes.fromhex("0aff80010161020262ff00"))
    assert found == gob.Struct("dummyAEADData", {"Name": "a", "AssociatedData": b"b\xff"})


def test_numbers_and_truth_are_read() -> None:
    assert gob.decode(MIXED) == gob.Struct("Mixed", {"N": -300, "B": True, "U": 70000})


def test_what_is_written_is_what_go_writes() -> None:
    fields: dict[str, str | bytes] = {"Name": "a", "Plaintext": b"", "AssociatedData": b"b\xff"}
    assert gob.encode("dummyAEADData", fields) == DEFINITION + bytes.fromhex(
        "0aff80010161020262ff00"
    )


NAMES = st.text(min_size=1, max_size=20)
FIELDS = st.dictionaries(NAMES, st.text(max_size=300) | st.binary(max_size=300), max_size=6)


@given(NAMES, FIELDS)
def test_what_was_written_is_read(name: str, fields: dict[str, str | bytes]) -> None:
    there = {key: value for key, value in fields.items() if value}
    assert gob.decode(gob.encode(name, fields)) == gob.Struct(name, there)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_gob_or_refused(data: bytes) -> None:
    with contextlib.suppress(gob.GobError):
        gob.decode(data)


@given(st.data())
def test_a_damaged_gob_is_read_or_refused(data: st.DataObject) -> None:
    whole = bytearray(MIXED)
    place = data.draw(st.integers(0, len(whole) - 1))
    whole[place] = data.draw(st.integers(0, 255))
    with contextlib.suppress(gob.GobError):
        gob.decode(bytes(whole))


@pytest.mark.parametrize("end", range(len(MIXED)))
def test_a_gob_that_is_cut_off_is_refused(end: int) -> None:
    with pytest.raises(gob.GobError):
        gob.decode(MIXED[:end])


@pytest.mark.parametrize(
    "data",
    [
        MIXED + b"\0",
        bytes.fromhex("04ff800001"),
        bytes.fromhex("f7") + bytes(9),
        MIXED.replace(b"\x01\x04\x00\x01\x01\x42", b"\x01\x0e\x00\x01\x01\x42"),
        MIXED.replace(b"Mixed", b"Mix\xff\xff"),
    ],
    ids=["trailing", "unknown type", "long number", "complex field", "no UTF-8"],
)
def test_what_does_not_fit_is_refused(data: bytes) -> None:
    with pytest.raises(gob.GobError):
        gob.decode(data)
