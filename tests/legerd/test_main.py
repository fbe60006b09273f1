"""The process: how systemd starts it, how it ends, and what it does when something is missing."""

from __future__ import annotations

import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from legerd.listeners import inherited
from legerd.notify import notify
from legerd.options import parse
from tests.legerd.daemon import ROOT, start, tcp_daemon, unix_daemon
from tests.legerd.served import HEADERS
from tests.legerd.tailscaled import status, tailscaled


def test_sockets_of_another_process_are_not_taken() -> None:
    environment = {"LISTEN_PID": "1", "LISTEN_FDS": "1", "LISTEN_FDNAMES": "root", "PATH": "/"}
    assert inherited(environment) == []
    assert environment == {"PATH": "/"}


def test_names_come_with_the_sockets_and_go_from_the_environment(tmp_path: Path) -> None:
    script = """
import os, socket, sys
from legerd.listeners import inherited
os.environ["LISTEN_PID"] = str(os.getpid())
found = inherited(os.environ)
print([(name, sock.family == socket.AF_UNIX, sock.get_inheritable()) for name, sock in found])
print([name for name in os.environ if name.startswith("LISTEN")])
"""
    with socket.socket(socket.AF_UNIX) as one, socket.socket(socket.AF_UNIX) as two:
        code = "import os, sys; os.dup2(int(sys.argv[1]), 3); os.dup2(int(sys.argv[2]), 4); "
        code += "os.execv(sys.executable, [sys.executable, '-c', sys.argv[3]])"
        done = subprocess.run(
            [sys.executable, "-c", code, str(one.fileno() + 0), str(two.fileno()), script],
            pass_fds=[one.fileno(), two.fileno()],
            env={
                **os.environ,
                "PYTHONPATH": f"{ROOT}:{ROOT}/lib",
                "LISTEN_FDS": "2",
                "LISTEN_FDNAMES": "root:users",
            },
            capture_output=True,
            check=True,
        )
    assert done.stdout.decode().splitlines() == [
        "[('root', True, False), ('users', True, False)]",
        "[]",
    ]


@pytest.mark.parametrize("abstract", [False, True])
def test_states_reach_the_manager(tmp_path: Path, abstract: bool) -> None:
    address = f"\0legerd-test-{os.getpid()}" if abstract else str(tmp_path / "n")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(address)
        assert notify("READY=1", {"NOTIFY_SOCKET": address.replace("\0", "@")})
        assert manager.recv(100) == b"READY=1"


def test_without_a_manager_nothing_is_sent(tmp_path: Path) -> None:
    assert not notify("READY=1", {})
    assert not notify("READY=1", {"NOTIFY_SOCKET": "relative"})
    assert not notify("READY=1", {"NOTIFY_SOCKET": str(tmp_path / "nobody")})


def test_without_sockets_it_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir(mode=0o700)
    with start(tmp_path, []) as process:
        assert process.wait(20) == 2
    log = (tmp_path / "log").read_text()
    assert "legerd: error: no sockets were passed" in log
    assert "legerd: hint: systemctl start legerd.socket" in log


def test_without_a_key_it_says_what_to_do_and_writes_nothing(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "s"))
        listening.listen()
        with start(tmp_path, [listening]) as process:
            assert process.wait(20) == 1
    log = (tmp_path / "log").read_text()
    assert "no key-encryption key" in log
    assert "Traceback" not in log
    assert "secrets.db" not in os.listdir(tmp_path / "state")


