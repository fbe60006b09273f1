"""The HTTP server: framing, slow and greedy clients, big bodies, and what stays out of the log."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from legerd import server
from tests.legerd.served import HEADERS, Served, serve

HEAD = (
    b"Host: localhost\r\nContent-Type: application/json\r\nSec-X-Tailscale-No-Browsers: setec\r\n"
)
LIST = b"POST /api/list HTTP/1.1\r\n" + HEAD
CANARY = b"c4n4ry"
CHUNKS = b"2\r\n{}\r\n0\r\n\r\n"


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with serve(tmp_path) as running:
        yield running


def request(*headers: bytes, body: bytes = b"", line: bytes = b"POST /api/list HTTP/1.1") -> bytes:
    lines = [line, HEAD.rstrip(), *headers, b"Connection: close"]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def status(answer: bytes) -> int:
    return int(answer.split(b" ")[1]) if answer else 0


def body(answer: bytes) -> bytes:
    return answer.partition(b"\r\n\r\n")[2]


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


@pytest.mark.parametrize("size", [150 << 10, 600 << 10, 4 << 20])
def test_big_values_stay_in_memory(served: Served, size: int) -> None:
    value = base64.b64encode(os.urandom(size)).decode()
    opened = record_opened()
    assert served.call("put", {"Name": "big", "Value": value}) == (200, 1)
    assert served.call("get", {"Name": "big"}) == (200, {"Value": value, "Version": 1})
    chunk = json.dumps({"Name": "big", "Value": value}).encode()
    sent = b"%x\r\n%b\r\n0\r\n\r\n" % (len(chunk), chunk)
    answer = served.raw(
        request(b"Transfer-Encoding: chunked", body=sent, line=b"POST /api/put HTTP/1.1")
    )
    assert body(answer) == b"1"
    assert not {path for path in opened if not path.startswith(str(served.folder))}


_opened: list[str] = []
_hooks: list[Any] = []


def record_opened() -> list[str]:
    """Every file that this process opens for writing from now on, temporary ones included."""
    if not _hooks:

        def hook(event: str, arguments: Any) -> None:
            if event == "open" and (arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR):
                _opened.append(str(arguments[0]))

        _hooks.append(hook)
        sys.addaudithook(hook)
    _opened.clear()
    return _opened


def test_a_body_above_the_limit_is_refused(tmp_path: Path) -> None:
    with serve(tmp_path, server.Limits(body=1000)) as served:
        exact = json.dumps({"Name": "a" * (1000 - len('{"Name": ""}'))}).encode()
        assert len(exact) == 1000
        assert served.request("POST", "/api/info", exact)[0] == 404
        too_long = request(b"Content-Length: 1001", body=b" " * 1001)
        assert status(served.raw(too_long)) == 413
        chunks = b"3e9\r\n" + b" " * 1001 + b"\r\n0\r\n\r\n"
        assert status(served.raw(request(b"Transfer-Encoding: chunked", body=chunks))) == 413
        assert status(served.raw(request(b"X: " + b"x" * 70_000))) == 431


def test_silent_and_slow_clients_hold_up_nobody(served: Served) -> None:
    slow = []
    for number in range(600):
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(str(served.path))
        if number % 3:
            connection.send(LIST + (b"Content-Length: 20\r\n\r\n{" if number % 2 else b""))
        slow.append(connection)
    try:
        assert served.call("list") == (200, None)
        slow[1].send(b"X: y\r\n")
        assert served.call("list") == (200, None)
    finally:
        for connection in slow:
            connection.close()


def test_who_takes_too_long_is_cut_off(tmp_path: Path) -> None:
    with serve(tmp_path, server.Limits(request_seconds=0.3, idle_seconds=1)) as served:
        with socket.socket(socket.AF_UNIX) as dripping, socket.socket(socket.AF_UNIX) as silent:
            silent.connect(str(served.path))
            dripping.connect(str(served.path))
            wait_until(lambda: cut_off(dripping))
            silent.settimeout(10)
            assert silent.recv(1) == b""
        assert served.call("list") == (200, None)


def cut_off(connection: socket.socket) -> bool:
    """Send one more byte; whether the other side has closed."""
    try:
        connection.send(b"P")
    except OSError:
        return True
    return False


def test_nobody_but_root_may_fill_a_listener() -> None:
    shares = server._Shares(server.Limits(body=10, connections=4))
    assert shares.add(1000, 1, 0)
    assert shares.add(1000, 1, 80)
    assert not shares.add(1000, 1, 0)
    assert shares.add(1000, -1, 0)
    assert not shares.add(1000, 0, 1)
    assert shares.add(1001, 1, 80)
    assert shares.add(0, 100, 1000)
    assert shares.add(1000, -2, -81)
    assert shares._held.keys() == {1001, 0}


def test_what_is_answered_or_gone_is_not_counted(served: Served) -> None:
    connection = served.connect()
    for _ in range(3):
        connection.request("POST", "/api/list", b"{}", HEADERS)
        connection.getresponse().read()
    with socket.socket(socket.AF_UNIX) as half:
        half.connect(str(served.path))
        half.send(LIST)
        wait_until(lambda: served.listener._server.shares._held == {os.geteuid(): [2, len(LIST)]})
    connection.close()
    wait_until(lambda: served.listener._server.shares._held == {})


def wait_until(condition: Any) -> None:
    for _ in range(500):
        if condition():
            return
        time.sleep(0.02)
    raise AssertionError("it did not come true")


MALFORMED = [
    CANARY,
    CANARY + b"\r\n\r\n",
    b"POST /" + CANARY + b" HTTP/9.9\r\n\r\n",
    b"GET /" + CANARY + b"%zz HTTP/1.1\r\nHost: x\r\n\r\n",
    b"post /" + CANARY + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    request(b"X-" + CANARY + b": \0"),
    request(CANARY),
    request(b"X: " + CANARY + b"\rY: 1"),
    request(b" folded " + CANARY),
    request(b"X: " + CANARY * 20_000),
    request(b"Host: " + CANARY),
    request(b"Content-Length: " + CANARY),
    request(b"Transfer-Encoding: " + CANARY),
    request(b"Transfer-Encoding: chunked", body=CANARY + b"\r\n"),
    request(b"Transfer-Encoding: chunked", body=b"5;" + CANARY + b"\0\r\n"),
    request(b"Transfer-Encoding: chunked", body=b"3\r\n" + CANARY + b"\r\n0\r\n\r\n"),
    request(b"Content-Length: 9", body=b'"' + CANARY),
    request(b"Content-Length: 14", body=b'{"Name":"' + CANARY),
    request(b"Content-Length: 8", body=b'"' + CANARY + b'"', line=b"POST /api/put HTTP/1.1"),
    request(b"Content-Length: 6", body=CANARY, line=b"POST /api/put HTTP/1.1"),
    request(body=CANARY, line=b"POST //" + CANARY + b" HTTP/1.1"),
    request(line=b"GET /api/" + CANARY + b"?" + CANARY + b" HTTP/1.1"),
    LIST + b"Content-Length: 100\r\n\r\n" + CANARY,
    request(b"Content-Length: 999999999999", body=CANARY),
    request(b"Expect: " + CANARY, b"Content-Length: 6", body=CANARY),
]


def test_nothing_of_a_malformed_request_is_logged(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    server.quiet_logs()
    with serve(tmp_path) as served:
        for sent in MALFORMED:
            answer = served.raw(sent, timeout=2)
            if b"301 " not in answer[:20]:
                assert CANARY not in answer
        assert served.call("list") == (200, None)
    captured = capfd.readouterr()
    assert CANARY.decode() not in captured.out + captured.err
    assert CANARY.decode() not in (tmp_path / "audit.log").read_text()


def test_a_bug_is_an_internal_error_and_logged_without_its_text(
    served: Served, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_arguments: object) -> int:
        raise RuntimeError(CANARY.decode())

    monkeypatch.setattr(served.vault, "put", fail)
    value = base64.b64encode(CANARY).decode()
    assert served.call("put", {"Name": "a", "Value": value}) == (500, "internal error\n")
    error = capfd.readouterr().err
    assert "legerd: error: RuntimeError at " in error
    assert CANARY.decode() not in error
    assert served.call("list") == (200, None)


def test_a_client_that_goes_away_is_not_named(
    served: Served, capfd: pytest.CaptureFixture[str]
) -> None:
    server.quiet_logs()
    value = base64.b64encode(bytes(8 << 20)).decode()
    assert served.call("put", {"Name": "a", "Value": value}) == (200, 1)
    for _ in range(5):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(served.path))
            line = b"POST /api/get?" + CANARY + b" HTTP/1.1"
            connection.send(request(b"Content-Length: 12", body=b'{"Name":"a"}', line=line))
            connection.recv(10)
    assert served.call("info", {"Name": "a"})[0] == 200
    assert CANARY.decode() not in capfd.readouterr().err


def test_while_draining_each_connection_gets_one_more_answer(served: Served) -> None:
    connections = [served.connect() for _ in range(5)]
    for connection in connections:
        connection.request("POST", "/api/list", b"{}", HEADERS)
        assert connection.getresponse().read() == b"null"
    draining = threading.Thread(target=server.drain, args=([served.listener], 10))
    draining.start()
    wait_until(lambda: served.listener._server.draining)
    for connection in connections:
        connection.request("POST", "/api/list", b"{}", HEADERS)
        answer = connection.getresponse()
        assert answer.read() == b"null"
        assert answer.getheader("Connection") == "close"
        connection.close()
    draining.join(5)
    assert not draining.is_alive()
    with socket.socket(socket.AF_UNIX) as late:
        late.connect(str(served.path))
        late.settimeout(0.3)
        late.send(LIST)
        with pytest.raises(TimeoutError):
            late.recv(1)


def call(connection: http.client.HTTPConnection) -> None:
    connection.request("POST", "/api/list", b"{}", HEADERS)
    connection.getresponse().read()


def test_draining_ends_in_time_although_somebody_stays(served: Served) -> None:
    connection = served.connect()
    connection.request("POST", "/api/list", b"{}", HEADERS)
    connection.getresponse().read()
    server.drain([served.listener], 0.2)
    with pytest.raises((http.client.HTTPException, OSError)):
        call(connection)
    connection.close()
