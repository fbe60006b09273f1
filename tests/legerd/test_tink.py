"""Tink's keysets and the wire format that they are in."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from legerd import crypto, protobuf, tink
from legerd.protobuf import Message, MessageError
from legerd.tink import CRUNCHY, LEGACY, RAW, TINK, Key, Keyset, KeysetError

AD = b"associated"
KINDS = {TINK: b"\x01", LEGACY: b"\0", CRUNCHY: b"\0", RAW: b""}


def key(number: int, kind: int = TINK) -> Key:
    return Key(number, kind, crypto.random_key())


def test_a_new_keyset_is_what_tink_writes() -> None:
    keyset = Keyset.make()
    number = bytearray(protobuf.number(3, keyset.primary.id))[1:]
    url = b"type.googleapis.com/google.crypto.tink.XChaCha20Poly1305Key"
    data = b"\x0a\x3b" + url + b"\x12\x22\x1a\x20" + keyset.primary.secret + b"\x18\x01"
    inner = b"\x0a\x63" + data + b"\x10\x01\x18" + number + b"\x20\x01"
    assert keyset.encode() == b"\x08" + number + b"\x12" + bytes([len(inner)]) + inner
    assert Keyset.parse(keyset.encode()) == keyset


@pytest.mark.parametrize("kind", KINDS)
def test_the_primary_key_writes_with_its_prefix(kind: int) -> None:
    keyset = Keyset((key(0x01020304, kind), key(7)))
    box = keyset.seal(b"data", AD)
    prefix = KINDS[kind] + b"\1\2\3\4" if kind != RAW else b""
    assert box.startswith(prefix)
    assert crypto.unseal(keyset.primary.secret, box[len(prefix) :], AD) == b"data"
    assert Keyset.parse(keyset.encode()).unseal(box, AD) == b"data"


@pytest.mark.parametrize("kind", KINDS)
def test_what_another_key_of_the_set_wrote_is_read(kind: int) -> None:
    before, primary = key(5, kind), key(6)
    box = Keyset((before,)).seal(b"data", AD)
    assert Keyset((primary, before)).unseal(box, AD) == b"data"
    with pytest.raises(crypto.ForgeryError):
        Keyset((primary,)).unseal(box, AD)
    with pytest.raises(crypto.ForgeryError):
        Keyset((primary, before)).unseal(box, b"other")


def test_two_keys_with_one_prefix_are_both_tried() -> None:
    first, second = key(5, CRUNCHY), key(5, LEGACY)
    assert Keyset((key(1), first, second)).unseal(Keyset((second,)).seal(b"v", AD), AD) == b"v"


def test_a_keyset_may_tell_what_is_in_it() -> None:
    information = protobuf.data(3, protobuf.number(1, 5) + protobuf.data(2, b"anything"))
    assert tink.wrapped(tink.wrap(b"sealed") + information) == b"sealed"


def test_disabled_keys_and_those_of_other_kinds_are_left_out() -> None:
    primary, disabled, other = key(1), key(2), key(3)
    parts = [Keyset((one,)).encode()[2:] for one in (primary, disabled, other)]
    parts[1] = parts[1].replace(b"\x10\x01\x18", b"\x10\x02\x18")
    parts[2] = parts[2].replace(b"XChaCha20Poly1305Key", b"XChaCha21Poly1305Key")
    assert Keyset.parse(b"\x08\x01" + b"".join(parts)) == Keyset((primary,))
    for number in (b"\x02", b"\x03", b"\x04"):
        with pytest.raises(KeysetError, match="without a primary key"):
            Keyset.parse(b"\x08" + number + b"".join(parts))


def test_a_key_shows_no_secret() -> None:
    secret = key(1)
    assert repr(secret.secret)[2:-1] not in repr(Keyset((secret,)))


@pytest.mark.parametrize(
    "data",
    [b"\x12", b"\x12\x05abc", b"\x08" + b"\x80" * 10, b"\x00\x01", b"\x0b", b"\x08" * 3],
    ids=["no length", "cut off", "endless", "field 0", "group", "odd"],
)
def test_what_is_no_message_is_refused(data: bytes) -> None:
    with pytest.raises(MessageError):
        Message.parse(data)


def test_of_a_field_that_is_there_twice_the_last_counts() -> None:
    data = protobuf.number(1, 5) + protobuf.number(1, 6) + protobuf.data(2, b"a")
    message = Message.parse(data + protobuf.data(2, b"b") + b"\x1d1234" + b"\x2112345678")
    assert (message.number(1), message.data(2), message.every(2)) == (6, b"b", [b"a", b"b"])
    assert (message.number(2), message.data(1), message.number(3)) == (0, b"", 0)


def test_a_number_above_32_bits_is_refused() -> None:
    with pytest.raises(MessageError):
        Message.parse(protobuf.number(1, 1 << 32)).number(1)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_keyset_or_refused(data: bytes) -> None:
    for parse in (Keyset.parse, tink.wrapped):
        with contextlib.suppress(KeysetError):
            parse(data)


KEYS = st.lists(
    st.builds(
        Key,
        st.integers(0, 0xFFFFFFFF),
        st.sampled_from(sorted(KINDS)),
        st.binary(min_size=32, max_size=32),
    ),
    min_size=1,
    max_size=4,
    unique_by=lambda key: key.id,
)


@given(KEYS)
def test_what_was_written_is_read(keys: list[Key]) -> None:
    assert Keyset.parse(Keyset(tuple(keys)).encode()) == Keyset(tuple(keys))


@given(KEYS, st.data())
def test_a_damaged_keyset_is_read_or_refused(keys: list[Key], data: st.DataObject) -> None:
    whole = bytearray(Keyset(tuple(keys)).encode())
    whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(KeysetError):
        Keyset.parse(bytes(whole))
