"""What legerd counts: setec's counters and its own, who may read them, and nothing of a secret."""

from __future__ import annotations

import json
import os
import re
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from legerd import metrics
from tests.legerd.served import HEADERS, Served

_NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
_SAMPLE = re.compile(rf'({_NAME})(?:\{{((?:{_NAME}="[^"\\\n]*",?)+)\}})? (\S+)')


def scraped(served: Served) -> dict[str, float]:
    """What Prometheus would store: each sample by its name with labels. Checks the format."""
    status, body, headers = served.request("GET", "/metrics", headers={})
    assert (status, headers["content-type"]) == (200, metrics.PROMETHEUS)
    assert body.endswith(b"\n")
    samples: dict[str, float] = {}
    family = ""
    for line in body.decode().splitlines():
        if line.startswith("# HELP "):
            assert line.split(" ", 3)[3]
        elif line.startswith("# TYPE "):
            _, _, family, kind = line.split(" ")
            assert kind in ("counter", "gauge", "histogram")
            assert kind != "counter" or family.startswith("setec") or family.endswith("_total")
        else:
            found = _SAMPLE.fullmatch(line)
            assert found, line
            assert found[1].startswith(family)
            name = line.rpartition(" ")[0]
            assert name not in samples
            samples[name] = float(found[3])
    return samples


def variables(served: Served) -> Any:
    status, body, headers = served.request("GET", "/debug/vars", headers={})
    assert (status, headers["content-type"]) == (200, "application/json; charset=utf-8")
    return json.loads(body)


def test_calls_are_counted_as_setec_counts_them(served: Served) -> None:
    served.call("put", {"Name": "a", "Value": "MQ=="})
    served.call("get", {"Name": "a"})
    served.call("get", {"Name": "absent"})
    served.call("put", {"Name": ""})
    served.request("GET", "/api/get")
    served.request("POST", "/api/get", b"[", HEADERS)
    served.request("POST", "/api/list", b"{}", {"Content-Type": "application/json"})
    served.request("GET", "/api/nope")
    served.call("leger/fetch", {})
    assert variables(served) == {
        "setec_server": {
            "counter_api_calls": {"/api/get": 4, "/api/list": 1, "/api/put": 2},
            "counter_api_bad_request": {"/api/get": 2},
            "counter_api_forbidden": {"/api/list": 1},
            "counter_api_internal_error": {"/api/put": 1},
        }
    }
    found = scraped(served)
    assert found['setec_server_api_calls{method="/api/get"}'] == 4
    assert found['setec_server_api_bad_request{method="/api/get"}'] == 2
    assert found['setec_server_api_forbidden{method="/api/list"}'] == 1
    assert found['setec_server_api_internal_error{method="/api/put"}'] == 1
    assert found['legerd_requests_total{path="/api/get",code="404"}'] == 1
    assert found['legerd_requests_total{path="/",code="200"}'] == 1
    assert found['legerd_requests_total{path="/debug/vars",code="200"}'] == 1


def test_vault_and_audit_log_are_told_of(served: Served) -> None:
    for name in ("a", "b"):
        served.call("put", {"Name": name, "Value": "MQ=="})
    found = scraped(served)
    assert found["legerd_secrets"] == 2
    assert found["legerd_watchers"] == 0
    assert found["legerd_audit_lines_total"] == 2
    assert found["legerd_audit_syncs_total"] == 2
    assert found["legerd_audit_failures_total"] == 0
    assert found["process_resident_memory_bytes"] > 1 << 20


def test_secrets_that_expire_are_counted(served: Served) -> None:
    now = datetime.now(UTC)
    for name, days in (("over", -1), ("soon", 1), ("too", 13), ("later", 15), ("never", 0)):
        served.call("put", {"Name": name, "Value": "MQ=="})
        when = (now + timedelta(days=days)).isoformat() if days else ""
        described = served.call("leger/describe", {"Name": name, "Expires": when})
        assert described == (200, {})
    found = scraped(served)
    assert (found["legerd_secrets_expired"], found["legerd_secrets_expiring"]) == (1, 2)


def test_what_cannot_be_recorded_is_counted(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_arguments: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(os, "write", full)
        assert served.call("list") == (500, "internal error\n")
        assert scraped(served)["legerd_audit_failures_total"] == 1
    assert served.call("list") == (200, None)
    assert scraped(served)["legerd_audit_failures_total"] == 1


def test_latencies_fall_into_classes() -> None:
    requests = metrics.Requests()
    for seconds in (0.0001, 0.0005, 0.0006, 0.3, 99.0):
        requests.add("/api/get", 200, seconds)
    state = metrics.State(0, 0, 0, 0, 0, 0, 0)
    text = metrics.prometheus(requests.paths(), state)
    classes = re.findall(r'legerd_request_seconds_bucket{path="/api/get",le="(\S+)"} (\d+)', text)
    assert dict(classes)["0.0005"] == "2"
    assert dict(classes)["0.001"] == "3"
    assert dict(classes)["0.5"] == "4"
    assert dict(classes)["10.0"] == "4"
    assert classes[-1] == ("+Inf", "5")
    assert 'legerd_request_seconds_count{path="/api/get"} 5\n' in text
    assert 'legerd_request_seconds_sum{path="/api/get"} 99.3012\n' in text


def test_no_answer_is_lost_when_many_are_counted_at_once() -> None:
    requests = metrics.Requests()
    threads = [
        threading.Thread(target=lambda: [requests.add("/", 200, 0.1) for _ in range(5000)])
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert requests.paths()["/"].count(200) == 40_000


@pytest.mark.parametrize("path", ["/metrics", "/debug/vars"])
def test_who_has_no_rule_reads_nothing_and_that_is_recorded(served: Served, path: str) -> None:
    served.policy.write_text("rules:\n  - {user: nobody, action: get, secret: '*'}\nx: y\n")
    status, body, _ = served.request("GET", path, headers={})
    assert (status, body) == (403, b"access denied\n")
    line = served.lines()[-1]
    assert (line["action"], line["authorized"]) == ("metrics", False)
    served.policy.write_text(f"rules: [{{uid: {os.getuid()}, action: metrics}}]")
    assert served.request("GET", path, headers={})[0] == 200
    assert served.call("get", {"Name": "a"})[0] == 403
    assert served.call("list") == (200, None)
    assert served.request("POST", path, b"{}")[:2] == (400, b"invalid method\n")


def test_no_name_of_a_secret_is_among_them(served: Served) -> None:
    served.call("put", {"Name": "c4n4ry", "Value": "MQ=="})
    served.request("POST", "/api/c4n4ry", b"{}")
    for path in ("/metrics", "/debug/vars"):
        assert b"c4n4ry" not in served.request("GET", path, headers={})[1]
