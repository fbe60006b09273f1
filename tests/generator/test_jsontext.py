"""The short way to JSON says what json says."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from leger_generator import jsontext

FLOATS = st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | FLOATS | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(VALUES, st.sampled_from(["", " ", "\n"]))
def test_it_reads_what_json_reads(value: object, space: str) -> None:
    text = space + json.dumps(value) + space
    assert jsontext.loads(text) == json.loads(text)


@given(st.text(max_size=30))
def test_it_refuses_what_json_refuses(text: str) -> None:
    try:
        expected = json.loads(text)
    except ValueError:
        with pytest.raises(json.JSONDecodeError):
            jsontext.loads(text)
    else:
        found = jsontext.loads(text)
        assert found == expected or (found != found and expected != expected)


@pytest.mark.parametrize("text", ["", "{", '{"a":}', "[1,]", "1 2", "nul", '"\x01"', "[" * 10**5])
def test_broken_json_is_a_plain_error(text: str) -> None:
    with pytest.raises((ValueError, RecursionError)):
        jsontext.loads(text)


@given(VALUES)
def test_what_it_writes_is_json(value: object) -> None:
    text = jsontext.dumps(value)
    assert json.loads(text) == value
    assert text.isascii()


def test_without_the_interpreters_own_scanner_json_does_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(jsontext, "make_scanner", None)
    assert jsontext.loads('{"a": [1]}') == {"a": [1]}
    assert jsontext.dumps({"a": [1]}) == '{"a": [1]}'
