"""The listeners on the tailnet: where tailscaled says the node is, and nowhere else."""

from __future__ import annotations

import http.client
import json
import socket
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from legerd import follow, server
from legerd.api import make_app
from legerd.audit import AuditLog
from legerd.follow import Follower, Node
from legerd.limits import Limits
from legerd.localapi import LocalApi, LocalApiError
from legerd.page import Page
from legerd.service import Service
from legerd.tailnet import TailnetCallers, is_local
from legerd.uses import UsesFile
from tests.legerd.served import HEADERS
from tests.legerd.tailscaled import Tailscaled, status, tailscaled
from tests.legerd.vault import MemoryVault

NOW = datetime(2026, 11, 23, tzinfo=UTC)
ADDRESSES = ("100.64.0.7", "fd7a:115c:a1e0::7")


def parsed(answer: Any) -> Node:
    return Node.parse(answer, NOW)


def test_a_node_has_its_addresses_and_names() -> None:
    assert parsed(status(*ADDRESSES)) == Node(
        frozenset(ADDRESSES), frozenset({*ADDRESSES, "box1.tail1234.ts.net", "box1"})
    )
    assert parsed(status("100.64.0.7", name="")).names == {"100.64.0.7"}


@pytest.mark.parametrize(
    ("changes", "on"),
    [
        ({}, True),
        ({"Expired": False}, True),
        ({"Expired": True}, False),
        ({"KeyExpiry": "2026-12-31T00:00:00Z"}, True),
        ({"KeyExpiry": "2026-11-22T23:59:59.5Z"}, False),
        ({"KeyExpiry": "soon"}, False),
        ({"KeyExpiry": "2027-01-01T00:00:00"}, False),
        ({"TailscaleIPs": None}, False),
    ],
)
def test_a_node_that_is_expired_has_no_addresses(changes: Any, on: bool) -> None:
    assert bool(parsed(status("100.64.0.7", **changes)).addresses) is on


@pytest.mark.parametrize("state", ["NoState", "NeedsLogin", "Stopped", "Starting", None])
def test_a_node_that_does_not_run_has_no_addresses(state: str | None) -> None:
    assert parsed({**status("100.64.0.7"), "BackendState": state}) == Node()
    assert parsed({**status("100.64.0.7"), "CurrentTailnet": None}) == Node()
    assert parsed(None) == parsed({}) == parsed({"Self": None}) == Node()


@pytest.mark.parametrize("answer", [[], 5, {"Self": []}, status("a", TailscaleIPs="100.64.0.7")])
def test_another_shape_is_an_error(answer: Any) -> None:
    with pytest.raises(LocalApiError):
        parsed(answer if not isinstance(answer, dict) else {**status("a"), **answer})


def test_the_addresses_of_this_host_are_known() -> None:
    assert is_local("127.0.0.1")
    assert is_local("127.8.9.10")
    assert is_local("::1") or not socket.has_ipv6
    assert not is_local("192.0.2.1")
    assert not is_local("2001:db8::1")
    assert not is_local("no address")


class Tailnet:
    """A follower whose node's addresses are on the loopback interface."""

    def __init__(self, folder: Path, daemon: Tailscaled) -> None:
        self.daemon = daemon
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.refused: Any = None
        self.audit = AuditLog(folder / "audit.log")
        self.service = Service(MemoryVault(), self.audit)
        self.socket = folder / "t"
        self.follower = Follower(LocalApi(self.socket), self.port, self.serve)

    def serve(self, listening: socket.socket, node: Node) -> server.Listener:
        callers = TailnetCallers(self.socket, self.refused)
        page = Page("host.example", UsesFile(Path("/none")))
        app = make_app(self.service, callers, page, node.names)
        return server.Listener(listening, app, Limits())

    def step(self, *addresses: str, **changes: Any) -> None:
        self.daemon.state = status(*addresses, **changes)
        self.follower.step()

    def ask(self, address: str, host: str = "") -> int:
        """The status of a list, 0 if nobody listens there."""
        connection = http.client.HTTPConnection(address, self.port, timeout=5)
        try:
            headers = {**HEADERS, "Host": host or address}
            connection.request("POST", "/api/list", b"{}", headers)
            return connection.getresponse().status
        except OSError:
            return 0
        finally:
            connection.close()


