"""Watching: a change reaches who waits for it, and whoever waits holds no worker."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from legerd import server
from legerd.limits import Limits
from legerd.watch import Parked, Watchers
from tests.legerd.served import HEADERS, Served, request, serve

VALUE = base64.b64encode(b"v").decode()


class Parking:
    """Watchers over a sequence number that tests set, and what was woken."""

    def __init__(self) -> None:
        self.sequence = 0
        self.watchers = Watchers(lambda: self.sequence)
        self.woken: list[str] = []

    def park(self, *names: str, seconds: float = 60, seen: int | None = None) -> None:
        seen = self.sequence if seen is None else seen
        parked = Parked(self.watchers, frozenset(names), seen, time.monotonic() + seconds)
        parked.park(lambda: self.woken.append("+".join(names)))


@pytest.fixture
def parking() -> Iterator[Parking]:
    parking = Parking()
    yield parking
    parking.watchers.close()


def test_who_waits_for_a_name_is_woken_by_it_once(parking: Parking) -> None:
    parking.park("a", "b")
    parking.park("b")
    parking.park("c")
    parking.watchers.changed("x")
    assert parking.woken == []
    parking.watchers.changed("b")
    assert sorted(parking.woken) == ["a+b", "b"]
    parking.watchers.changed("a")
    parking.watchers.changed("b")
    assert sorted(parking.woken) == ["a+b", "b"]
    assert len(parking.watchers) == 1


def test_what_changed_before_it_was_parked_is_not_missed(parking: Parking) -> None:
    parking.sequence = 5
    parking.park("a", seen=4)
    assert parking.woken == ["a"]
    assert len(parking.watchers) == 0


def test_time_wakes(parking: Parking) -> None:
    parking.park("late", seconds=60)
    parking.park("soon", seconds=0.05)
    parking.park("now", seconds=0)
    wait_until(lambda: sorted(parking.woken) == ["now", "soon"])
    assert len(parking.watchers) == 1


def test_the_end_wakes_all_and_lets_nobody_wait(parking: Parking) -> None:
    parking.park("a")
    parking.watchers.close()
    parking.park("b")
    assert parking.woken == ["a", "b"]


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.booleans(), st.sets(st.sampled_from("abc"), min_size=1)), max_size=80))
def test_everybody_is_woken_exactly_once(steps: list[tuple[bool, set[str]]]) -> None:
    parking = Parking()
    waiting: list[str] = []
    expected: list[str] = []
    for park, names in steps:
        if park:
            parking.park(*sorted(names))
            waiting.append("+".join(sorted(names)))
        else:
            for name in names:
                parking.watchers.changed(name)
            hit = [each for each in waiting if names & set(each.split("+"))]
            expected += hit
            waiting = [each for each in waiting if not names & set(each.split("+"))]
        assert sorted(parking.woken) == sorted(expected)
        assert len(parking.watchers) == len(waiting)
        assert len(parking.watchers._deadlines) <= 4 * len(waiting) + 65
    parking.watchers.close()
    assert sorted(parking.woken) == sorted(expected + waiting)


def wait_until(condition: Any) -> None:
    for _ in range(500):
        if condition():
            return
        time.sleep(0.02)
    raise AssertionError("it did not come true")


def watch(served: Served, seconds: int = 20, **versions: int) -> Any:
    secrets = [{"Name": name, "Version": version} for name, version in versions.items()]
    status, answer = served.call("leger/watch", {"Secrets": secrets, "Seconds": seconds})
    return status, answer["Secrets"] if status == 200 else answer


def put(served: Served, name: str, value: bytes = b"v") -> None:
    body = {"Name": name, "Value": base64.b64encode(value).decode()}
    assert served.call("put", body)[0] == 200


def parked(served: Served) -> int:
    return len(served.service.watchers)


def test_what_is_different_already_is_told_at_once(served: Served) -> None:
    put(served, "a")
    assert watch(served, a=0, b=0) == (200, [{"Name": "a", "Status": 200, "Version": 1}])
    assert watch(served, a=1, b=3) == (200, [{"Name": "b", "Status": 404, "Version": 0}])
    assert watch(served) == (200, [])


def test_a_change_is_told_when_it_happens(served: Served) -> None:
    put(served, "a")
    with ThreadPoolExecutor(6) as pool:
        first = pool.submit(watch, served, a=1, b=0)
        wait_until(lambda: parked(served) == 1)
        put(served, "a", b"not active yet")
        wait_until(lambda: parked(served) == 1)
        assert not first.done()
        assert served.call("activate", {"Name": "a", "Version": 2}) == (200, {})
        assert first.result(10) == (200, [{"Name": "a", "Status": 200, "Version": 2}])
        second = pool.submit(watch, served, a=2, b=0)
        wait_until(lambda: parked(served) == 1)
        put(served, "b")
        assert second.result(10) == (200, [{"Name": "b", "Status": 200, "Version": 1}])
        third = pool.submit(watch, served, a=2, b=1)
        wait_until(lambda: parked(served) == 1)
        assert served.call("delete", {"Name": "a"}) == (200, {})
        assert third.result(10) == (200, [{"Name": "a", "Status": 404, "Version": 0}])
    told = [line for line in served.lines() if line["action"] == "info"]
    assert [line["secret"] for line in told] == ["a", "b", "a"]


def test_when_time_is_up_the_answer_is_empty(served: Served) -> None:
    put(served, "a")
    assert watch(served, 1, a=1) == (200, [])
    assert served.call("leger/watch", {"Secrets": [{"Name": "a"}], "Seconds": 301})[0] == 400


def test_who_may_not_see_a_secret_is_told_so_at_once(served: Served) -> None:
    served.policy.write_text("rules: [{uid: 0, action: get, secret: a}]")
    answer = [{"Name": "b", "Status": 403, "Version": 0}]
    assert watch(served, a=0, b=0) == (200, answer)
    assert served.lines()[-1]["authorized"] is False


def test_watchers_hold_no_worker_and_outlive_each_other(tmp_path: Path) -> None:
    with serve(tmp_path, Limits(workers=2)) as served:
        put(served, "a")
        with ThreadPoolExecutor(60) as pool:
            waiting = [pool.submit(watch, served, a=1) for _ in range(60)]
            wait_until(lambda: parked(served) == 60)
            assert served.call("info", {"Name": "a"})[0] == 200
            served.call("create-version", {"Name": "a", "Version": 9, "Value": VALUE})
            answer = [{"Name": "a", "Status": 200, "Version": 9}]
            assert [each.result(20) for each in waiting] == [(200, answer)] * 60


def test_the_connection_is_used_again_and_answers_stay_in_order(served: Served) -> None:
    put(served, "a")
    body = b'{"Secrets":[{"Name":"a","Version":1}],"Seconds":20}'
    line = b"POST /api/leger/watch HTTP/1.1"
    first = request(b"Content-Length: %d" % len(body), body=body, line=line)
    first = first.replace(b"Connection: close\r\n", b"")
    second = request(b"Content-Length: 12", body=b'{"Name":"a"}', line=b"POST /api/get HTTP/1.1")
    with ThreadPoolExecutor(1) as pool:
        answers = pool.submit(served.raw, first + second, timeout=20)
        wait_until(lambda: parked(served) == 1)
        served.call("create-version", {"Name": "a", "Version": 2, "Value": VALUE})
        found = answers.result(20)
    assert found.index(b'"Status":200,"Version":2') < found.index(b'{"Value":"dg==","Version":2}')
    connection = served.connect()
    for version in (2, 3, 4):
        call = {"Secrets": [{"Name": "a", "Version": version - 1}]}
        connection.request("POST", "/api/leger/watch", json.dumps(call).encode(), HEADERS)
        answer = json.loads(connection.getresponse().read())
        assert answer["Secrets"][0]["Version"] == version
        served.call("create-version", {"Name": "a", "Version": version + 1, "Value": VALUE})
    connection.close()


def test_a_watcher_that_went_away_harms_nobody(
    served: Served, capfd: pytest.CaptureFixture[str]
) -> None:
    put(served, "a")
    for _ in range(5):
        connection = served.connect()
        body = b'{"Secrets":[{"Name":"a","Version":1}],"Seconds":1}'
        connection.request("POST", "/api/leger/watch", body, HEADERS)
        wait_until(lambda: parked(served) > 0)
        connection.close()
    wait_until(lambda: parked(served) == 0)
    served.call("create-version", {"Name": "a", "Version": 2, "Value": VALUE})
    assert served.call("get", {"Name": "a"})[0] == 200
    wait_until(lambda: not served.listener._server.active_channels)
    assert capfd.readouterr().err == ""


def test_the_end_answers_who_waits(served: Served) -> None:
    put(served, "a")
    with ThreadPoolExecutor(2) as pool:
        waiting = pool.submit(watch, served, a=1)
        wait_until(lambda: parked(served) == 1)
        server.drain([served.listener], 10, served.service.watchers.close)
        assert waiting.result(1) == (200, [])
