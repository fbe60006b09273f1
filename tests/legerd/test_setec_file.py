"""setec's database file: what its server wrote is read, what legerd writes is what it writes."""

from __future__ import annotations

import base64
import contextlib
import json
import random
import re
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from legerd import crypto, gob, setec_file, tink
from legerd.errors import KeyUnavailable, StoreCorrupt
from legerd.keys import Cipher, Kek
from legerd.setec_file import DummyKey, SetecFile
from legerd.values import MAX_VERSION, Secret, SecretBytes, Version
from tests.legerd import golden

DUMMY = DummyKey()
KEK = Kek.of(bytes(range(32)))
HERE = Path("database")
DB = b"setec database v1"


def parsed(data: bytes, key: Cipher = DUMMY) -> dict[str, Secret]:
    return setec_file.parse(data, (key,), HERE)[1]


def sealed(cleartext: str) -> bytes:
    """A file of setec's with this JSON in its box."""
    file = SetecFile.make(DUMMY)
    box = base64.b64encode(file.keyset.seal(cleartext.encode(), DB)).decode()
    return f'{{"Version":1,"DEK":"{file.dek}","DB":"{box}"}}'.encode()


def secret(
    versions: Mapping[int, bytes], active: int, latest: int, *deleted: int, name: str = "a"
) -> Secret:
    values = {number: Version(SecretBytes(value), 0.0, "") for number, value in versions.items()}
    return Secret(name, values, active, latest, frozenset(deleted))


@pytest.mark.parametrize("name", golden.NAMES)
def test_a_file_of_setecs_server_opens(name: str) -> None:
    secrets = parsed(golden.path_of(name).read_bytes())
    assert golden.told(secrets) == golden.content_of(name)


def test_deleted_and_latest_versions_are_known() -> None:
    secrets = parsed(golden.path_of("versions").read_bytes())
    assert secrets["prod/db/password"].deleted == {2}
    assert secrets["prod/db/password"].latest == 3
    assert (secrets["api"].latest, secrets["api"].active) == (2025, 7)


@pytest.mark.parametrize("name", golden.NAMES)
def test_the_file_is_written_byte_for_byte_as_setecs_server_wrote_it(name: str) -> None:
    data = golden.path_of(name).read_bytes()
    file, secrets = setec_file.parse(data, (DUMMY,), HERE)
    nonce = base64.b64decode(json.loads(data)["DB"])[5 : 5 + crypto.NONCE_BYTES]
    key = file.keyset.primary
    text = setec_file.cleartext(secrets.values())
    box = key.prefix + nonce + crypto.encrypt(key.secret, nonce, text, DB)
    written = file.encode(secrets.values())
    assert len(written) == len(data)
    start = written.index(b'"DB":"') + len(b'"DB":"')
    assert written[:start] + base64.b64encode(box) + written[-2:] == data


@pytest.mark.parametrize("name", golden.NAMES)
def test_a_dek_sealed_with_the_dummy_is_as_setec_writes_it(name: str) -> None:
    file, _ = setec_file.parse(golden.path_of(name).read_bytes(), (DUMMY,), HERE)
    blob = tink.wrap(DUMMY.seal(file.keyset.encode(), b"setec DEK v1"))
    assert base64.b64encode(blob).decode() == file.dek


def test_a_new_file_has_the_format_in_every_byte() -> None:
    """Read here by the positions that the format gives, with none of legerd's readers."""
    secrets = [secret({10: b"ten", 9: b"nine"}, 9, 11, 11, 2, name='<a>&"\u2028\n\xe9')]
    data = SetecFile.make(KEK).encode(secrets)
    found = re.fullmatch(rb'\{"Version":1,"DEK":"([\w+/]+=*)","DB":"([\w+/]+=*)"\}', data, re.A)
    assert found
    dek, box = map(base64.b64decode, found.groups())
    size = len(dek) - 3
    assert dek[:3] == bytes([0x12, size & 0x7F | 0x80, size >> 7])
    keyset = crypto.unseal(bytes(range(32)), dek[3:], b"setec DEK v1")
    url = re.escape(b"type.googleapis.com/google.crypto.tink.XChaCha20Poly1305Key")
    known = re.fullmatch(
        rb"\x08([\x80-\xff]{0,4}[\0-\x7f])\x12([\x6b-\x6f])"
        rb"\x0a\x63\x0a\x3b" + url + rb"\x12\x22\x1a\x20(.{32})\x18\x01\x10\x01\x18\1\x20\x01",
        keyset,
        re.DOTALL,
    )
    assert known
    assert known[2][0] == 0x6A + len(known[1])
    number = sum((byte & 0x7F) << 7 * place for place, byte in enumerate(known[1]))
    assert box[:5] == b"\x01" + number.to_bytes(4)
    assert crypto.unseal(known[3], box[5:], DB).decode() == (
        '{"Secrets":{"\\u003ca\\u003e\\u0026\\"\\u2028\\n\xe9":{"Versions":'
        '{"10":"dGVu","9":"bmluZQ=="},"ActiveVersion":9,"LatestVersion":11,'
        '"DeletedVersions":{"11":true,"2":true}}}}'
    )


