"""`leger secrets` against a real legerd: setec's verbs and flags, another server, questions."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import os
import pty
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from leger.cli.main import main

from tests.legerd.daemon import tcp_daemon
from tests.legerd.served import Served, serve
from tests.legerd.tailscaled import whois

ROOT = Path(__file__).parents[2]
PATH = f"{ROOT / 'lib'}:{ROOT / 'generator'}"
PROMPT = re.compile(rb"value: |again: |\[y/N\] ")
LEGER = "import sys; from leger.cli.main import main; sys.exit(main())"


@dataclass
class Done:
    stdout: bytes
    stderr: bytes


@dataclass
class Command:
    """`leger secrets` for one server."""

    socket: str
    server: str = ""

    def __call__(self, *arguments: str, data: bytes = b"", code: int = 0) -> Done:
        """Run it in this process, its streams being pipes."""
        streams = [io.TextIOWrapper(io.BytesIO(part)) for part in (data, b"", b"")]
        names = ("stdin", "stdout", "stderr")
        with (
            mock.patch.dict(os.environ, self.environment()),
            mock.patch.multiple(sys, **dict(zip(names, streams, strict=True))),
        ):
            found = main(["secrets", *arguments])
            for stream in streams[1:]:
                stream.flush()
        out, err = (stream.buffer.getvalue() for stream in streams[1:])  # type: ignore[attr-defined]
        assert found == code, err
        return Done(out, err)

    def json(self, *arguments: str, data: bytes = b"") -> Any:
        return json.loads(self(*arguments, "--json", data=data).stdout)

    def environment(self) -> dict[str, str]:
        more = {"SETEC_SERVER": self.server} if self.server else {}
        return {"LEGERD_SOCKET": self.socket, **more}


@pytest.fixture
def legerd(tmp_path: Path) -> Iterator[Served]:
    folder = tmp_path / "legerd"
    folder.mkdir()
    with serve(folder) as running:
        yield running


@pytest.fixture
def leger(legerd: Served) -> Command:
    return Command(str(legerd.path))


def value(legerd: Served, name: str, version: int = 0) -> bytes:
    status, answer = legerd.call("get", {"Name": name, "Version": version})
    assert status == 200
    return base64.b64decode(answer["Value"])


def test_put_activates_nothing_but_the_first(legerd: Served, leger: Command) -> None:
    assert leger("put", "a", data=b"one").stdout == b"a: version 1 stored\n"
    assert leger("put", "a", data=b"two").stdout == b"a: version 2 stored, not active\n"
    assert leger.json("put", "a", data=b"two") == {"name": "a", "version": 2, "active": False}
    assert value(legerd, "a") == b"one"
    assert leger("activate", "a", "2").stdout == b"a: version 2 is active\n"
    assert value(legerd, "a") == b"two"


def test_put_takes_space_and_nothing_only_if_that_is_wanted(
    legerd: Served, leger: Command, tmp_path: Path
) -> None:
    file = tmp_path / "value"
    file.write_bytes(b" c4n4ry\n")
    refused = leger("put", "a", "--from-file", str(file), code=2)
    assert b"--trim-space takes it away, --verbatim stores it" in refused.stderr
    assert b"c4n4ry" not in refused.stdout + refused.stderr
    assert b"--empty-ok" in leger("put", "a", code=2).stderr
    assert b"--empty-ok" in leger("put", "a", "--trim-space", data=b" \n", code=2).stderr
    leger("put", "a", "--trim-space", "--verbatim", data=b"x", code=2)
    assert legerd.call("list") == (200, None)
    leger("put", "a", "--from-file", str(file), "--verbatim")
    assert value(legerd, "a") == b" c4n4ry\n"
    leger("put", "a", "--from-file", str(file), "--trim-space")
    assert value(legerd, "a", 2) == b"c4n4ry"
    leger("put", "a", "--from-file", "-", "--empty-ok")
    assert value(legerd, "a", 3) == b""


def typed(leger: Command, arguments: tuple[str, ...], lines: bytes) -> tuple[int, bytes]:
    """Exit code and what a terminal shows of a command to which `lines` are typed."""
    environment = {**os.environ, **leger.environment(), "PYTHONPATH": PATH}
    pid, terminal = pty.fork()
    if not pid:
        os.execve(sys.executable, [sys.executable, "-c", LEGER, "secrets", *arguments], environment)
    shown = b""
    for number, line in enumerate(lines.splitlines(keepends=True)):
        while len(PROMPT.findall(shown)) <= number:
            shown += os.read(terminal, 1024)
        os.write(terminal, line)
    with contextlib.suppress(OSError):  # how a terminal ends
        while part := os.read(terminal, 1024):
            shown += part
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), shown


def test_what_is_typed_is_typed_twice(legerd: Served, leger: Command) -> None:
    code, shown = typed(leger, ("put", "a"), b"c4n4ry\nc4n4ry\n")
    assert code == 0
    assert b"c4n4ry" not in shown
    assert value(legerd, "a") == b"c4n4ry"
    code, shown = typed(leger, ("put", "a"), b"one\ntwo\n")
    assert code == 2
    assert b"differ" in shown


def test_a_version_of_ones_choice(legerd: Served, leger: Command) -> None:
    made = leger.json("create-version", "a", "7", "-", data=b"seven")
    assert made == {"name": "a", "version": 7, "active": True}
    assert value(legerd, "a") == b"seven"
    again = leger("create-version", "a", "7", "-", data=b"eight", code=1)
    assert b"a has, or once had, a version 7" in again.stderr
    assert b"please specify a version > 0" in leger("create-version", "a", "0", "-", code=1).stderr


def test_get_if_changed(leger: Command) -> None:
    leger("put", "a", data=b"one")
    same = leger("get", "a", "--version", "1", "--if-changed", code=1)
    assert same.stdout == b""
    assert b"version 1 is still the active one" in same.stderr
    leger("set", "a", "-", data=b"\xfftwo")
    assert leger("get", "a", "--version", "1", "--if-changed").stdout == b"\xfftwo"
    assert leger("get", "a", "--if-changed").stdout == b"\xfftwo"
    assert leger.json("get", "a") == {
        "name": "a",
        "version": 2,
        "base64": base64.b64encode(b"\xfftwo").decode(),
    }


def test_info_tells_who_made_what_when_and_what_it_is_for(leger: Command) -> None:
    leger("set", "a", "-", data=b"one")
    leger("set", "a", "-", data=b"two")
    leger("delete-version", "a", "1", "--yes")
    leger("describe", "a", "--description", "for the till", "--label", "owner=shop",
          "--expires", "2027-01-31")  # fmt: skip
    lines = leger("info", "a").stdout.decode().splitlines()
    assert lines[:5] == [
        "a: version 2 is active",
        "description: for the till",
        "labels: owner=shop",
        "expires: 2027-01-31T23:59:59Z",
        "deleted versions: 1",
    ]
    assert re.fullmatch(r"2 \* +20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ +unix:\S+", lines[6])
    raw = leger.json("info", "a")
    assert (raw["active"], raw["versions"], raw["deleted"]) == (2, [2], [1])
    assert raw["history"][0]["creator"].startswith("unix:")
    assert raw["labels"] == {"owner": "shop"}
    leger("describe", "a", "--description", "", "--label", "", "--expires", "")
    assert leger("info", "a").stdout.count(b"\n") == 4
    assert b"nothing to say" in leger("describe", "a", code=2).stderr
    assert b"KEY=VALUE" in leger("describe", "a", "--label", "x", code=2).stderr
    assert b"RFC 3339" in leger("describe", "a", "--expires", "soon", code=1).stderr


def test_deleting_asks_for_a_token_that_fits_what_is_there(legerd: Served, leger: Command) -> None:
    leger("put", "it's", data=b"one")
    refused = leger("delete", "it's", code=5)
    hint = re.search(rb"hint: leger secrets (delete .*) ([0-9a-f]{8}), or --yes", refused.stderr)
    assert hint
    assert hint[1].decode() == """delete 'it'"'"'s'"""
    token = hint[2].decode()
    leger("put", "it's", data=b"two")
    assert b"not, or no more" in leger("delete", "it's", token, code=5).stderr
    again = re.search(rb"([0-9a-f]{8}), or", leger("delete-version", "it's", "2", code=5).stderr)
    assert again
    leger("put", "it's", data=b"three")
    leger("delete-version", "it's", "2", again[1].decode(), code=5)
    again = re.search(rb"([0-9a-f]{8}), or", leger("delete-version", "it's", "2", code=5).stderr)
    assert again
    leger("delete-version", "it's", "3", again[1].decode(), code=5)
    assert leger.json("delete-version", "it's", "2", again[1].decode()) == {
        "name": "it's",
        "version": 2,
        "deleted": True,
    }
    assert b"no secret" in leger("delete", "gone", code=1).stderr
    active = leger("delete-version", "it's", "1", "--yes", code=1)
    assert b"version 1 of it's is the active one, which cannot be deleted" in active.stderr
    code, shown = typed(leger, ("delete", "it's"), b"n\n")
    assert (code, b"delete the secret it's?" in shown) == (5, True)
    assert typed(leger, ("delete", "it's"), b"y\n")[0] == 0
    assert legerd.call("list") == (200, None)


def test_who_may_delete_but_not_look_can_do_so(legerd: Served, leger: Command) -> None:
    leger("put", "a", data=b"one")
    own = os.getuid()
    legerd.policy.write_text(f"rules: [{{uid: {own}, action: [delete, put], secret: '*'}}]")
    assert leger.json("put", "a", data=b"two")["active"] is None
    leger("delete", "a", "--yes")
    denied = leger("list", "--json")
    assert denied.stdout == b"[]\n"
    told = leger("get", "a", code=3).stderr
    assert b"action: get" in told


def test_many_versions_are_listed_in_short(leger: Command, legerd: Served) -> None:
    for number in range(12):
        legerd.call("put", {"Name": "a", "Value": base64.b64encode(b"%d" % number).decode()})
    assert leger("list").stdout.split()[3:] == [b"a", b"1", b"1,2,...,9,10,11,12"]


def test_another_server_is_asked_by_address_or_environment(tmp_path: Path) -> None:
    with tcp_daemon(tmp_path) as daemon:
        assert isinstance(daemon.address, tuple)
        url = f"http://127.0.0.1:{daemon.address[1]}/"
        here = Command("/nowhere")
        here("put", "a", "-s", url, data=b"one")
        there = Command("/nowhere", url)
        assert there("get", "a").stdout == b"one"
        assert there.json("info", "a")["history"][0]["creator"] == "user@example.com"
        unix = there("get", "a", "--server", "unix:/nowhere", code=1)
        assert b"legerd does not answer on /nowhere" in unix.stderr
        assert daemon.tailscaled
        daemon.tailscaled.answer = whois()
        denied = there("get", "a", code=3).stderr.decode()
        assert f"http://127.0.0.1:{daemon.address[1]} does not allow this node to get a" in denied
        assert '{"action": ["get"], "secret": ["a"]}' in denied
        daemon.tailscaled.answer = None
        assert b"unable to identify caller" in there("list", code=1).stderr
    gone = there("list", code=1)
    assert b"no answer" in gone.stderr
    assert b"tailscale status" in gone.stderr
    assert b"no address of a setec server" in here("list", "-s", "ftp://x", code=2).stderr
