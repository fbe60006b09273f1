"""Callers by WhoIs: who they are, what their capabilities allow, and by which host they may ask."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from legerd.identity import Caller, IdentityError
from legerd.localapi import LocalApiError
from legerd.tailnet import TailnetCallers, caller
from tests.legerd.daemon import Daemon, tcp_daemon
from tests.legerd.served import HEADERS
from tests.legerd.tailscaled import EVERYTHING, tailscaled, whois

GET_A = {"action": ["get"], "secret": ["a"]}
OLD, NEW = "https://tailscale.com/cap/secrets", "tailscale.com/cap/secrets"


def known(answer: Any) -> Caller:
    return caller(answer, "100.64.0.9")


def test_a_user_is_named_by_login() -> None:
    principal = known(whois(EVERYTHING)).principal
    assert json.loads(principal.json) == {
        "hostname": "host.tail-scale.ts.net.",
        "ip": "100.64.0.9",
        "user": "user@example.com",
    }


def test_a_tagged_node_is_its_tags() -> None:
    found = known(whois(EVERYTHING, tags=["tag:a", "tag:b"], login="tagged-devices"))
    assert json.loads(found.principal.json) == {
        "hostname": "host.tail-scale.ts.net.",
        "ip": "100.64.0.9",
        "tags": ["tag:a", "tag:b"],
    }


def capabilities(value: Any) -> Any:
    return {**whois(), "CapMap": value}


@pytest.mark.parametrize(
    ("value", "may"),
    [
        (None, False),
        ({}, False),
        ({NEW: None}, False),
        ({NEW: [GET_A]}, True),
        ({OLD: [GET_A]}, True),
        ({NEW: [], OLD: [GET_A]}, True),
        ({NEW: [{"action": ["put"], "secret": ["a"]}], OLD: [GET_A]}, False),
        ({NEW: [None, GET_A]}, True),
        ({NEW: [{}]}, False),
        ({NEW: [{"ACTION": ["get"], "Secret": ["a"], "more": 1}]}, True),
        ({NEW: [{"action": ["*"], "secret": ["a"]}]}, False),
        ({NEW: [{"action": ["get"], "secret": ["*"]}]}, True),
        ({NEW: [{"action": ["get"], "secret": None}]}, False),
        (
            {NEW: [{"action": ["get"], "secret": ["b"]}, {"action": ["info"], "secret": ["a"]}]},
            False,
        ),
        ({"tailscale.com/cap/other": [GET_A]}, False),
    ],
)
def test_capabilities_allow_what_setec_allows(value: Any, may: bool) -> None:
    assert known(capabilities(value)).may("get", "a") is may


@pytest.mark.parametrize(
    "value",
    [
        [],
        {NEW: {}},
        {NEW: "x"},
        {NEW: ["x"]},
        {NEW: [GET_A, 5]},
        {NEW: [[]]},
        {NEW: [{"action": "get", "secret": ["a"]}]},
        {NEW: [{"action": ["get"], "secret": [1]}]},
        {NEW: [{"action": {"a": 1}}]},
        {OLD: [False]},
        {NEW: [GET_A], "tailscale.com/cap/other": 5},
    ],
)
def test_one_rule_of_a_wrong_shape_spoils_all(value: Any) -> None:
    with pytest.raises((IdentityError, LocalApiError)):
        known(capabilities(value))


@pytest.mark.parametrize(
    "answer",
    [
        None,
        [],
        {},
        {"Node": {}, "UserProfile": {}},
        {"Node": 5},
        {"Node": {"Name": "x", "Tags": "tag:a"}},
        {"Node": {"Name": "x"}, "UserProfile": {"LoginName": ""}},
        {"Node": {"Name": "x"}, "UserProfile": {"LoginName": 5}},
    ],
)
def test_without_user_and_tags_nobody_is_known(answer: Any) -> None:
    with pytest.raises((IdentityError, LocalApiError)):
        known(answer)


@pytest.mark.parametrize("answer", [None, b"", b"{", b"[" * 100_000, b"\xff", b"{}"])
def test_an_answer_that_is_none_is_a_refusal(tmp_path: Path, answer: bytes | None) -> None:
    with tailscaled(tmp_path / "t") as whois_server:
        whois_server.answer = answer
        environ = {"REMOTE_ADDR": "100.64.0.9", "REMOTE_PORT": "4711"}
        with pytest.raises(IdentityError):
            TailnetCallers(tmp_path / "t")(environ)


def test_without_tailscaled_nobody_is_known(tmp_path: Path) -> None:
    with pytest.raises(IdentityError):
        TailnetCallers(tmp_path / "t")({"REMOTE_ADDR": "::1", "REMOTE_PORT": "4711"})


def test_addresses_are_asked_for_as_tailscaled_wants_them(tmp_path: Path) -> None:
    with tailscaled(tmp_path / "t") as server:
        callers = TailnetCallers(tmp_path / "t")
        callers({"REMOTE_ADDR": "100.64.0.9", "REMOTE_PORT": "4711"})
        callers({"REMOTE_ADDR": "fd7a:115c:a1e0::9", "REMOTE_PORT": "4711"})
        assert server.asked == ["100.64.0.9:4711", "[fd7a:115c:a1e0::9]:4711"]


@pytest.fixture(scope="module")
def legerd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with tcp_daemon(tmp_path_factory.mktemp("tailnet")) as running:
        yield running


def test_each_request_is_identified_anew(legerd: Daemon) -> None:
    assert legerd.tailscaled
    connection = legerd.connect()
    answers = []
    for answer in (whois(EVERYTHING), whois(), None, whois(EVERYTHING)):
        legerd.tailscaled.answer = answer
        connection.request("POST", "/api/get", b'{"Name":"x"}', HEADERS)
        response = connection.getresponse()
        answers.append((response.status, response.read()))
    connection.close()
    assert answers == [
        (404, b"not found\n"),
        (403, b"access denied\n"),
        (500, b"unable to identify caller\n"),
        (404, b"not found\n"),
    ]


def test_who_is_not_identified_is_not_recorded(legerd: Daemon) -> None:
    assert legerd.tailscaled
    log = legerd.folder / "state/audit.log"
    before = log.read_bytes()
    legerd.tailscaled.answer = None
    assert legerd.request("POST", "/api/list", b"{}")[0] == 500
    legerd.tailscaled.answer = whois(EVERYTHING)
    assert log.read_bytes() == before


PATTERNS = {"action": ["put", "info"], "secret": ["*/db/*-key*"]}


@pytest.mark.parametrize(
    ("capmap", "tags", "name", "wanted"),
    [
        ({NEW: [PATTERNS]}, ["tag:a"], "prod/x/db/y-key-1", 200),
        ({NEW: [PATTERNS]}, ["tag:a"], "/db/-key", 200),
        ({NEW: [PATTERNS]}, ["tag:a"], "prod/db/key", 403),
        ({NEW: [PATTERNS]}, None, "db/x-key", 403),
        ({NEW: [{"action": ["put"], "secret": ["a*a"]}]}, None, "a", 403),
        ({NEW: [{"action": ["put"], "secret": ["a*a"]}]}, None, "aa", 200),
        ({NEW: [{"action": ["put"], "secret": ["***"]}]}, None, "x", 200),
        ({OLD: [PATTERNS]}, ["tag:a", "tag:b"], "x/db/-key", 200),
        ({NEW: [], OLD: [PATTERNS]}, None, "x/db/-key", 200),
        ({NEW: [{"action": ["get"]}], OLD: [PATTERNS]}, None, "x/db/-key", 403),
        ({NEW: [PATTERNS, "x"]}, ["tag:a"], "x/db/-key", 500),
        ({NEW: {"action": ["put"]}}, None, "x/db/-key", 500),
        ({NEW: [{"action": "put", "secret": ["*"]}]}, None, "x", 500),
        ({NEW: [{"action": ["put"], "secret": [["*"]]}]}, None, "x", 500),
        (None, ["tag:a"], "x", 403),
    ],
)
def test_calls_are_allowed_and_recorded_by_rules_of_every_shape(
    legerd: Daemon, capmap: Any, tags: list[str] | None, name: str, wanted: int
) -> None:
    assert legerd.tailscaled
    log = legerd.folder / "state/audit.log"
    before = log.stat().st_size if log.exists() else 0
    legerd.tailscaled.answer = {**whois(tags=tags), "CapMap": capmap}
    body = json.dumps({"Name": name, "Value": ""}).encode()
    status, answer, _ = legerd.request("POST", "/api/put", body)
    legerd.tailscaled.answer = whois(EVERYTHING)
    assert status == wanted
    lines = [json.loads(line) for line in log.read_bytes()[before:].splitlines()]
    if wanted == 500:
        assert (answer, lines) == (b"unable to identify caller\n", [])
        return
    (line,) = lines
    assert (line["action"], line["secret"], line["authorized"]) == ("put", name, wanted == 200)
    assert line["principal"].get("tags") == tags
    assert ("user" in line["principal"]) is (tags is None)


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("LOCALHOST:80", 200),
        ("localhost.", 200),
        ("127.0.0.1:8080", 200),
        ("[::1]:8080", 200),
        ("evil.example", 403),
        ("localhost.evil.example", 403),
        ("127.0.0.1.evil.example", 403),
        ("evil.example:80", 403),
        ("", 403),
    ],
)
def test_a_foreign_name_is_refused(legerd: Daemon, host: str, status: int) -> None:
    headers = {**HEADERS, "Host": host}
    for method, path in (("POST", "/api/list"), ("GET", "/")):
        answer = legerd.request(method, path, b"{}" if method == "POST" else None, headers)
        assert answer[0] == status
        assert status == 200 or answer[1] == b"access denied\n"
