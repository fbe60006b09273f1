"""The HTTP server: slow and greedy clients, big bodies, and what stays out of the log."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from legerd import limits, log, server
from tests.legerd.served import HEADERS, LIST, Served, body, request, serve, status

CANARY = b"c4n4ry"
ROOT = Path(__file__).parents[2]
FOLDERS = (ROOT, ROOT / "lib", ROOT / "generator")


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
    with serve(tmp_path, limits.Limits(body=1000)) as served:
        exact = json.dumps({"Name": "a" * (1000 - len('{"Name": ""}'))}).encode()
        assert len(exact) == 1000
        assert served.request("POST", "/api/info", exact)[0] == 404
        too_long = request(b"Content-Length: 1001", body=b" " * 1001)
        assert status(served.raw(too_long)) == 413
        chunks = b"3e9\r\n" + b" " * 1001 + b"\r\n0\r\n\r\n"
        assert status(served.raw(request(b"Transfer-Encoding: chunked", body=chunks))) == 413
        assert status(served.raw(request(b"X: " + b"x" * 70_000))) == 431


def test_who_may_do_nothing_sends_little(tmp_path: Path) -> None:
    large = b'{"Name":"a","x":"' + b"x" * (64 << 10) + b'"}'
    (tmp_path / "policy.yaml").write_text("nobody may do anything")
    with serve(tmp_path) as served:
        assert served.request("POST", "/api/info", b'{"Name":"a"}')[0] == 403
        answer = served.request("POST", "/api/info", large)
        assert answer[:2] == (413, b"request body too large\n")
        served.policy.write_text("rules: []")
        assert served.request("POST", "/api/info", large)[0] == 404


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
    with serve(tmp_path, limits.Limits(request_seconds=0.3, idle_seconds=1)) as served:
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


def test_one_address_of_the_tailnet_does_not_keep_the_others_out(tmp_path: Path) -> None:
    with serve(tmp_path) as served, contextlib.ExitStack() as held:
        listening = socket.create_server(("127.0.0.1", 0))
        app = served.listener._server.application
        listener = server.Listener(listening, app, limits.Limits(connections=8))
        listener.start()
        address = listening.getsockname()
        full = [
            held.enter_context(socket.create_connection(address, 10, ("127.0.0.99", 0)))
            for _ in range(5)
        ]
        assert full[-1].recv(1) == b""
        other = held.enter_context(contextlib.closing(http.client.HTTPConnection(*address)))
        other.request("GET", "/static/icon.svg")
        assert other.getresponse().status == 200
        listener.stop()


def test_nobody_but_root_may_fill_a_listener() -> None:
    shares = limits.Shares(limits.Limits(body=10, connections=4))
    assert shares.add(1000, 1, 0)
    assert shares.add(1000, 1, 80)
    assert not shares.add(1000, 1, 0)
    assert shares.add(1000, -1, 0)
    assert not shares.add(1000, 0, 1)
    assert shares.add(1001, 1, 80)
    assert shares.add(0, 100, 1000)
    assert shares.add(1000, -2, -81)
    assert shares._held.keys() == {1001, 0}


def test_connections_stay_below_the_descriptors() -> None:
    script = """
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (100, 400))
from legerd.limits import most_connections
print(most_connections(), resource.getrlimit(resource.RLIMIT_NOFILE))
"""
    command = [sys.executable, "-c", script]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, FOLDERS))}
    done = subprocess.run(command, env=environment, capture_output=True, check=True)
    assert done.stdout.decode().strip() == "100 (400, 400)"


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
    log.quiet_logs()
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
    log.quiet_logs()
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


def test_a_get_waits_for_no_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go_on, began = threading.Event(), threading.Event()
    with serve(tmp_path, limits.Limits(workers=1)) as served:
        served.vault.put("a", b"1", "")

        def slow(*_arguments: object) -> int:
            began.set()
            return 2 if go_on.wait(60) else 0

        monkeypatch.setattr(served.vault, "put", slow)
        connection = served.connect()
        connection.request("POST", "/api/get", b'{"Name":"a"}', HEADERS)
        writer = threading.Thread(target=served.call, args=("put", {"Name": "b"}))
        try:
            assert connection.getresponse().read() == b'{"Value":"MQ==","Version":1}'
            writer.start()
            assert began.wait(60)
            connection.request("POST", "/api/get", b'{"Name":"a"}', HEADERS)
            assert connection.getresponse().read() == b'{"Value":"MQ==","Version":1}'
        finally:
            go_on.set()
            writer.join(60)
            connection.close()


def test_what_waits_for_its_audit_line_is_answered_in_turn(served: Served) -> None:
    served.vault.put("a", b"1", "")
    line = b"POST /api/get HTTP/1.1"
    audited = request(b"Content-Length: 12", body=b'{"Name":"a"}', line=line)
    same = b'{"Name":"a","Version":1,"UpdateIfChanged":true}'
    unaudited = request(b"Content-Length: %d" % len(same), body=same, line=line)
    together = ((audited + unaudited) * 20).replace(b"Connection: close\r\n", b"")
    answer = served.raw(together)
    assert re.findall(rb"HTTP/1.1 (\d+)", answer) == [b"200", b"304"] * 20


def test_what_cannot_be_recorded_is_not_answered(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    served.vault.put("a", b"1", "")

    def fail(_descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", fail)
        for call in ("get", "info", "list", "leger/fetch", "leger/watch"):
            asked = {"Name": "a", "Secrets": [{"Name": "a"}]}
            assert served.call(call, asked) == (500, "internal error\n"), call
        served.policy.write_text("rules: [{uid: 0, action: put, secret: b}]\n")
        assert served.call("get", {"Name": "a"}) == (403, "access denied\n")
        served.policy.unlink()
    assert served.call("get", {"Name": "a"})[0] == 200


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
