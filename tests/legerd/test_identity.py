"""Who is at the other end of a unix socket: real processes, real namespaces."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from legerd import identity
from legerd.identity import IdentityError, Peer, Principal, in_container, read_peer, system_unit
from legerd.local import LocalCallers
from legerd.policy import PolicyFile

_CONNECT = """
import socket, sys, os
connection = socket.socket(socket.AF_UNIX)
connection.connect(sys.argv[1])
if len(sys.argv) > 2:
    os._exit(0) if os.fork() else connection.recv(1)
else:
    connection.recv(1)
"""
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")


@pytest.fixture
def listening(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
        server.listen()
        server.settimeout(10)
        (tmp_path / "s").chmod(0o777)
        yield server


def peer_of(listening: socket.socket, *command: str) -> Peer:
    program = [*command, sys.executable, "-ISc", _CONNECT, listening.getsockname()]
    with subprocess.Popen(program) as process:
        connection, _ = listening.accept()
        with connection:
            found = read_peer(connection)
        process.wait(10)
    return found


def test_a_process_of_this_host_is_known(listening: socket.socket) -> None:
    peer = peer_of(listening)
    assert peer.pid > 0
    assert peer.uid == os.geteuid()
    assert peer.cgroups
    assert not peer.nested


@root_only
def test_another_user_is_told_apart_with_its_groups(listening: socket.socket) -> None:
    for folder in Path(listening.getsockname()).parents[:-2]:
        folder.chmod(0o755)
    child = os.fork()
    if not child:
        os.setgroups([4242])
        os.setgid(54321)
        os.setuid(54321)
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(listening.getsockname())
            connection.recv(1)
        os._exit(0)
    connection, _ = listening.accept()
    with connection:
        peer = read_peer(connection)
    os.waitpid(child, 0)
    assert (peer.uid, set(peer.gids)) == (54321, {54321, 4242})
    subject = peer.subject
    assert (subject.user, subject.groups) == ("54321", frozenset({"54321", "4242"}))


@root_only
def test_a_pid_namespace_of_its_own_is_a_container(listening: socket.socket) -> None:
    peer = peer_of(listening, "unshare", "--pid", "--fork", "--kill-child")
    assert peer.nested
    assert peer.contained


def test_one_that_has_gone_is_refused(listening: socket.socket) -> None:
    program = [sys.executable, "-ISc", _CONNECT, listening.getsockname(), "leave"]
    subprocess.run(program, check=True)
    connection, _ = listening.accept()
    with connection, pytest.raises(IdentityError):
        read_peer(connection)


def test_without_a_pidfd_the_start_time_tells(
    listening: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(identity, "SO_PEERPIDFD", 9999)
    assert peer_of(listening).uid == os.geteuid()
    program = [sys.executable, "-ISc", _CONNECT, listening.getsockname(), "leave"]
    subprocess.run(program, check=True)
    connection, _ = listening.accept()
    with connection, pytest.raises(IdentityError):
        read_peer(connection)


@root_only
def test_one_in_another_pid_namespace_has_no_pid_and_is_refused(tmp_path: Path) -> None:
    script = """
import os, socket, sys
sys.path[:0] = sys.argv[2:]
from legerd.identity import IdentityError, read_peer
server = socket.socket(socket.AF_UNIX)
server.bind(sys.argv[1])
server.listen()
connection, _ = server.accept()
try:
    print("known", read_peer(connection))
except IdentityError as error:
    print("refused:", error)
