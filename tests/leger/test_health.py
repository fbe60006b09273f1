"""Health checks by HTTP: what counts as well, and what a request may not do."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from leger.errors import ConfigError
from leger.health import Poll, Probe, labels


@pytest.fixture
def serve() -> Iterator[Callable[..., int]]:
    """Answer each connection to a port of the loopback with bytes; keeps the requests."""
    sockets: list[socket.socket] = []

    def start(answer: bytes, requests: list[bytes] | None = None) -> int:
        listener = socket.create_server(("127.0.0.1", 0))
        sockets.append(listener)

        def loop() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    with connection:
                        got = connection.recv(65536)
                        if requests is not None:
                            requests.append(got)
                        connection.sendall(answer)

        threading.Thread(target=loop, daemon=True).start()
        return int(listener.getsockname()[1])

    yield start
    for listener in sockets:
        listener.close()


def probe(url: str, **more: str) -> Probe:
    return Probe.parse({"x-health-url": url} | {f"x-health-{k}": v for k, v in more.items()})


@pytest.mark.parametrize(
    ("status", "expected", "well"),
    [
        (200, "200", True),
        (204, "200", False),
        (204, "200,204", True),
        (418, "200-299, 418", True),
        (500, "200-299", False),
        (301, "200", False),
        (301, "301", True),
    ],
)
def test_a_status_is_well_if_it_is_expected(
    serve: Callable[..., int], status: int, expected: str, well: bool
) -> None:
    port = serve(f"HTTP/1.1 {status} Word\r\nLocation: http://192.0.2.1/\r\n\r\n".encode())
    said = probe(f"http://127.0.0.1:{port}/", expected=expected).ask()
    assert said == ("" if well else f"answers {status}")


def test_the_request_carries_the_path_and_nothing_of_the_host(serve: Callable[..., int]) -> None:
    requests: list[bytes] = []
    port = serve(b"HTTP/1.0 200 OK\r\n\r\n", requests)
    assert probe(f"http://localhost:{port}/health?deep=1#part").ask() == ""
    lines = requests[0].decode().split("\r\n")
    assert lines[0] == "GET /health?deep=1 HTTP/1.1"
    assert sorted(line.partition(":")[0] for line in lines[1:] if line) == [
        "Accept",
        "Connection",
        "Host",
        "User-Agent",
    ]


@pytest.mark.parametrize(
    "answer", [b"", b"\n", b"SSH-2.0-x\r\n", b"HTTP/1.1 2000 x\r\n", b"x" * 100_000]
)
def test_what_is_not_http_is_not_well(serve: Callable[..., int], answer: bytes) -> None:
    said = probe(f"http://127.0.0.1:{serve(answer)}/").ask()
    assert said.startswith("does not answer: ")


def test_a_server_that_drips_does_not_hold_the_probe() -> None:
    ended = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def drip() -> None:
            connection, _ = listener.accept()
            with connection, contextlib.suppress(OSError):
                while not ended.wait(0.05):
                    connection.sendall(b"H")

        thread = threading.Thread(target=drip)
        thread.start()
        said = probe(f"http://127.0.0.1:{listener.getsockname()[1]}/").ask(0.5)
        ended.set()
        thread.join()
    assert said == "does not answer: no answer in time"


@pytest.mark.parametrize("host", ["192.0.2.1", "[2001:db8::1]"])
def test_another_host_is_not_asked(host: str) -> None:
    said = probe(f"http://{host}:1/").ask()
    assert said == f"does not answer: {host.strip('[]')} is not this host"


def test_a_certificate_that_nobody_vouches_for_is_not_well(serve: Callable[..., int]) -> None:
    port = serve(b"HTTP/1.1 200 OK\r\n\r\n")
    assert probe(f"https://127.0.0.1:{port}/").ask().startswith("does not answer: ")


def test_a_probe_is_asked_until_it_is_content() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    poll = Poll({"a.service": probe(f"http://127.0.0.1:{port}/x?token=1", timeout="200ms")})
    poll.ask()
    assert list(poll.waiting) == ["a.service"]
    assert poll.failed() == {}
    while not poll.failed():
        time.sleep(0.01)
    assert poll.failed() == {
        "a.service": f"is not healthy: http://127.0.0.1:{port}/x does not answer:"
        " Connection refused, after 0.2 s"
    }


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"x-health-url": "127.0.0.1:80"}, "is not an http"),
        ({"x-health-url": "ftp://127.0.0.1/"}, "is not an http"),
        ({"x-health-url": "http://a:b@127.0.0.1/"}, "a user and a password"),
        ({"x-health-url": "http://127.0.0.1:99999/"}, "x-health-url"),
        ({"x-health-url": "http://127.0.0.1/ä"}, "must be escaped"),
        ({"x-health-url": "http://h/", "x-health-timeout": "soon"}, "x-health-timeout"),
        ({"x-health-url": "http://h/", "x-health-timeout": "0s"}, "x-health-timeout"),
        ({"x-health-url": "http://h/", "x-health-timeout": "2h"}, "x-health-timeout"),
        ({"x-health-url": "http://h/", "x-health-expected": "ok"}, "x-health-expected"),
        ({"x-health-url": "http://h/", "x-health-expected": "200,"}, "x-health-expected"),
    ],
)
def test_a_label_that_cannot_be_understood_is_named(given: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Probe.parse(given)


def test_labels_are_read_like_podman_does() -> None:
    assert labels(
        ['a=b "x-health-url=http://h/?a b"', "x-health-timeout=1s", "x-health-other=1"]
    ) == {
        "x-health-url": "http://h/?a b",
        "x-health-timeout": "1s",
    }