@pytest.fixture
def tailnet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Tailnet]:
    monkeypatch.setattr(follow, "SECONDS", 0.05)
    with tailscaled(tmp_path / "t") as daemon:
        made = Tailnet(tmp_path, daemon)
        yield made
        made.follower.stop()
        server.drain(made.follower.listeners, 0)
        made.audit.close()


def test_listeners_follow_the_addresses(tailnet: Tailnet) -> None:
    tailnet.step()
    assert tailnet.follower.listeners == []
    tailnet.step("127.0.0.2")
    assert [tailnet.ask(f"127.0.0.{n}") for n in (1, 2, 3)] == [0, 200, 0]
    kept = tailnet.follower.listeners
    tailnet.step("127.0.0.2")
    assert tailnet.follower.listeners == kept
    tailnet.step("127.0.0.3", "127.0.0.2")
    assert [tailnet.ask(f"127.0.0.{n}") for n in (2, 3)] == [200, 200]
    tailnet.step("127.0.0.3")
    assert [tailnet.ask(f"127.0.0.{n}") for n in (2, 3)] == [0, 200]
    tailnet.step("127.0.0.3", Expired=True)
    assert tailnet.ask("127.0.0.3") == 0
    tailnet.step("127.0.0.3")
    assert tailnet.ask("127.0.0.3") == 200


def test_without_tailscaled_nobody_listens(tailnet: Tailnet) -> None:
    tailnet.step("127.0.0.2")
    tailnet.socket.unlink()
    tailnet.follower.step()
    assert tailnet.ask("127.0.0.2") == 0


def test_an_address_that_is_not_there_yet_is_tried_again(
    tailnet: Tailnet, capfd: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.2", tailnet.port)):
        tailnet.step("127.0.0.2", "192.0.2.1")
        assert tailnet.follower.listeners == []
    assert "tried again" in capfd.readouterr().err
    tailnet.step("127.0.0.2", "192.0.2.1")
    assert tailnet.ask("127.0.0.2") == 200


def test_only_the_nodes_own_names_are_answered(tailnet: Tailnet) -> None:
    tailnet.step("127.0.0.2")
    for host in ("box1", "box1.tail1234.ts.net", "BOX1.tail1234.ts.net.:8080", "127.0.0.2"):
        assert tailnet.ask("127.0.0.2", host) == 200
    for host in ("localhost", "127.0.0.1", "box2", "box1.evil.example"):
        assert tailnet.ask("127.0.0.2", host) == 403
    tailnet.step("127.0.0.2", name="other.tail1234.ts.net.")
    assert tailnet.ask("127.0.0.2", "box1") == 403
    assert tailnet.ask("127.0.0.2", "other") == 200


def test_a_process_of_this_host_is_nobody(tailnet: Tailnet) -> None:
    tailnet.refused = is_local
    tailnet.step("127.0.0.2")
    assert tailnet.ask("127.0.0.2") == 500
    assert tailnet.daemon.asked == []
    assert (tailnet.socket.parent / "audit.log").read_text() == ""


def test_it_follows_by_itself(tailnet: Tailnet) -> None:
    tailnet.daemon.state = status("127.0.0.2")
    tailnet.follower.start()
    end = time.monotonic() + 60
    while tailnet.ask("127.0.0.2") != 200:
        assert time.monotonic() < end, json.dumps(tailnet.daemon.state)
        time.sleep(0.02)


def test_a_listener_that_was_stopped_is_drained_once(tailnet: Tailnet) -> None:
    tailnet.step("127.0.0.2")
    (listener,) = tailnet.follower.listeners
    server.drain([listener], 0)
    server.drain([listener], 0)
    assert tailnet.ask("127.0.0.2") == 0