"""
    path = tmp_path / "s"
    folders = [str(Path(__file__).parents[2] / name) for name in ("", "lib", "generator")]
    arguments = [sys.executable, "-c", script, str(path), *folders]
    server = subprocess.Popen(["unshare", "--pid", "--fork", *arguments], stdout=subprocess.PIPE)
    while not path.exists():
        time.sleep(0.01)
    with socket.socket(socket.AF_UNIX) as connection:
        time.sleep(0.1)
        connection.connect(str(path))
        answer, _ = server.communicate(timeout=10)
    assert answer.startswith(b"refused: the caller is in another pid namespace")


@pytest.mark.parametrize(
    "cgroup",
    [
        "/machine.slice/libpod-127e9e1099f3.scope/container",
        "/machine.slice/libpod-127e9e1099f3.scope",
        "/system.slice/web.service/libpod-payload-127e9e1099f3",
        "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-1.scope/container",
        "/user.slice/user-1000.slice/user@1000.service/app.slice/a.service/libpod-payload-1",
        "/libpod_parent/libpod-127e",
        "/system.slice/docker-127e.scope",
        "/docker/127e",
        "/kubepods.slice/kubepods-burstable.slice/cri-containerd-1.scope",
        "/machine.slice/machine-box.scope/payload/init.scope",
        "/machine.slice/systemd-nspawn@box.service/payload",
        "/lxc.payload.box/init.scope",
        "/whatever.scope/container",
    ],
)
def test_containers_are_known_by_their_cgroup(cgroup: str) -> None:
    assert in_container(cgroup)


@pytest.mark.parametrize(
    "cgroup",
    [
        "/",
        "/init.scope",
        "/system.slice/web.service",
        "/system.slice/docker.service",
        "/system.slice/legerd.service",
        "/user.slice/user-1000.slice/session-1.scope",
        "/user.slice/user-1000.slice/user@1000.service/app.slice/container.service",
        "/system.slice/podman.service",
    ],
)
def test_everything_else_is_no_container(cgroup: str) -> None:
    assert not in_container(cgroup)


@pytest.mark.parametrize(
    ("cgroup", "unit"),
    [
        ("/system.slice/web.service/libpod-payload-1", "web.service"),
        ("/system.slice/system-foo.slice/foo@1.service", "foo@1.service"),
        (
            "/user.slice/user-1000.slice/user@1000.service/app.slice/web.service",
            "user@1000.service",
        ),
        ("/user.slice/user-1000.slice/session-1.scope", "session-1.scope"),
        ("/system.slice/_odd.service", "odd.service"),
        ("/init.scope", "init.scope"),
        ("/", ""),
        ("/x/y.service", ""),
    ],
)
def test_the_system_unit_is_that_of_the_system_manager(cgroup: str, unit: str) -> None:
    assert system_unit(cgroup) == unit


def callers(folder: Path, rules: str = "rules: []") -> LocalCallers:
    (folder / "policy.yaml").write_text(rules)
    return LocalCallers(PolicyFile(folder / "policy.yaml"), "host.example")


def test_a_local_caller_is_named_by_login_and_uid(tmp_path: Path) -> None:
    peer = Peer(1, 0, (0,), ("/system.slice/a.service",))
    caller = callers(tmp_path)({"legerd.peer": peer})
    assert caller.principal == Principal("host.example", user="unix:root(0)")
    assert caller.may("delete", "a")
    assert caller.root
    stranger = callers(tmp_path)({"legerd.peer": Peer(1, 54321, (54321,), ("/",))})
    assert stranger.principal.user == "unix:54321(54321)"
    assert not stranger.may("get", "a")
    assert not stranger.barred


def test_a_container_is_barred_unless_its_unit_is_named(tmp_path: Path) -> None:
    boxed = Peer(1, 0, (0,), ("/system.slice/web.service/libpod-payload-1",))
    caller = callers(tmp_path)({"legerd.peer": boxed})
    assert caller.barred
    assert not caller.root
    assert not caller.may("get", "a")
    rules = "rules: [{unit: web.service, action: get, secret: a}]"
    caller = callers(tmp_path, rules)({"legerd.peer": boxed})
    assert caller.may("get", "a")
    assert not caller.barred
    assert not caller.root


def test_without_the_kernels_word_nobody_is_known(tmp_path: Path) -> None:
    with pytest.raises(IdentityError):
        callers(tmp_path)({"legerd.peer": None})
