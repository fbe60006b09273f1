"""`leger secrets` against the real legerd: byte for byte, by version, and never in argv."""

from __future__ import annotations

import base64
import json

import pytest
from machine import Machine


@pytest.fixture
def host(shared_machine: Machine) -> Machine:
    shared_machine.sh(
        'for n in $(leger secrets list --json | sed -n \'s/.*"name": "\\(.*\\)",/\\1/p\')'
        "; do leger secrets delete $n --yes >/dev/null; done"
    )
    return shared_machine


def set_(machine: Machine, name: str, value: bytes | str, *more: str) -> dict[str, object]:
    argv = ("leger", "secrets", "set", name, "-", "--json", *more)
    done = json.loads(machine.run(*argv, input=value).stdout)
    assert isinstance(done, dict)
    return done


def get(machine: Machine, name: str, *more: str) -> bytes:
    script = f"leger secrets get {name} {' '.join(more)} | base64 -w0"
    return base64.b64decode(machine.sh(script).stdout)


@pytest.mark.parametrize(
    "value",
    [b"plain", b"line\n", b"\r\n\0\xff\xfe", b"", bytes(range(256)) * 600],
    ids=["plain", "newline", "binary", "empty", "large"],
)
def test_what_goes_in_comes_out(host: Machine, value: bytes) -> None:
    set_(host, "prod/value", value)
    assert get(host, "prod/value") == value


def test_a_newline_from_a_pipe_is_kept_and_told(host: Machine) -> None:
    done = host.run("leger", "secrets", "set", "prod/line", "-", input=b"value\n")
    assert "ends in a newline" in done.stderr
    assert get(host, "prod/line") == b"value\n"
    assert not host.run("leger", "secrets", "set", "prod/none", "-", input=b"value").stderr


def test_what_is_typed_on_a_terminal_loses_its_newline_and_is_not_shown(host: Machine) -> None:
    typed = "(sleep 1; echo typed-canary) | script -qec 'leger secrets set prod/typed -' /dev/null"
    shown = host.sh(typed).stdout
    assert "value:" in shown
    assert get(host, "prod/typed") == b"typed-canary"


def test_a_file_is_taken_as_it_is(host: Machine) -> None:
    host.push(b"in a file\n", "/root/value", 0o600)
    host.run("leger", "secrets", "set", "prod/file", "@/root/value")
    assert get(host, "prod/file") == b"in a file\n"


def test_a_new_value_is_active_at_once_unless_told_otherwise(host: Machine) -> None:
    assert set_(host, "prod/v", "one") == {"name": "prod/v", "version": 1, "active": True}
    assert set_(host, "prod/v", "two") == {"name": "prod/v", "version": 2, "active": True}
    assert set_(host, "prod/v", "three", "--no-activate")["active"] is False
    assert get(host, "prod/v") == b"two"
    assert get(host, "prod/v", "--version", "3") == b"three"
    host.run("leger", "secrets", "activate", "prod/v", "3")
    assert get(host, "prod/v") == b"three"
    info = json.loads(host.run("leger", "secrets", "info", "prod/v", "--json").stdout)
    assert (info["active"], info["versions"]) == (3, [1, 2, 3])
    assert {made["creator"] for made in info["history"]} == {"unix:root(0)"}
    host.run("leger", "secrets", "delete", "prod/v", "--version", "1", "--yes")
    info = json.loads(host.run("leger", "secrets", "info", "prod/v", "--json").stdout)
    assert info["versions"] == [2, 3]


def test_an_older_value_that_is_set_again_is_active_again(host: Machine) -> None:
    set_(host, "prod/again", "one")
    set_(host, "prod/again", "two")
    assert set_(host, "prod/again", "one")["active"] is True
    assert get(host, "prod/again") == b"one"


def test_the_same_value_makes_no_version(host: Machine) -> None:
    set_(host, "prod/same", "one")
    done = host.run("leger", "secrets", "set", "prod/same", "-", input="one")
    assert "has this value already" in done.stdout
    assert set_(host, "prod/same", "one")["version"] == 1


def test_what_is_not_there_is_said(host: Machine) -> None:
    for argv in (("get", "no/such"), ("info", "no/such"), ("activate", "no/such", "1")):
        done = host.run("leger", "secrets", *argv, check=False)
        assert done.code == 1
        assert "leger: error: legerd has no secret" in done.stderr
    set_(host, "prod/one", "1")
    done = host.run("leger", "secrets", "get", "prod/one", "--version", "9", check=False)
    assert "version 9 of prod/one" in done.stderr


def test_deleting_takes_all_versions(host: Machine) -> None:
    set_(host, "prod/gone", "1")
    host.run("leger", "secrets", "delete", "prod/gone", "--yes")
    assert host.run("leger", "secrets", "list", "--json").stdout.strip() == "[]"
    assert host.run("leger", "secrets", "delete", "prod/gone", "--yes", check=False).code == 1


def test_legerd_that_is_down_is_said(host: Machine) -> None:
    host.sh("systemctl stop legerd.socket legerd-users.socket legerd.service")
    done = host.run("leger", "secrets", "list", check=False)
    host.sh("systemctl start legerd.socket legerd-users.socket")
    assert done.code == 1
    assert "legerd does not answer" in done.stderr
    assert "systemctl status legerd.socket" in done.stderr