@pytest.mark.parametrize(
    "arguments",
    [
        ["--listen", "127.0.0.1:0"],
        ["--dev", "--listen", "0.0.0.0:0"],
        ["--dev", "--listen", "10.0.0.1:80"],
        ["--dev", "--listen", "127.0.0.1:x"],
        ["--tailnet-port", "443"],
        ["--tailnet-port", "x"],
        ["--max-body", "0"],
        ["--max-body", "x"],
        ["unknown"],
    ],
)
def test_wrong_options_are_refused(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(arguments)
    assert ended.value.code == 2


def test_options_are_parsed_once() -> None:
    options = parse(["--max-body", "2M", "--audit-keep", "3", "--state-dir", "/x"])
    assert options.command == "serve"
    assert (options.max_body, options.audit_keep, options.state) == (2 << 20, 3, Path("/x"))


def test_on_sigterm_it_says_so_drains_and_ends(tmp_path: Path) -> None:
    with unix_daemon(tmp_path) as legerd:
        connection = legerd.connect()
        connection.request("POST", "/api/list", b"{}", HEADERS)
        connection.getresponse().read()
        legerd.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        connection.request("POST", "/api/list", b"{}", HEADERS)
        answer = connection.getresponse()
        assert (answer.status, answer.getheader("Connection")) == (200, "close")
        assert legerd.process.wait(3) == 0
        connection.close()


def test_it_serves_the_tailnet_where_it_is_asked_to(tmp_path: Path) -> None:
    with tailscaled(tmp_path / "t") as daemon, socket.create_server(("127.0.0.4", 0)) as free:
        port = free.getsockname()[1]
        free.close()
        daemon.state = status("127.0.0.4")
        options = ["--tailnet-port", str(port), "--tailscaled-socket", str(tmp_path / "t")]
        with unix_daemon(tmp_path, *options) as legerd:
            for _ in range(200):
                if f"listening on 127.0.0.4 port {port}" in legerd.log():
                    break
                time.sleep(0.05)
            connection = http.client.HTTPConnection("127.0.0.4", port, timeout=10)
            connection.request("POST", "/api/list", b"{}", HEADERS)
            answer = connection.getresponse()
            assert (answer.status, answer.read()) == (500, b"unable to identify caller\n")
            assert legerd.request("POST", "/api/list", b"{}")[0] == 200
            connection.close()
            assert legerd.stop() == 0


def test_on_sigterm_who_watches_is_answered(tmp_path: Path) -> None:
    with unix_daemon(tmp_path) as legerd:
        assert legerd.request("POST", "/api/put", b'{"Name":"a","Value":"dg=="}')[1] == b"1"
        connection = legerd.connect()
        body = b'{"Secrets":[{"Name":"a","Version":1}],"Seconds":60}'
        connection.request("POST", "/api/leger/watch", body, HEADERS)
        time.sleep(0.3)
        legerd.process.send_signal(signal.SIGTERM)
        answer = connection.getresponse()
        assert (answer.status, answer.read()) == (200, b'{"Secrets":[]}')
        assert answer.getheader("Connection") == "close"
        assert legerd.process.wait(4) == 0
        connection.close()


def test_on_sighup_the_audit_log_is_opened_anew(tmp_path: Path) -> None:
    with unix_daemon(tmp_path) as legerd:
        log = tmp_path / "state/audit.log"
        legerd.request("POST", "/api/list", b"{}")
        log.rename(tmp_path / "old")
        legerd.process.send_signal(signal.SIGHUP)
        for _ in range(100):
            assert legerd.request("POST", "/api/list", b"{}")[0] == 200
            if log.exists():
                break
            time.sleep(0.05)
        assert log.read_text().count("\n") == 1


def test_data_survive_a_restart(tmp_path: Path) -> None:
    with unix_daemon(tmp_path) as legerd:
        assert legerd.request("POST", "/api/put", b'{"Name":"a","Value":"dg=="}')[1] == b"1"
        assert legerd.stop() == 0
    (tmp_path / "s").unlink()
    (tmp_path / "n").unlink()
    with unix_daemon(tmp_path) as legerd:
        answer = legerd.request("POST", "/api/get", b'{"Name":"a"}')
        assert answer[1] == b'{"Value":"dg==","Version":1}'


def test_calls_at_once_are_all_recorded(tmp_path: Path) -> None:
    with unix_daemon(tmp_path) as legerd:
        statuses = []

        def work(number: int) -> None:
            connection = legerd.connect()
            for index in range(25):
                body = f'{{"Name":"{number}/{index}","Value":"dg=="}}'.encode()
                connection.request("POST", "/api/put", body, HEADERS)
                statuses.append(connection.getresponse().read())
            connection.close()

        threads = [threading.Thread(target=work, args=(number,)) for number in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert statuses == [b"1"] * 300
        assert (tmp_path / "state/audit.log").read_text().count("\n") == 300


@pytest.mark.skipif(not shutil.which("strace"), reason="strace is not installed")
def test_every_answer_comes_after_a_covering_sync(tmp_path: Path) -> None:
    with tcp_daemon(tmp_path) as legerd:
        trace = tmp_path / "trace"
        calls = "trace=openat,write,fdatasync,fsync,sendto,pwrite64"
        tracer = subprocess.Popen(
            ["strace", "-f", "-y", "-e", calls, "-o", str(trace), "-p", str(legerd.process.pid)],
            stderr=subprocess.DEVNULL,
        )
        try:
            while not trace.exists():
                time.sleep(0.05)
            time.sleep(0.3)
            for number in range(5):
                body = f'{{"Name":"a","Value":"{number}w=="}}'.encode()
                assert legerd.request("POST", "/api/put", body)[0] == 200
                assert legerd.request("POST", "/api/get", b'{"Name":"a"}')[0] == 200
                assert legerd.request("POST", "/api/info", b'{"Name":"b"}')[0] == 404
        finally:
            tracer.terminate()
            tracer.wait()
    dirty: set[str] = set()
    written: set[str] = set()
    answers = 0
    for line in trace.read_text().splitlines():
        path = line.partition("<")[2].partition(">")[0]
        answer = "sendto(" in line and '"HTTP/1.1 ' in line
        if answer:
            answers += 1
            assert not dirty, line
        elif "resumed>" in line or str(tmp_path / "state") not in path or "shm" in path:
            continue
        elif "sync(" in line:
            dirty.discard(path)
        elif "write" in line:
            dirty.add(path)
            written.add(Path(path).name)
    assert written == {"audit.log", "secrets.db-wal", "sequence"}
    assert answers == 15


def test_dev_is_loud_and_no_option_of_the_service(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with unix_daemon(tmp_path) as legerd:
        assert "--dev: for tests only" in legerd.log()
        assert legerd.stop() == 0
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    with start(tmp_path, [], "--dev", "--listen", "127.0.0.1:0") as process:
        assert process.wait(20) == 2
    assert "--dev is for tests by hand" in (tmp_path / "log").read_text()
