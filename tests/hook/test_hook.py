"""What the hook does with what legerd and Podman hold, and the one line that it says."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hook.world import World, pids_of

CANARY = b"canary-7f3d-value"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with World(tmp_path).up() as up:
        yield up


def test_a_new_secret_is_made_with_its_labels(world: World) -> None:
    world.legerd.put("web/db", CANARY)
    run = world.run("db=web/db")
    assert (run.code, run.lines, run.stdout) == (0, [], "")
    assert world.store.value("db") == CANARY
    labels = world.store.labels("db")
    assert set(labels) == {"io.leger.source", "io.leger.version", "io.leger.tag"}
    assert (labels["io.leger.source"], labels["io.leger.version"]) == ("web/db", "1")


@pytest.mark.parametrize(
    "value",
    [b"x", b"\0", b"\xff\xfe binary", b"line\n", "ä€".encode(), b"y" * 511_999, b"a%20b&c=d"],
    ids=["one", "nul", "binary", "newline", "utf-8", "largest", "form"],
)
def test_every_byte_arrives_and_is_then_unchanged(world: World, value: bytes) -> None:
    world.legerd.put("n", value)
    assert world.run("db=n").code == 0
    assert world.store.value("db") == value
    world.clear_calls()
    assert world.run("db=n").code == 0
    assert world.api.calls == []


def test_what_did_not_change_costs_one_podman_call_and_one_request(world: World) -> None:
    words = []
    for number in range(5):
        world.legerd.put(f"web/{number}", b"value %d" % number)
        words.append(f"s{number}=web/{number}")
    world.run(*words)
    world.clear_calls()
    (world.store.root / "calls").unlink()
    assert world.run(*words).code == 0
    assert world.api.calls == []
    assert len(world.legerd.requests) == 1
    assert len((world.store.root / "calls").read_text().splitlines()) == 1
    assert len({request["Key"] for request in world.legerd.requests}) == 1


def test_each_run_has_a_key_of_its_own(world: World) -> None:
    world.legerd.put("a", b"v")
    world.run("db=a")
    world.run("db=a")
    assert len({request["Key"] for request in world.legerd.requests}) == 2


def test_a_changed_secret_alone_is_replaced(world: World) -> None:
    world.legerd.put("a", b"1")
    world.legerd.put("b", b"1")
    world.run("a=a", "b=b")
    world.clear_calls()
    world.legerd.put("b", b"2")
    assert world.run("a=a", "b=b").code == 0
    assert world.api.created == ["b"]
    assert world.store.value("b") == b"2"
    assert world.store.labels("b")["io.leger.version"] == "2"


def test_a_value_that_fell_back_is_noticed_though_its_label_did_not(world: World) -> None:
    world.legerd.put("a", b"new")
    world.run("db=a")
    labels = world.store.labels("db")
    world.store.create("db", b"old", labels, replace=True)
    assert world.run("db=a").code == 0
    assert world.store.value("db") == b"new"
    assert world.store.labels("db") == labels


def test_a_pinned_version_is_asked_for(world: World) -> None:
    world.legerd.put("a:b", b"1")
    world.legerd.put("a:b", b"2")
    assert world.run("db=a:b:1").code == 0
    assert world.store.value("db") == b"1"
    assert world.run("db=a:b").code == 0
    assert world.store.value("db") == b"2"


def test_a_secret_of_somebody_else_is_left_alone(world: World) -> None:
    world.store.create("db", b"theirs", {"owner": "me"}, replace=False)
    world.legerd.put("a", b"ours")
    run = world.run("db=a")
    assert run.code == 1
    assert len(run.lines) == 1
    assert run.lines[0] == (
        "leger: error: secret db: Podman has one of this name that Leger did not make;"
        " run: podman secret rm db"
    )
    assert world.store.value("db") == b"theirs"
    assert world.legerd.requests == []


def test_an_id_that_begins_like_the_name_is_another_secret(world: World) -> None:
    key = world.store.create("theirs", b"x", {}, replace=False)
    world.legerd.put("a", b"ours")
    assert world.run(f"{key[:3]}=a").code == 0
    assert world.store.value(key[:3]) == b"ours"
    assert world.store.value("theirs") == b"x"


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("db=gone", "legerd has no gone; run: leger secrets set gone -"),
        ("db=a:9", "legerd has no version 9 of a; run: leger secrets info a"),
        ("db=denied", "legerd does not let uid 0 get denied"),
        ("db=empty", "the value of empty is empty; run: leger secrets set empty @FILE"),
        ("db=big", "the value of big has 512000 bytes, Podman takes at most 511999; run: "),
        ("d,b=a", "Podman takes names of 1 to 253 characters without comma"),
        (f"{'x' * 254}=a", "Podman takes names of 1 to 253 characters"),
        ("/k=a", "Podman takes names of 1 to 253 characters"),
        ("db", "not NAME=LEGERD-NAME[:VERSION]; run: leger status"),
        ("db=", "not NAME=LEGERD-NAME[:VERSION]; run: leger status"),
    ],
)
def test_one_clear_line_each(world: World, word: str, expected: str) -> None:
    world.legerd.put("a", b"v")
    world.legerd.put("denied", b"v")
    world.legerd.denied.add("denied")
    world.legerd.put("empty", b"")
    world.legerd.put("big", b"z" * 512_000)
    run = world.run(word, "good=a")
    assert run.code == 1
    assert len(run.lines) == 1
    assert run.lines[0].startswith("leger: error: ")
    assert expected in run.lines[0]
    assert world.api.created == []


def test_a_name_bound_twice_is_refused(world: World) -> None:
    assert "bound twice" in world.run("db=a", "db=b").lines[0]
    assert "bound twice" in world.run("db=a", "db/key=b").lines[0]


def test_every_secret_that_fails_has_its_line(world: World) -> None:
    run = world.run("a=x", "b=y")
    assert [line.split(":")[2] for line in run.lines] == [" secret a", " secret b"]


AWAY = ["gone", "hang", "break off", "fail", "talk nonsense"]


def leave(world: World, how: str) -> None:
    if how == "gone":
        world.legerd_socket.unlink()
    else:
        world.legerd.mode = how


@pytest.mark.parametrize("how", AWAY)
def test_without_legerd_what_is_there_serves_with_one_warning(world: World, how: str) -> None:
    world.legerd.put("a", CANARY)
    world.run("db=a", "key=a")
    leave(world, how)
    run = world.run("db=a", "key=a")
    assert run.code == 0
    assert len(run.lines) == 1
    assert run.lines[0].startswith("leger: warning: secret db, key: legerd cannot be reached (")
    assert run.seconds < 10


@pytest.mark.parametrize("how", AWAY)
def test_without_legerd_what_was_never_there_fails(world: World, how: str) -> None:
    world.legerd.put("a", CANARY)
    world.run("db=a")
    leave(world, how)
    run = world.run("db=a", "other=a")
    assert run.code == 1
    assert len(run.lines) == 1
    assert run.lines[0].startswith("leger: error: secret other: legerd cannot be reached (")
    assert "run: systemctl status legerd" in run.lines[0]
    assert run.seconds < 10


def test_fresh_means_that_old_values_do_not_do(world: World) -> None:
    world.legerd.put("a", b"v")
    world.run("db=a")
    world.legerd.mode = "fail"
    run = world.run("--fresh", "db=a")
    assert run.code == 1
    assert "the deployment wants it fresh" in run.lines[0]


def test_without_legerd_a_value_of_another_source_does_not_do(world: World) -> None:
    world.legerd.put("staging", b"v")
    world.run("db=staging")
    world.legerd.mode = "fail"
    assert world.run("db=production").code == 1
    assert world.run("db=staging:1").code == 0
    assert world.run("db=staging:2").code == 1


def test_a_legerd_that_restarts_is_asked_again(world: World) -> None:
    world.legerd.put("a", b"v")
    world.legerd.mode = "break off once"
    assert world.run("db=a").code == 0


def test_a_caller_that_legerd_refuses_is_told_so(world: World) -> None:
    world.legerd.put("a", b"v")
    world.run("db=a")
    world.legerd.mode = "refuse"
    run = world.run("db=a")
    assert run.code == 1
    assert "legerd refuses this caller (uid 0)" in run.lines[0]


def test_without_podmans_socket_only_changes_fail(world: World) -> None:
    world.legerd.put("a", b"v")
    world.run("db=a")
    world.podman_socket.unlink()
    assert world.run("db=a").code == 0
    world.legerd.put("a", b"w")
    run = world.run("db=a")
    assert run.code == 1
    assert run.lines[0].endswith("run: systemctl --user start podman.socket")


def test_a_podman_that_hangs_is_killed_within_ten_seconds(world: World) -> None:
    world.legerd.put("a", b"v")
    (world.store.root / "hang").touch()
    run = world.run("db=a")
    assert run.code == 1
    assert run.lines == ["leger: error: podman gave no answer; run: podman secret ls"]
    assert 9 < run.seconds < 12
    assert pids_of(str(world.folder / "bin/podman")) == []


def test_a_host_without_podman_is_told_so(world: World) -> None:
    (world.folder / "bin/podman").unlink()
    run = world.run("db=a")
    assert run.lines == [
        "leger: error: podman cannot be run: No such file or directory; install podman"
    ]


def test_hooks_that_start_together_write_a_shared_secret_once(world: World) -> None:
    world.legerd.put("a", CANARY)
    processes = [world.start("db=a", f"own{number}=a") for number in range(8)]
    for process in processes:
        assert process.communicate(timeout=60)[1] == ""
        assert process.returncode == 0
    assert world.api.created.count("db") == 1
    assert world.store.value("db") == CANARY
    assert len(world.store.names()) == 9


def test_the_keys_of_a_kubernetes_secret_are_composed(world: World) -> None:
    world.legerd.put("web/user", b"admin\xff")
    world.legerd.put("web/pass", CANARY)
    words = ["login/user=web/user", "login/pass=web/pass:1", "plain=web/user"]
    assert world.run(*words).code == 0
    document = json.loads(world.store.value("login") or b"")
    assert (document["apiVersion"], document["kind"]) == ("v1", "Secret")
    assert document["metadata"] == {"name": "login"}
    assert {key: base64.b64decode(text) for key, text in document["data"].items()} == {
        "user": b"admin\xff",
        "pass": CANARY,
    }
    world.clear_calls()
    assert world.run(*words).code == 0
    assert world.api.calls == []


def test_one_changed_key_changes_the_kubernetes_secret(world: World) -> None:
    world.legerd.put("user", b"1")
    world.legerd.put("pass", b"1")
    world.run("login/user=user", "login/pass=pass")
    world.legerd.put("pass", b"2")
    world.run("login/user=user", "login/pass=pass")
    document = json.loads(world.store.value("login") or b"")
    assert document["data"] == {"user": "MQ==", "pass": "Mg=="}
    world.run("login/pass=pass")
    assert json.loads(world.store.value("login") or b"")["data"] == {"pass": "Mg=="}


def test_the_keys_together_must_fit(world: World) -> None:
    world.legerd.put("a", b"v" * 400_000)
    run = world.run("login/a=a", "login/b=a")
    assert run.code == 1
    assert "its keys make" in run.lines[0]


def test_nothing_shows_a_value(world: World) -> None:
    world.legerd.put("a", CANARY)
    world.run("db=a", "login/key=a")
    world.legerd.mode = "talk nonsense"
    run = world.run("db=a")
    spied = world.spied() + "".join(run.lines)
    for shape in (CANARY, base64.b64encode(CANARY), CANARY.hex().encode()):
        assert shape.decode() not in spied


def test_podman_gets_no_notify_socket_and_leaves_no_core(world: World) -> None:
    world.run("db=a")
    seen = json.loads((world.store.root / "calls").read_text().splitlines()[0])
    assert "NOTIFY_SOCKET" not in seen["environ"]
    assert seen["core"] == [0, 0]


def test_a_fault_of_its_own_shows_lines_and_no_values(world: World) -> None:
    world.legerd.put("a", CANARY)
    text = world.program.read_text().replace(
        "os._exit(main())",
        "import leger_hook.run as m\n"
        "def broken(options, stored, answers):\n"
        "    raise RuntimeError(list(answers.values())[0].value)\n"
        "m.decide = broken\nos._exit(main())",
    )
    world.program.write_text(text)
    run = world.run("db=a")
    assert run.code == 1
    assert len(run.lines) == 1
    assert run.lines[0].startswith("leger: error: secrets-hook: RuntimeError in line ")
