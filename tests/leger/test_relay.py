"""What leger did as a user reaches whom root's configuration names, and no more than that."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from leger import config, relay, telling
from leger.changes import Changes
from leger.config import Config
from leger.errors import LegerError
from leger.model import Move
from leger.notify import Result, Summary
from leger.scope import Scope

FAILURE = Summary(
    host="web-1",
    scope="ada",
    generation=7,
    who="root(0)",
    why="sync",
    result=Result.ROLLED_BACK,
    deployments=(Move("web", "a" * 40, "b" * 40),),
    units={"web.service": "web.container changed"},
    message="web.service: failed\nä\udc80",
)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> telling.Watcher:
    """Root's scope, whose notify command keeps what it gets."""
    monkeypatch.setattr("leger.notify._BOOTED", tmp_path / "nowhere")
    tell = tmp_path / "tell"
    tell.write_text(f"#!/bin/sh\ncat >>{tmp_path}/told\n")
    tell.chmod(0o755)
    scope = Scope.system(tmp_path)
    scope.etc.mkdir(parents=True)
    scope.config.write_text(f"host: {{name: edge}}\nnotify: {{command: [{tell}]}}\n")
    return telling.Watcher(scope, pytest.fail)


def told(tmp_path: Path) -> list[dict[str, object]]:
    path = tmp_path / "told"
    lines = path.read_text().splitlines() if path.exists() else []
    path.unlink(missing_ok=True)
    return [json.loads(line) for line in lines]


def test_a_summary_is_read_as_it_was_written() -> None:
    assert Summary.parse(FAILURE.line()) == replace(FAILURE, message="web.service: failed\nä?")


@pytest.mark.parametrize(
    "wrong",
    [
        b"",
        b"no",
        b"[]",
        b"{}",
        b"[" * 100_000,
        *(
            json.dumps(FAILURE.raw() | change).encode()
            for change in (
                {"result": "fine"},
                {"message": 7},
                {"units": ["web.service"]},
                {"units": {"web.service": []}},
                {"deployments": ["web"]},
                {"deployments": [{"name": "web"}]},
                {"generation": float("inf")},
            )
        ),
    ],
)
def test_what_is_no_summary_is_left_out(
    root: telling.Watcher, tmp_path: Path, wrong: bytes
) -> None:
    with pytest.raises(ValueError, match=r"."):
        Summary.parse(wrong)
    telling.of_user(root, "ada", [wrong, FAILURE.line()])
    assert len(told(tmp_path)) == 1


def test_what_a_run_tells_comes_back_to_root(
    root: telling.Watcher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = replace(root, scope=replace(Scope.system(tmp_path / "ada"), name="user"))
    with relay.listening(tmp_path, os.getuid()) as heard:
        monkeypatch.setenv(relay.VARIABLE, str(heard.path))
        telling.changed(user, "sync", FAILURE.deployments, Changes())
        telling.staged(user, "stage db", ())
    telling.of_user(root, "ada", heard.lines)
    assert not heard.path.exists()
    assert [(one["host"], one["scope"], one["result"], one["why"]) for one in told(tmp_path)] == [
        ("edge", "ada", "ok", "sync"),
        ("edge", "ada", "staged", "stage db"),
    ]


def test_a_user_cannot_lead_it_elsewhere_nor_say_too_much(tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(b"theirs\n")
    with relay.listening(tmp_path, os.getuid()) as heard:
        with heard.path.open("wb") as file:
            file.write(b"x\n" * (4 << 20))
        heard.path.unlink()
        heard.path.symlink_to(tmp_path / "other")
    assert len(heard.lines) == 100
    assert (tmp_path / "other").read_bytes() == b"theirs\n"
    with (
        pytest.raises(LegerError, match="cannot be made"),
        relay.listening(tmp_path / "nowhere", os.getuid()),
    ):
        pass


def test_a_users_sync_that_fails_is_told_once_whatever_it_said(
    root: telling.Watcher, tmp_path: Path
) -> None:
    ended = "user ada: leger ended with exit code 1"
    for _ in range(2):
        telling.of_user(root, "ada", [], ended)
        telling.of_user(root, "bob", [FAILURE.line()], ended)
        telling.failed(root, "sync", {})  # root's own, which are well
    assert [(one["scope"], one["message"]) for one in told(tmp_path)] == [
        ("ada", ended),
        ("bob", "web.service: failed\nä?"),
    ]
    telling.of_user(root, "ada", [], "")
    telling.of_user(root, "ada", [], ended)
    assert [one["scope"] for one in told(tmp_path)] == ["ada"]


def test_the_hosts_configuration_holds_for_users_who_do_not_say_otherwise(tmp_path: Path) -> None:
    host = tmp_path / "config.yaml"
    user = replace(Scope.system(tmp_path), name="user", host_config=host)
    assert config.load(user) == Config(config.load(Scope.system(tmp_path)).host_name)
    host.write_text(
        "host: {name: edge, tags: [a]}\nsecrets: {prefix: prod}\nkeep: {days: 7}\n"
        "notify: {command: [/bin/mail]}\nfleet: {source: /r}\n"
    )
    user.etc.mkdir(parents=True)
    user.config.write_text("secrets: {prefix: ada}\n")
    found = config.load(user)
    assert (found.host_name, found.host_tags, found.keep.days) == ("edge", ("a",), 7)
    assert found.secrets_prefix == "ada/"
    assert (found.notify.command, found.fleet) == ((), None)
