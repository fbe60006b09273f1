"""Requests by hand: what is ambiguous is refused, the rest is read as Go reads it."""

from __future__ import annotations

import contextlib
import socket

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from legerd import channel, limits
from tests.legerd.served import HEADERS, LIST, Served, body, request, status

CHUNKS = b"2\r\n{}\r\n0\r\n\r\n"


def test_an_answer_has_only_the_headers_of_setec_and_a_date(served: Served) -> None:
    code, _, headers = served.request("POST", "/api/list", b"{}")
    assert code == 200
    assert set(headers) == {"content-type", "content-length", "date"}


@pytest.mark.parametrize(
    "sent",
    [
        request(b"Content-Length: 2", b"Content-Length: 2", body=b"{}"),
        request(b"Content-Length: 2", b"Content-Length: 3", body=b"{}"),
        request(b"Content-Length: 2, 2", body=b"{}"),
        request(b"Content-Length: +2", body=b"{}"),
        request(b"Content-Length: -1", body=b"{}"),
        request(b"Content-Length: 0x2", body=b"{}"),
        request(b"Content-Length:", body=b"{}"),
        request(b"Content-Length: 2 2", body=b"{}"),
        request(b"Content-Length: \xb2", body=b"{}"),
        request(b"Content-Length: 2", b"Transfer-Encoding: chunked", body=CHUNKS),
        request(b"Transfer-Encoding: chunked", b"Content-Length: 2", body=CHUNKS),
        request(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
        request(b"Transfer-Encoding: \x0bchunked", body=CHUNKS),
        request(b"Transfer-Encoding: chunked", body=CHUNKS).replace(b"1.1", b"1.0"),
        request(b"Content-Length : 2", body=b"{}"),
        request(b" Content-Length: 2", body=b"{}"),
        request(b"X: 1\r\n Content-Length: 2", body=b"{}"),
        request(b"X: a\rContent-Length: 2", body=b"{}"),
        request(b"X: a\nContent-Length: 2", body=b"{}"),
        request(b"X: a\0b", body=b"{}"),
        request(b"no colon", body=b"{}"),
        request(b": empty", body=b"{}"),
        request(b"Host: other"),
        request().replace(b"Host: localhost\r\n", b""),
        request(line=b"POST /api/list HTTP/2.0"),
        request(line=b"POST /api/list"),
        request(line=b"POST /api/li\0st HTTP/1.1"),
        request(line=b"POST /api/li\x7fst HTTP/1.1"),
        request(line=b"POST  /api/list HTTP/1.1"),
        request(line=b"POST /api/%zz HTTP/1.1"),
        request(line=b"POST api/list HTTP/1.1"),
        request(line=b"POST /api/list HTTP/1.1 x"),
        b"\x16\x03\x01\x02\x00\x01\r\n\r\n",
        b"GET\r\n\r\n",
    ],
)
def test_what_could_be_read_in_two_ways_is_refused(served: Served, sent: bytes) -> None:
    answer = served.raw(sent)
    assert status(answer) == 400
    assert body(answer) == b"400 Bad Request"
    assert b"Connection: close" in answer
    assert answer.count(b"HTTP/1") == 1
    assert not (served.folder / "audit.log").read_text()


@pytest.mark.parametrize("encoding", [b"identity", b"gzip", b"gzip, chunked", b"chunked, gzip"])
def test_other_encodings_are_not_implemented(served: Served, encoding: bytes) -> None:
    sent = request(b"Transfer-Encoding: " + encoding, body=CHUNKS)
    assert status(served.raw(sent)) == 501


@pytest.mark.parametrize(
    "chunks",
    [
        b"2\r\n{}\r\n0\r\n\r\n",
        b"1\r\n{\r\n1\r\n}\r\n0\r\n\r\n",
        b"0002;ext=1\r\n{}\r\n0\r\n\r\n",
        b"2\r\n{}\r\n0\r\nTrailer: x\r\n\r\n",
    ],
)
def test_chunks_are_put_together(served: Served, chunks: bytes) -> None:
    answer = served.raw(request(b"Transfer-Encoding: chunked", body=chunks))
    assert (status(answer), body(answer)) == (200, b"null")


@pytest.mark.parametrize(
    "chunks", [b"x\r\n{}\r\n", b"-2\r\n{}", b"2\r\n{}xx\r\n0\r\n\r\n", b"2 \r\n{}"]
)
def test_bad_chunks_are_refused(served: Served, chunks: bytes) -> None:
    answer = served.raw(request(b"Transfer-Encoding: chunked", body=chunks))
    assert status(answer) in (0, 400)
    assert not (served.folder / "audit.log").read_text()


def test_of_duplicate_headers_the_first_counts(served: Served) -> None:
    again = b"Content-Type: text/plain"
    assert status(served.raw(request(again, b"Content-Length: 2", body=b"{}"))) == 200
    sent = request(b"Content-Length: 2", body=b"{}").replace(b"Host", again + b"\r\nHost", 1)
    assert body(served.raw(sent)) == b"request body must be json\n"
    sent = request(b"Content-Length: 2", body=b"{}").replace(
        b"Host", b"sec-x-tailscale-no-browsers: 1\r\nHost", 1
    )
    assert body(served.raw(sent)) == b"access denied\n"


def test_names_with_an_underscore_are_nobody(served: Served) -> None:
    sent = request(b"Content-Length: 2", body=b"{}")
    forged = sent.replace(b"Sec-X-Tailscale-No-Browsers", b"Sec_X_Tailscale_No_Browsers")
    assert body(served.raw(forged)) == b"access denied\n"
    assert status(served.raw(forged)) == 403
    forged = sent.replace(b"Content-Type", b"Content_Type")
    assert body(served.raw(forged)) == b"request body must be json\n"
    forged = sent.replace(b"Content-Length", b"Content_Length")
    assert body(served.raw(forged)) == b"bad request\n"
    harmless = sent.replace(b"Host", b"Content_Type: text/plain\r\nHost", 1)
    assert status(served.raw(harmless)) == 200


def test_forwarding_headers_change_nothing(served: Served) -> None:
    forged = (b"X-Forwarded-For: 100.64.0.1", b"Forwarded: for=1", b"X-Forwarded-Proto: https")
    assert status(served.raw(request(*forged, b"Content-Length: 2", body=b"{}"))) == 200
    assert served.lines()[0]["principal"]["ip"] == ""


@pytest.mark.parametrize(
    ("target", "code"),
    [
        (b"/api/list", 200),
        (b"/api/list?x=/", 200),
        (b"/api/%6cist", 200),
        (b"http://elsewhere/api/list", 200),
        (b"/api/list#x", 400),
        (b"/api/list\xff", 400),
        (b"/api%2flist", 400),
        (b"/%2e%2e/api/list", 400),
        (b"/\xc3\xa9//x", 301),
        (b"http://localhost", 301),
        (b"/api/LIST", 400),
        (b"/api/./list", 301),
        (b"/api/../api/list", 301),
        (b"/api//list", 301),
        (b"//api/list", 301),
        (b"/x/../..", 301),
    ],
)
def test_paths_are_read_as_go_reads_them(served: Served, target: bytes, code: int) -> None:
    line = b"POST " + target + b" HTTP/1.1"
    answer = served.raw(request(b"Content-Length: 2", body=b"{}", line=line))
    assert status(answer) == code
    if code == 301:
        assert b"Location: /" in answer
        assert b"Content-Type" not in answer


def test_requests_in_a_row_are_answered_in_order(served: Served) -> None:
    one = LIST + b"Content-Length: 2\r\n\r\n{}"
    answer = served.raw(
        one + one.replace(b"list", b"nope") + request(b"Content-Length: 1", body=b"{")
    )
    assert [int(part[:3]) for part in answer.split(b"HTTP/1.1 ")[1:]] == [200, 400, 400]


def test_old_clients_are_answered(served: Served) -> None:
    sent = request(b"Content-Length: 2", body=b"{}").replace(b"HTTP/1.1", b"HTTP/1.0")
    answer = served.raw(sent.replace(b"Host: localhost\r\n", b""))
    assert (status(answer), body(answer)) == (200, b"null")


def test_a_client_may_wait_to_be_told_to_go_on(served: Served) -> None:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10)
        connection.connect(str(served.path))
        connection.sendall(LIST + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"{}")
        assert status(connection.recv(1000)) == 200


