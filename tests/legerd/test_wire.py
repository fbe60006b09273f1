"""setec's JSON is Go's: compared with Go where it is installed, and with its kept answers."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from legerd import calls, wire
from tests.legerd import oracle

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=12,
)


def test_the_corpus_is_read_as_go_reads_it() -> None:
    corpus = oracle.read_corpus()
    assert len(corpus) >= 2000
    assert sum(answer != "-" for _, _, answer in corpus) > 800
    for kind, body, answer in corpus:
        assert oracle.ours(kind, body) == answer, (kind, body)


def test_go_agrees_on_fresh_cases(rng: random.Random) -> None:
    if not oracle.go():
        pytest.skip("Go is not installed; the corpus stands for it")
    requests = oracle.generate(rng, 4000)
    for (kind, body), answer in zip(requests, oracle.ask_go(requests), strict=True):
        assert oracle.ours(kind, body) == answer, (kind, body)


@given(JSON, st.text(" \t\n\r", max_size=2))
def test_both_parsers_agree(value: object, space: str) -> None:
    source = space + json.dumps(value, ensure_ascii=False, separators=(space + ",", ":" + space))
    assert wire._parse_deep(source, len(space)) == wire._parse(source)


@given(st.text(alphabet='{}[]":,0159.e-+nultrefas \\\x1f', max_size=12))
def test_both_parsers_refuse_the_same(source: str) -> None:
    def parsed(parse: object) -> object:
        try:
            return parse()  # type: ignore[operator]
        except wire.BadRequestError:
            return BaseException

    start = wire._skip(source, 0)
    assert parsed(lambda: wire._parse_deep(source, start)) == parsed(lambda: wire._parse(source))


@given(st.binary(max_size=60))
def test_nothing_but_a_refusal_comes_of_garbage(body: bytes) -> None:
    for kind in oracle.KINDS.values():
        try:
            assert isinstance(wire.decode(body, kind), kind)
        except wire.BadRequestError as error:
            assert not error.args  # noqa: PT017 - it holds nothing of the body


@given(st.binary(max_size=40), st.text(max_size=20))
def test_what_is_written_is_read_again(value: bytes, name: str) -> None:
    body = f'{{"Name":{wire.text(name)},"Value":{wire.base64(value)}}}'.encode("utf-8", "replace")
    assert wire.decode(body, calls.PutRequest).Value == value


@pytest.mark.parametrize("depth", [9_999, 10_000])
def test_nesting_ends_where_go_ends_it(depth: int) -> None:
    body = b'{"x":' + b"[" * depth + b"]" * depth + b',"Name":"a"}'
    if depth < wire.MAX_DEPTH:
        assert wire.decode(body, calls.NameRequest).Name == "a"
    else:
        with pytest.raises(wire.BadRequestError):
            wire.decode(body, calls.NameRequest)


def test_empty_lists_are_null() -> None:
    assert wire.array([]) == "null"
    assert wire.array(["1", "2"]) == "[1,2]"