def test_a_file_without_secrets_has_an_object() -> None:
    assert setec_file.cleartext([]) == b'{"Secrets":{}}'
    assert parsed(SetecFile.make(DUMMY).encode([])) == {}


def test_each_write_has_a_nonce_of_its_own_and_the_same_dek() -> None:
    file = SetecFile.make(DUMMY)
    first, second = (json.loads(file.encode([])) for _ in range(2))
    assert first["DEK"] == second["DEK"]
    assert first["DB"][8:40] != second["DB"][8:40]


@pytest.mark.parametrize("key", [DUMMY, KEK], ids=["dummy", "key"])
def test_a_dek_with_more_in_it_is_kept_as_it_is(key: Cipher) -> None:
    made = SetecFile.make(key)
    blob = base64.b64decode(made.dek) + b"\x1a\x02\x08\x01"
    old = SetecFile(base64.b64encode(blob).decode(), made.keyset)
    file, secrets = setec_file.parse(old.encode([secret({1: b"v"}, 1, 1)]), (key,), HERE)
    assert file == old
    assert secrets["a"].versions[1].value.reveal() == b"v"


def test_which_key_is_missing_is_told() -> None:
    data = SetecFile.make(KEK).encode([])
    assert parsed(data, KEK) == {}
    assert setec_file.parse(data, (DUMMY, KEK), HERE)[1] == {}
    with pytest.raises(KeyUnavailable, match="database: the key that was given does not open it"):
        parsed(data, Kek.of(bytes(32)))
    with pytest.raises(KeyUnavailable, match="dummy") as found:
        parsed(SetecFile.make(DUMMY).encode([]), KEK)
    assert found.value.hint == "it is opened with --dev only"


@pytest.mark.parametrize(
    "data",
    [
        gob.encode("other", {"Name": "SetecDevOnlyDummyEncryption", "AssociatedData": b"ad"}),
        gob.encode("dummyAEADData", {"Name": "other", "AssociatedData": b"ad"}),
        gob.encode("dummyAEADData", {"Name": "SetecDevOnlyDummyEncryption"}),
        b"",
    ],
)
def test_what_is_not_the_dummys_is_refused(data: bytes) -> None:
    with pytest.raises(crypto.ForgeryError):
        DUMMY.unseal(data, b"ad")


ONE = '"Versions":{"1":"dg=="},"ActiveVersion":1,"LatestVersion":1'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"Secrets":null}', {}),
        (f'{{"Secrets":{{"a":{{{ONE}}}}}}}', {"a": secret({1: b"v"}, 1, 1)}),
        (
            f'{{"Secrets":{{"a":{{{ONE},"DeletedVersions":{{"2":false}}}}}}}}',
            {"a": secret({1: b"v"}, 1, 1)},
        ),
        (
            '{"Secrets":{"a":{"Versions":{"1":null},"ActiveVersion":1,"LatestVersion":9}}}',
            {"a": secret({1: b""}, 1, 9)},
        ),
    ],
    ids=["null", "no deleted", "not deleted", "null value"],
)
def test_what_older_servers_wrote_is_read(text: str, expected: dict[str, Secret]) -> None:
    assert parsed(sealed(text)) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[]",
        '{"Secrets":[]}',
        '{"Secrets":{},"More":1}',
        f'{{"Secrets":{{"a":{{{ONE},"Labels":null}}}}}}',
        f'{{"Secrets":{{"a":{{{ONE}}},"a":{{{ONE}}}}}}}',
        f'{{"Secrets":{{"\\ud800":{{{ONE}}}}}}}',
        '{"Secrets":{"a":{"Versions":{},"ActiveVersion":1,"LatestVersion":1}}}',
        '{"Secrets":{"a":{"Versions":{"0":"dg=="},"ActiveVersion":0,"LatestVersion":1}}}',
        '{"Secrets":{"a":{"Versions":{"01":"dg=="},"ActiveVersion":1,"LatestVersion":1}}}',
        '{"Secrets":{"a":{"Versions":{"1":"dg=="},"ActiveVersion":2,"LatestVersion":2}}}',
        '{"Secrets":{"a":{"Versions":{"2":"dg=="},"ActiveVersion":2,"LatestVersion":1}}}',
        '{"Secrets":{"a":{"Versions":{"1":"dg"},"ActiveVersion":1,"LatestVersion":1}}}',
        '{"Secrets":{"a":{"Versions":{"1":"dh=="},"ActiveVersion":1,"LatestVersion":1}}}',
        '{"Secrets":{"a":{"Versions":{"1":1},"ActiveVersion":1,"LatestVersion":1}}}',
        '{"Secrets":{"a":{"Versions":{"1":"dg=="},"ActiveVersion":1.0,"LatestVersion":1}}}',
        '{"Secrets":{"a":{"Versions":{"1":"dg=="},"ActiveVersion":true,"LatestVersion":1}}}',
        f'{{"Secrets":{{"a":{{{ONE},"DeletedVersions":{{"1":true}}}}}}}}',
        f'{{"Secrets":{{"a":{{{ONE},"DeletedVersions":{{"2":1}}}}}}}}',
        f'{{"Secrets":{{"a":{{{ONE},"DeletedVersions":{{"4294967296":true}}}}}}}}',
        '{"Secrets":{"a":null}}',
        "[" * 100_000,
    ],
)
def test_what_would_be_lost_or_misread_is_refused(text: str) -> None:
    with pytest.raises(StoreCorrupt, match="database: not a whole database of setec") as found:
        parsed(sealed(text))
    assert found.value.hint


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b'{"Version":1}',
        b'{"Version":2,"DEK":"","DB":""}',
        b'{"Version":true,"DEK":"","DB":""}',
        b'{"Version":1,"DEK":1,"DB":""}',
        b'{"Version":1,"DEK":"\xff","DB":""}',
        b'{"Version":NaN,"DEK":"","DB":""}',
        b"[" * 100_000,
    ],
)
def test_what_is_no_such_file_is_refused(data: bytes) -> None:
    with pytest.raises(StoreCorrupt):
        parsed(data)


