"""Random calls over HTTP against setec in plain Python; with access rules, and noise in between."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from legerd.policy import ACTIONS
from tests.legerd.daemon import Daemon, tcp_daemon
from tests.legerd.model import Model
from tests.legerd.served import HEADERS
from tests.legerd.tailscaled import EVERYTHING, whois

NAMES = st.sampled_from(["", "a", "b", "prod/db", "_internal/x", "_internal", "\u00e9<&>", "*"])
VERSIONS = st.sampled_from([0, 1, 2, 3, 7, 2**32 - 1])
VALUES = st.sampled_from([b"", b"1", b"2", b"\0\xff"])
CALLS = st.one_of(
    st.tuples(st.just("list")),
    st.tuples(st.just("get"), NAMES, VERSIONS, st.booleans()),
    st.tuples(st.just("info"), NAMES),
    st.tuples(st.just("put"), NAMES, VALUES),
    st.tuples(st.just("create-version"), NAMES, VERSIONS, VALUES),
    st.tuples(st.just("activate"), NAMES, VERSIONS),
    st.tuples(st.just("delete"), NAMES),
    st.tuples(st.just("delete-version"), NAMES, VERSIONS),
)
FIELDS = {"get": ("Name", "Version", "UpdateIfChanged"), "put": ("Name", "Value")}
SLOW = settings(deadline=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def legerd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with tcp_daemon(tmp_path_factory.mktemp("model")) as running:
        yield running


def ask(legerd: Daemon, connection: Any, call: tuple[Any, ...]) -> tuple[int, Any]:
    """Status and, where there is one, the decoded body."""
    names = FIELDS.get(call[0], ("Name", "Version", "Value"))
    body = {
        name: base64.b64encode(value).decode() if isinstance(value, bytes) else value
        for name, value in zip(names, call[1:], strict=False)
    }
    connection.request("POST", f"/api/{call[0]}", json.dumps(body), HEADERS)
    answer = connection.getresponse()
    data = answer.read()
    if answer.status != 200:
        return answer.status, None
    decoded = json.loads(data)
    if call[0] == "get":
        return 200, (base64.b64decode(decoded["Value"]), decoded["Version"])
    return 200, decoded


def wanted(model: Model, call: tuple[Any, ...]) -> tuple[int, Any]:
    status, body = getattr(model, call[0].replace("-", "_"))(*call[1:])
    return status, body


@settings(SLOW, max_examples=60)
@given(st.lists(CALLS, min_size=1, max_size=40))
def test_random_calls_answer_as_the_model_does(
    legerd: Daemon, calls: list[tuple[Any, ...]]
) -> None:
    assert legerd.tailscaled
    legerd.tailscaled.answer = whois(EVERYTHING)
    model = Model()
    connection = legerd.connect()
    # what an example before left
    for info in ask(legerd, connection, ("list",))[1] or []:
        if not info["Name"].startswith("_internal/"):
            ask(legerd, connection, ("delete", info["Name"]))
        else:
            calls = [call for call in calls if len(call) < 2 or call[1] != info["Name"]]
            calls = [call for call in calls if call[0] != "list"]
    for call in calls:
        assert ask(legerd, connection, call) == wanted(model, call), call
    connection.close()


RULES = st.lists(
    st.fixed_dictionaries(
        {
            "action": st.lists(st.sampled_from([*ACTIONS, "*"]), max_size=3),
            "secret": st.lists(st.sampled_from(["*", "a", "prod/*", "*b", "", "_*/x"]), max_size=2),
        }
    ),
    max_size=3,
)
BEFORE = {"put": [""], "activate": [""], "create-version": [""]}


def allowed(rules: list[Any], action: str, name: str) -> bool:
    return any(
        action in rule["action"]
        and any(
            re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), name, re.DOTALL)
            for pattern in rule["secret"]
        )
        for rule in rules
    )


@settings(SLOW, max_examples=40)
@given(RULES, st.lists(CALLS, min_size=1, max_size=15))
def test_what_no_rule_covers_is_denied_and_recorded(
    legerd: Daemon, rules: list[Any], calls: list[tuple[Any, ...]]
) -> None:
    assert legerd.tailscaled
    legerd.tailscaled.answer = whois(*rules)
    log = legerd.folder / "state/audit.log"
    connection = legerd.connect()
    for call in calls:
        before = log.stat().st_size
        status, body = ask(legerd, connection, call)
        with log.open("rb") as file:
            file.seek(before)
            recorded = [json.loads(line) for line in file]
        if call[0] == "list":
            assert status == 200
            assert all(allowed(rules, "info", info["Name"]) for info in body or [])
            assert [line["authorized"] for line in recorded] == [True]
            continue
        action = "delete" if call[0] == "delete-version" else call[0]
        if call[1] in BEFORE.get(call[0], []) or (call[0] == "create-version" and not call[2]):
            assert status in (400, 500)
            assert recorded == []
        elif allowed(rules, action, call[1]):
            assert status != 403
            assert all(line["authorized"] for line in recorded)
        else:
            assert status == 403
            assert [(x["action"], x["authorized"]) for x in recorded] == [(action, False)]
            assert recorded[0].get("secret", "") == call[1]
    connection.close()


@settings(SLOW, max_examples=150)
@given(
    path=st.sampled_from(["get", "put", "list", "create-version", "leger/fetch", "nope"]),
    method=st.sampled_from(["POST", "GET", "PUT", "HEAD", "DELETE", "OPTIONS"]),
    body=st.binary(max_size=60)
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=4),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["Name", "Value", "Version", "Secrets", "Key"]), inner
            )
        ),
        max_leaves=6,
    ).map(lambda value: json.dumps(value).encode()),
)
def test_noise_gets_an_answer_of_setec_and_no_bug(
    legerd: Daemon, path: str, method: str, body: bytes
) -> None:
    assert legerd.tailscaled
    legerd.tailscaled.answer = whois({"action": list(ACTIONS), "secret": ["a"]})
    before = legerd.log()
    status, answer, headers = legerd.request(method, f"/api/{path}", body)
    assert status in (200, 304, 400, 403, 404, 412, 500)
    assert headers.keys() >= {"date", "content-length"}
    assert b"Traceback" not in answer
    assert legerd.log() == before


def test_data_written_that_way_are_all_there(legerd: Daemon, tmp_path: Path) -> None:
    assert legerd.tailscaled
    legerd.tailscaled.answer = whois(EVERYTHING)
    connection = legerd.connect()
    names = [info["Name"] for info in ask(legerd, connection, ("list",))[1] or []]
    assert names == sorted(names)
    connection.close()
    assert legerd.stop() == 0
    assert "error" not in legerd.log()
