"""The cache file: its bytes, its mode, and what is refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from leger.secretvalue import SecretValue
from leger.setec import FileCache, FileClient, SetecError, Value
from leger.setec.cache import Cached, decode, encode

BYTES = (
    b'{"alpha":{"secret":{"Value":"Zm9v","Version":1},"lastAccess":"1795401406"},'
    b'"vs\\u003c":{"secret":{"Value":"","Version":7},"versions":{"10":"eA==","7":"c2V2ZW4="},'
    b'"lastAccess":"0"}}'
)


def plain(cached: dict[str, Cached]) -> object:
    return {
        name: (
            found.secret and (found.secret.value.reveal(), found.secret.version),
            {number: value.reveal() for number, value in found.versions.items()},
            found.last_access,
        )
        for name, found in cached.items()
    }


def test_the_bytes_are_those_of_the_go_client() -> None:
    cached = {
        "vs<": Cached(
            Value(SecretValue(b""), 7), {7: SecretValue(b"seven"), 10: SecretValue(b"x")}, 0
        ),
        "alpha": Cached(Value(SecretValue(b"foo"), 1), {}, 1795401406),
    }
    assert encode(cached) == BYTES
    assert plain(decode(BYTES)) == plain(cached)


VALUES = st.binary(max_size=20).map(SecretValue)
VERSIONS = st.integers(1, 2**32 - 1)
CACHED = st.builds(
    Cached, st.builds(Value, VALUES, VERSIONS), st.dictionaries(VERSIONS, VALUES), VERSIONS
)


@given(st.dictionaries(st.text(min_size=1), CACHED))
def test_what_is_written_is_read(cached: dict[str, Cached]) -> None:
    assert plain(decode(encode(cached))) == plain(cached)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b'{"a":',
        b'{"":{"secret":{"Value":"","Version":1}}}',
        b'{"a":null}',
        b'{"a":{}}',
        b'{"a":{"secret":null}}',
        b'{"a":{"secret":{"Value":"?","Version":1}}}',
        b'{"a":{"secret":{"Value":"","Version":"1"}}}',
        b'{"a":{"secret":{"Value":"","Version":1},"lastAccess":1}}',
        b"[" * 100000,
    ],
)
def test_what_is_no_cache_is_refused(data: bytes) -> None:
    with pytest.raises(SetecError):
        decode(data)


def test_a_file_is_replaced_as_a_whole_and_private(tmp_path: Path) -> None:
    path = tmp_path / "new" / "cache"
    cache = FileCache(path)
    assert cache.read() == b""
    cache.write(b"one")
    path.chmod(0o644)
    before = path.stat().st_ino
    cache.write(b"two")
    assert cache.read() == b"two"
    assert path.stat().st_ino != before
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert os.listdir(path.parent) == ["cache"]


@pytest.mark.parametrize("kind", ["folder", "link", "pipe"])
def test_only_a_regular_file_is_a_cache(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "cache"
    early = FileCache(path)
    (tmp_path / "other").write_text("{}")
    if kind == "folder":
        path.mkdir()
    elif kind == "link":
        path.symlink_to("other")
    else:
        os.mkfifo(path)
    with pytest.raises(SetecError):
        FileCache(path)
    with pytest.raises(SetecError):
        early.read()
    with pytest.raises(SetecError):
        early.write(b"x")
    assert (tmp_path / "other").read_text() == "{}"


@pytest.mark.parametrize("text", ["", "[]", "{", '{"a":[]}', '{"a":{"secret":{"Version":"1"}}}'])
def test_what_is_no_file_of_secrets_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "f").write_text(text)
    with pytest.raises(SetecError):
        FileClient(tmp_path / "f")
    with pytest.raises(SetecError):
        FileClient(tmp_path / "absent")