def test_a_connection_outlives_an_answer_without_a_body(served: Served) -> None:
    assert served.call("put", {"Name": "a"}) == (200, 1)
    same = b'{"Name":"a","Version":1,"UpdateIfChanged":true}'
    with contextlib.closing(served.connect()) as connection:
        for _ in range(3):
            connection.request("POST", "/api/get", same, HEADERS)
            first = connection.sock
            answer = connection.getresponse()
            assert (answer.status, answer.read()) == (304, b"")
            assert answer.getheader("Connection") is None
            assert connection.sock is first
            assert first is not None
    line = b"POST /api/get HTTP/1.1"
    sent = request(b"Content-Length: %d" % len(same), body=same, line=line)
    assert b"Connection: close" in served.raw(sent)


def test_what_is_no_request_has_a_path_for_waitress() -> None:
    """waitress names the path when a client goes away before it got its refusal."""
    with socket.socket(socket.AF_UNIX) as listening:
        parser = channel._Parser(channel._adjustments(limits.Limits(), listening))
    parser.received(b"nonsense\r\n\r\n")
    assert parser.error
    assert parser.path == ""


PIECES = st.sampled_from(
    [
        b"POST /api/list HTTP/1.1\r\n",
        b"GET / HTTP/1.0\r\n",
        b"Host: localhost\r\n",
        b"Content-Length: 2\r\n",
        b"Content-Length: 0\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Expect: 100-continue\r\n",
        b"X_y: 1\r\n",
        b"\r\n",
        b"\n",
        b"{}",
        b"2\r\n{}\r\n",
        b"0\r\n\r\n",
        b"%",
        b"\0",
        b" ",
        b":",
        b"\xff",
    ]
)


def parsed(data: bytes, cuts: list[int]) -> tuple[object, ...]:
    """What the parser makes of the first request in `data`, sent in parts that end at `cuts`."""
    with socket.socket(socket.AF_UNIX) as listening:
        parser = channel._Parser(channel._adjustments(limits.Limits(body=50), listening))
    used = 0
    for end in [*sorted(cut % (len(data) + 1) for cut in cuts), len(data)]:
        while used < end and not parser.completed:
            used += parser.received(data[used:end])
    error = parser.error.code if parser.error else 0
    if not parser.completed or error:
        return parser.completed, error
    body = parser.get_body_stream().read() if not parser.empty else b""
    return error, parser.empty, parser.headers, getattr(parser, "path", ""), body, used


@settings(deadline=None, max_examples=300)
@given(st.lists(PIECES, max_size=9).map(b"".join), st.lists(st.integers(0, 300), max_size=4))
def test_in_how_many_parts_a_request_comes_changes_nothing(data: bytes, cuts: list[int]) -> None:
    assert parsed(data, cuts) == parsed(data, [])


@settings(deadline=None, max_examples=300)
@given(st.lists(PIECES, max_size=9).map(b"".join))
def test_a_header_that_was_seen_before_reads_the_same(data: bytes) -> None:
    channel._HEADERS.clear()
    assert parsed(data, []) == parsed(data, [])