@pytest.mark.parametrize("name", ["empty", "versions"])
def test_a_file_with_one_bit_flipped_is_refused(name: str) -> None:
    data = golden.path_of(name).read_bytes()
    for place in range(len(data)):
        for bit in range(8):
            flipped = bytearray(data)
            flipped[place] ^= 1 << bit
            with pytest.raises((StoreCorrupt, KeyUnavailable)):
                parsed(bytes(flipped))


def test_a_file_that_is_cut_off_is_refused() -> None:
    data = golden.path_of("empty").read_bytes()
    for end in range(len(data)):
        with pytest.raises(StoreCorrupt):
            parsed(data[:end])


VALUES = st.dictionaries(st.integers(1, MAX_VERSION), st.binary(max_size=40), min_size=1)


@st.composite
def secrets_of(draw: st.DrawFn, name: str) -> Secret:
    values = draw(VALUES)
    deleted = draw(st.frozensets(st.integers(1, MAX_VERSION), max_size=3)) - set(values)
    latest = draw(st.integers(max((*values, *deleted)), MAX_VERSION))
    return secret(values, draw(st.sampled_from(sorted(values))), latest, *deleted, name=name)


NAMES = st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=4, unique=True)


@st.composite
def contents(draw: st.DrawFn) -> dict[str, Secret]:
    return {name: draw(secrets_of(name)) for name in draw(NAMES)}


@given(contents(), st.sampled_from([DUMMY, KEK]))
def test_what_was_written_is_read(secrets: dict[str, Secret], key: Cipher) -> None:
    assert parsed(SetecFile.make(key).encode(secrets.values()), key) == secrets


@given(st.binary(max_size=300))
def test_any_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(StoreCorrupt):
        parsed(data)


@given(
    st.text(max_size=200)
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["Secrets", "a", "Versions", "1", "ActiveVersion", "LatestVersion"]
                ),
                inner,
            )
        ),
    ).map(json.dumps)
)
def test_any_cleartext_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(StoreCorrupt):
        parsed(sealed(text))


def damaged(data: bytes, rng: random.Random) -> bytes:
    """`data` with one to three things changed, put in, taken out or put elsewhere."""
    whole = bytearray(data)
    for _ in range(rng.randint(1, 3)):
        start = rng.randrange(len(whole) + 1)
        end = min(len(whole), start + rng.choice((0, 1, 1, 2, 5, 40)))
        piece = rng.choice((b"", rng.randbytes(end - start), rng.randbytes(2), whole[start:] * 2))
        whole[start:end] = piece[:200]
    return bytes(whole)


def test_whatever_is_damaged_is_read_as_it_was_or_refused(rng: random.Random, soak: bool) -> None:
    data = golden.path_of("versions").read_bytes()
    file, secrets = setec_file.parse(data, (DUMMY,), HERE)
    text = setec_file.cleartext(secrets.values())
    box = json.loads(data)["DB"]
    blob = base64.b64decode(file.dek)

    def sealed_again(dek: bytes, box: bytes) -> bytes:
        texts = (base64.b64encode(part).decode() for part in (dek, box))
        return '{{"Version":1,"DEK":"{}","DB":"{}"}}'.format(*texts).encode()

    def keyset(raw: bytes) -> bytes:
        return tink.wrap(DUMMY.seal(raw, b"setec DEK v1"))

    makers = (
        lambda: damaged(data, rng),
        lambda: sealed_again(damaged(blob, rng), base64.b64decode(box)),
        lambda: sealed_again(keyset(damaged(file.keyset.encode(), rng)), base64.b64decode(box)),
        lambda: sealed_again(blob, damaged(base64.b64decode(box), rng)),
    )
    for number in range(1_000_000 if soak else 2_000):
        with contextlib.suppress(StoreCorrupt, KeyUnavailable):
            assert parsed(makers[number % 4]()) == secrets
        with contextlib.suppress(StoreCorrupt):
            parsed(sealed_again(blob, file.keyset.seal(damaged(text, rng), DB)))
