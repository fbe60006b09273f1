"""What setec's server answered, case by case, against legerd: a real process on a real socket."""

from __future__ import annotations

import ast
import base64
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.legerd.daemon import tcp_daemon, unix_daemon
from tests.legerd.served import HEADERS

TRANSCRIPT = Path(__file__).parents[1] / "data/setec-transcript.txt"
_CASE = re.compile(r"(.*?): ([A-Z]+) (/\S*) (.*) -> (\d{3}) (b'.*'|b\".*\") (\{.*\})")
_HEADERS = {
    "ct charset": {**HEADERS, "Content-Type": "application/json; charset=utf-8"},
    "no ct": {key: value for key, value in HEADERS.items() if key != "Content-Type"},
    "no sec": {key: value for key, value in HEADERS.items() if key.startswith("Content")},
    "sec bad": {**HEADERS, "Sec-X-Tailscale-No-Browsers": "1"},
}
_LONG = b'{"Name": "' + b"n" * 5000 + b'"'
#: The transcript cuts long requests.
_BODIES = {
    "long name": _LONG + b', "Value": "YQ=="}',
    "del long": _LONG + b"}",
    "big 4MiB": b'{"Name":"big","Value":"' + base64.b64encode(bytes(4 << 20)) + b'"}',
}
_OWN = ("root GET", "css", "unknown api GET")
#: Two bugs of setec's server are not copied: an empty value put after the latest version was
#: deleted makes a version, and there is no version after 4294967295.
_FIXED: dict[str, tuple[int, bytes]] = {
    "put empty after deleted latest (bug?)": (200, b"102"),
    "put after del": (200, b"103"),
    "put overflow": (500, b"internal error\n"),
    "info m": (200, b'{"Name":"m","Versions":[4294967295],"ActiveVersion":4294967295}'),
    "put again": (500, b"internal error\n"),
}
_AFTER_FIX = b'{"Name":"c","Versions":[5,100,102],"ActiveVersion":5}'


@dataclass(frozen=True)
class Case:
    number: int
    label: str
    method: str
    path: str
    body: bytes | None
    status: int
    answer: bytes
    headers: dict[str, str]


def cases() -> Iterator[Case]:
    seen: list[str] = []
    for number, line in enumerate(TRANSCRIPT.read_text().splitlines(), 1):
        found = _CASE.fullmatch(line)
        assert found, line
        label, method, path, request, status, answer, headers = found.groups()
        body = _BODIES.get(label) or ast.literal_eval(request)
        wanted = int(status), _answer(answer)
        if label in _FIXED:
            wanted = _FIXED[label]
        if label == "info c" and "put empty after deleted latest (bug?)" in seen:
            wanted = 200, _AFTER_FIX
        seen.append(label)
        yield Case(number, label, method, path, body, *wanted, ast.literal_eval(headers))


def _answer(text: str) -> bytes:
    try:
        data = ast.literal_eval(text)
    except SyntaxError:
        data = ast.literal_eval(text.rstrip("'\"") + text[1])
    assert isinstance(data, bytes)
    return data


CASES = list(cases())


@pytest.fixture(scope="module", params=["tcp", "unix"])
def answers(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[int, Any]]:
    """All cases in their order, each on a connection of its own."""
    folder = tmp_path_factory.mktemp(request.param)
    daemon = {"tcp": tcp_daemon, "unix": unix_daemon}[request.param]
    with daemon(folder) as legerd:
        yield {
            case.number: legerd.request(
                case.method, case.path, case.body, _HEADERS.get(case.label, HEADERS)
            )
            for case in CASES
        }
        assert legerd.stop() == 0
        log = legerd.log()
        assert "Traceback" not in log
        assert "error" not in log


@pytest.mark.parametrize("case", CASES, ids=[f"{case.number}-{case.label}" for case in CASES])
def test_answers_what_setec_answers(case: Case, answers: dict[int, Any]) -> None:
    status, body, headers = answers[case.number]
    wanted = dict(case.headers)
    for name in ("server", "connection", "keep-alive", "date"):
        headers.pop(name, None)
        wanted.pop(name, None)
    assert status == case.status
    if case.label in _OWN:
        assert headers["content-type"] == wanted["content-type"]
        assert int(headers["content-length"]) == len(body)
        return
    if case.label == "list esc":
        assert len(body) == int(wanted["content-length"])
        body = body[: len(case.answer)]
    assert body == case.answer
    if case.label in _FIXED or case.answer == _AFTER_FIX:
        wanted["content-length"] = str(len(case.answer))
        if case.status == 500:
            wanted["content-type"] = "text/plain; charset=utf-8"
            wanted["x-content-type-options"] = "nosniff"
    assert headers == wanted


def test_the_transcript_is_whole() -> None:
    assert len(CASES) == 118
    assert {case.label for case in CASES} >= {*_HEADERS, *_BODIES, *_OWN, *_FIXED}
