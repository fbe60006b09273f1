"""The test machine itself: it must not lie to the tests that rely on it."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from machine import CommandError, Machine, MachineError, collect, machines
from machine.host import loop_devices


def test_runs_commands_as_given(machine: Machine) -> None:
    result = machine.run("sh", "-c", 'cat; echo "$1" >&2; exit 3', "sh", "$HOME %i", input=b"in",
                         check=False)  # fmt: skip
    assert (result.code, result.stdout, result.stderr) == (3, "in", "$HOME %i\n")
    with pytest.raises(CommandError, match="exit 1"):
        machine.run("false")
    assert machine.run("sh", "-c", "echo $HOME $WORD", env={"WORD": "x y"}).stdout == "/root x y\n"


def test_a_command_that_takes_too_long_is_ended(machine: Machine) -> None:
    with pytest.raises(MachineError, match="did not end within 1 s"):
        machine.run("sleep", "999", timeout=1)
    assert machine.run("pgrep", "-x", "sleep", check=False).code == 1


def test_is_a_host_of_its_own(machine: Machine, suite: str) -> None:
    assert machine.run("ps", "-o", "comm=", "1").stdout == "systemd\n"
    assert machine.run("hostname").stdout.strip() == machine.name
    links = machine.run("ip", "-o", "link").stdout.splitlines()
    assert [line.split()[1] for line in links] == ["lo:"]
    codename = machine.run("sh", "-c", ". /etc/os-release; echo $VERSION_CODENAME").stdout.strip()
    assert codename == suite


def test_files_go_in_and_out(machine: Machine, tmp_path: Path) -> None:
    machine.push(b"\0\xff", "/root/new folder/file", 0o640)
    assert machine.pull("/root/new folder/file") == b"\0\xff"
    assert machine.run("stat", "-c", "%a %U", "/root/new folder/file").stdout == "640 root\n"
    (tmp_path / "in/deep").mkdir(parents=True)
    (tmp_path / "in/deep/x").write_text("x")
    (tmp_path / "in/link").symlink_to("deep/x")
    machine.push(tmp_path / "in", "/srv/tree")
    machine.pull_folder("/srv/tree", tmp_path / "out")
    assert (tmp_path / "out/link").readlink() == Path("deep/x")
    assert (tmp_path / "out/deep/x").read_text() == "x"
    with pytest.raises(MachineError, match="No such file"):
        machine.pull("/root/absent")


def test_podman_runs_with_root_and_without(machine: Machine) -> None:
    machine.add_user("alice")
    for user in ("", "alice"):
        machine.import_image("localhost/hello:1", user=user)
        command = ("podman", "run", "--rm", "localhost/hello:1", "id", "-u")
        assert machine.run(*command, user=user).stdout == "0\n"
    machine.run("podman", "run", "--detach", "--name=stays", "localhost/hello:1")
    assert machine.run("podman", "ps", "--format={{.Names}}").stdout == "stays\n"


def test_a_user_command_is_a_login_of_that_user(machine: Machine) -> None:
    machine.add_user("alice")
    assert machine.run("id", "-un", user="alice").stdout == "alice\n"
    assert machine.run("systemctl", "--user", "is-system-running", user="alice").code == 0
    assert machine.sh("pwd; echo $XDG_RUNTIME_DIR", user="alice").stdout == (
        "/home/alice\n/run/user/1000\n"
    )


def test_a_power_cut_loses_what_was_not_synced_and_only_that(machine: Machine) -> None:
    machine.sh("echo 1 >/root/synced; sync; echo 2 >/root/lost")
    first = machine.boot_id()
    machine.cut()
    assert not machine.is_on()
    assert machine.start() == "running"
    assert machine.pull("/root/synced") == b"1\n"
    assert machine.run("test", "-s", "/root/lost", check=False).code == 1
    assert machine.boot_id() != first


def test_an_order_to_stop_or_reboot_keeps_everything(machine: Machine) -> None:
    machine.push(b"kept", "/root/file")
    first = machine.boot_id()
    assert machine.reboot() == "running"
    assert machine.boot_id() != first
    machine.stop()
    assert not machine.is_on()
    machine.start()
    assert machine.pull("/root/file") == b"kept"


def test_acknowledgements_reach_the_host_before_the_cut(machine: Machine) -> None:
    writer = machine.spawn(
        "sh", "-c", "i=0; while :; do i=$((i+1)); echo $i >/root/n; sync /root/n; echo $i; done"
    )
    with writer:
        assert writer.stdout is not None
        time.sleep(0.5)
        machine.cut()
        noted = int(writer.stdout.read().split(b"\n")[-2])
    machine.start()
    assert noted > 3
    assert int(machine.pull("/root/n")) >= noted


def test_what_is_spawned_can_be_talked_to(machine: Machine) -> None:
    with machine.spawn("cat") as echo:
        assert echo.stdin is not None
        assert echo.stdout is not None
        echo.stdin.write(b"word\n")
        assert echo.stdout.readline() == b"word\n"
        echo.stdin.close()
        assert echo.wait(10) == 0


def test_two_at_once_share_nothing(new_machine: Callable[..., Machine], suite: str) -> None:
    one, other = new_machine(suite, hostname="one"), new_machine(suite, hostname="other")
    one.push(b"x", "/root/x")
    one.sync()
    one.cut()
    assert other.run("hostname").stdout == "other\n"
    assert other.run("test", "-e", "/root/x", check=False).code == 1


def test_nothing_is_left_of_a_dropped_machine(new_machine: Callable[..., Machine]) -> None:
    machine = new_machine("trixie")
    disk = machine.disk
    machine.drop()
    assert not disk.exists()
    assert not (machines() / machine.name).exists()
    assert loop_devices(disk) == []
    machine.drop()


def test_machines_of_a_killed_process_are_collected(new_machine: Callable[..., Machine]) -> None:
    program = (
        "import os, sys; from machine import Machine; "
        "Machine.boot('trixie', name='orphan'); os.kill(os.getpid(), 9)"
    )
    folder = str(Path(__file__).resolve().parents[1])
    subprocess.run([sys.executable, "-c", program], env={"PYTHONPATH": folder}, timeout=120)
    assert Machine.attach("orphan").is_on()
    collect()
    assert not (machines() / "orphan").exists()


def test_a_kept_machine_outlives_its_owner(new_machine: Callable[..., Machine]) -> None:
    machine = new_machine("trixie")
    machine.keep()
    collect()
    assert Machine.attach(machine.name).run("true").code == 0


def test_share_is_seen_and_read_only(new_machine: Callable[..., Machine], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("seen")
    machine = new_machine("trixie", share=tmp_path)
    assert machine.pull("/srv/host/file") == b"seen"
    assert machine.run("touch", "/srv/host/new", check=False).code != 0


def test_the_quadlet_of_each_suite_runs_on_the_host(quadlet: Path, tmp_path: Path) -> None:
    (tmp_path / "web.container").write_text("[Container]\nImage=localhost/hello:1\n")
    done = subprocess.run(
        [quadlet, "-dryrun"], env={"QUADLET_UNIT_DIRS": str(tmp_path)}, capture_output=True
    )
    assert b"---web.service---" in done.stdout


def test_a_command_that_was_stopped_does_not_keep_the_machine(machine: Machine) -> None:
    """As a shutdown leaves the nsenter of a command, if it looks at the wrong moment."""
    with machine.spawn("sleep", "1000") as command:
        command.send_signal(signal.SIGSTOP)
        machine.stop()
    assert not machine.is_on()
