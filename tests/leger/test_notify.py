"""The notify hook: what is sent, to whom, when, and that nothing depends on its arriving."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from leger import config, notify, yamlfile
from leger.config import Config
from leger.errors import ConfigError
from leger.model import Move
from leger.notify import Notify, Result, Summary
from leger.scope import Scope

SUMMARY = Summary(
    host="web-1",
    scope="system",
    generation=7,
    who="ada(1000)",
    why="sync",
    result=Result.OK,
    deployments=(Move("web", "a" * 40, "b" * 40),),
    units={"web.service": "web.container changed"},
)
FAILURE = replace(SUMMARY, result=Result.FAILED, message="web: the remote does not answer")


class Server:
    """A web server that keeps what it is sent, and answers as it is told."""

    def __init__(self) -> None:
        self.got: list[tuple[str, str | None, bytes]] = []
        self.status = 204
        self.silent = threading.Event()
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                size = int(self.headers["Content-Length"])
                body = self.rfile.read(size)
                server.got.append((self.path, self.headers["Content-Type"], body))
                if server.status == 0:
                    server.silent.wait(30)
                    return
                self.send_response(server.status)
                self.send_header("Location", "/elsewhere")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}"
        threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()


@pytest.fixture
def server() -> Iterator[Server]:
    one = Server()
    yield one
    one.silent.set()
    one.http.shutdown()
    one.http.server_close()


@pytest.fixture
def scope(tmp_path: Path) -> Scope:
    return Scope.system(tmp_path)


def told(scope: Scope, settings: Notify, summary: Summary = SUMMARY) -> list[str]:
    """Send it; the warnings."""
    said: list[str] = []
    notify.send(scope, settings, summary, said.append)
    return said


def program(folder: Path, script: str) -> Notify:
    path = folder / "tell"
    path.write_text(f"#!/bin/sh\ncd {folder}\n{script}\n")
    path.chmod(0o755)
    return Notify(command=(str(path), "an argument"))


def test_a_command_gets_the_summary_on_standard_input(scope: Scope, tmp_path: Path) -> None:
    assert told(scope, program(tmp_path, 'echo "$@" >words; cat >got')) == []
    assert (tmp_path / "words").read_text() == "an argument\n"
    assert json.loads((tmp_path / "got").read_text()) == {
        "format": 1,
        "host": "web-1",
        "scope": "system",
        "generation": 7,
        "who": "ada(1000)",
        "why": "sync",
        "result": "ok",
        "deployments": [{"name": "web", "before": "a" * 40, "after": "b" * 40}],
        "units": {"web.service": "web.container changed"},
        "message": "",
    }


def test_a_webhook_gets_the_same(scope: Scope, server: Server) -> None:
    assert told(scope, Notify(webhook=f"{server.url}/hooks/leger?to=ops")) == []
    [(path, kind, body)] = server.got
    assert (path, kind) == ("/hooks/leger?to=ops", "application/json")
    assert json.loads(body) == json.loads(json.dumps(SUMMARY.raw()))


def test_proxies_of_the_environment_do_not_get_it(
    scope: Scope, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert told(scope, Notify(webhook=server.url)) == []
    assert len(server.got) == 1


def test_the_address_may_lie_in_a_file_and_is_never_shown(
    scope: Scope, server: Server, tmp_path: Path
) -> None:
    (tmp_path / "url").write_text(f"{server.url}/sesame\n")
    server.status = 500
    assert told(scope, Notify(webhook=str(tmp_path / "url"))) == [
        "warning: notify: webhook at 127.0.0.1: it answered 500"
    ]
    assert server.got[0][0] == "/sesame"
    (tmp_path / "url").write_text("sesame")
    [said] = told(scope, Notify(webhook=str(tmp_path / "url")))
    assert "not a URL" in said
    assert "sesame" not in said


def test_a_redirect_is_not_followed(scope: Scope, server: Server) -> None:
    server.status = 307
    assert told(scope, Notify(webhook=server.url)) == [
        "warning: notify: webhook at 127.0.0.1: it answered 307"
    ]
    assert len(server.got) == 1


def test_who_does_not_answer_is_given_up(scope: Scope, server: Server, tmp_path: Path) -> None:
    server.status = 0
    [said] = told(scope, Notify(webhook=server.url, timeout=0.2))
    assert said.startswith("warning: notify: webhook at 127.0.0.1: ")
    [said] = told(scope, replace(program(tmp_path, "sleep 60"), timeout=0.2))
    assert "no end after 0.2 s, killed" in said


def test_one_that_fails_does_not_hold_back_the_other(
    scope: Scope, server: Server, tmp_path: Path
) -> None:
    both = replace(program(tmp_path, "echo no mail here >&2; exit 3"), webhook=server.url)
    [said] = told(scope, both)
    assert said == f"warning: notify: {tmp_path}/tell: no mail here"
    assert len(server.got) == 1
    [said] = told(scope, Notify(command=("/nowhere/tell",)))
    assert said.startswith("warning: notify: /nowhere/tell: cannot be run")


@pytest.mark.parametrize(
    ("result", "event"),
    [
        (Result.OK, "changed"),
        (Result.STAGED, "staged"),
        (Result.FAILED, "failed"),
        (Result.ROLLED_BACK, "failed"),
    ],
)
def test_only_what_was_asked_for_is_told(
    scope: Scope, server: Server, result: Result, event: str
) -> None:
    for when in notify.EVENTS:
        told(scope, Notify(webhook=server.url, when=(when,)), replace(SUMMARY, result=result))
        scope.notified.unlink(missing_ok=True)
        assert len(server.got) == (1 if when == event else 0), when
        server.got.clear()


def test_a_failure_that_repeats_itself_is_told_once(scope: Scope, server: Server) -> None:
    settings = Notify(webhook=server.url)
    for summary in (FAILURE, FAILURE, replace(FAILURE, message="another"), SUMMARY, FAILURE):
        told(scope, settings, summary)
    assert failures(server) == [FAILURE.message, "another", "", FAILURE.message]


def failures(server: Server) -> list[str]:
    """The messages that the server took since it was asked last."""
    messages = [json.loads(body)["message"] for _, _, body in server.got]
    server.got.clear()
    return messages


def test_a_failure_that_could_not_be_told_is_told_when_it_can_be(
    scope: Scope, server: Server, tmp_path: Path
) -> None:
    settings = replace(program(tmp_path, "echo x >>runs; cat >/dev/null"), webhook=server.url)
    server.status = 503
    for _ in range(2):
        assert told(scope, settings, FAILURE) == [
            "warning: notify: webhook at 127.0.0.1: it answered 503"
        ]
    server.status = 204
    server.got.clear()
    assert told(scope, settings, FAILURE) == told(scope, settings, FAILURE) == []
    assert failures(server) == [FAILURE.message]
    assert (tmp_path / "runs").read_text() == "x\n"


def test_who_is_named_later_is_told_of_what_still_fails(scope: Scope, server: Server) -> None:
    told(scope, Notify(webhook=server.url, when=("changed",)), FAILURE)
    told(scope, Notify(webhook=f"{server.url}/old"), FAILURE)
    assert failures(server) == [FAILURE.message]
    told(scope, Notify(webhook=f"{server.url}/new"), FAILURE)
    assert failures(server) == [FAILURE.message]


@pytest.mark.parametrize(
    ("text", "now", "later"),
    [
        ("Failed to connect to host port 443 after 12 ms: x", "12 ms", "3071 ms"),
        ("Connection timed out after 300001 milliseconds", "300001", "300002"),
        ("read udp 127.0.0.1:34567->127.0.0.53:53: i/o timeout", "34567", "41234"),
        ("dial tcp [2001:db8::1]:443: i/o timeout", "db8::1", "db8:0:1::2"),
    ],
)
def test_a_failure_is_the_same_whatever_it_took_and_who_answered(
    scope: Scope, server: Server, text: str, now: str, later: str
) -> None:
    for message in (text, text.replace(now, later)):
        told(scope, Notify(webhook=server.url), replace(FAILURE, message=message))
    assert failures(server) == [text]


def test_another_line_port_or_name_is_another_failure(scope: Scope, server: Server) -> None:
    messages = ["web.container:3: x", "web.container:4: x", "port 80 is taken", "port 81 is taken"]
    for message in messages:
        told(scope, Notify(webhook=server.url), replace(FAILURE, message=message))
    assert failures(server) == messages


def parsed(text: str) -> Notify:
    return Config.parse(yamlfile.parse(text.encode(), "config.yaml")).notify


def test_the_configuration() -> None:
    assert parsed("") == Notify()
    assert parsed("notify: {command: [/bin/mail, root], when: failed, timeout: 1min}") == Notify(
        command=("/bin/mail", "root"), when=("failed",), timeout=60.0
    )
    assert parsed("notify: {webhook: 'https://example.org/x'}").webhook == "https://example.org/x"
    assert parsed("notify: {webhook: /etc/leger/webhook}").webhook == "/etc/leger/webhook"


@pytest.mark.parametrize(
    "text",
    [
        "webhook: ftp://example.org/",
        "webhook: https://ada:sesame@example.org/",
        "webhook: https:///x",
        "webhook: https://example.org:x/",
        "webhook: 'https://example.org/ x'",
        "webhook: example.org",
        "command: mail",
        "command: []",
        "when: always",
        "timeout: soon",
        "slack: x",
    ],
)
def test_what_cannot_be_meant_is_refused_with_its_line(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^config.yaml:2: ") as caught:
        parsed(f"notify:\n  {text}\n")
    assert "sesame" not in f"{caught.value}{caught.value.hint}"


def test_a_scope_without_config_tells_nobody(scope: Scope) -> None:
    assert config.load(scope).notify == Notify()
    assert told(scope, Notify()) == []
