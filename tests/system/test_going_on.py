"""What comes between a stop and a start: a full disk, other users, a kill. Nothing stays down."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest
from machine import Machine
from system.deployment import Deployed, active, container, pid

BAD = "Volume=/no/such/folder:/x"
RESUMED = """
until [ "$(systemctl show -P ActiveState leger-resume.service)" != activating ]
do sleep 0.1; done
"""
SWITCH = "/var/lib/leger/switch.json"


def is_well(machine: Machine) -> bool:
    status = json.loads(machine.run("leger", "status", "--json").stdout)
    return bool(status["confirmed"]) and not status["problems"]


@pytest.fixture
def small_etc(shared_machine: Machine) -> Iterator[None]:
    """A file system of its own for /etc/leger, which is quickly full."""
    shared_machine.sh(
        "mkdir -p /etc/leger; cp -a /etc/leger /root/etc\n"
        "mount -t tmpfs -o size=1M,mode=755 tmpfs /etc/leger; cp -a /root/etc/. /etc/leger"
    )
    yield
    shared_machine.sh(
        "rm -r /root/etc; cp -a /etc/leger /root/etc; umount /etc/leger\n"
        "rm -r /etc/leger; mv /root/etc /etc/leger"
    )


@pytest.mark.usefixtures("small_etc")
def test_what_fills_the_disk_goes_back_once_there_is_room(shared_machine: Machine) -> None:
    machine = shared_machine
    one = Deployed(machine, "filling")
    one.install({"filling.container": container("Environment=VERSION=1")})
    fill = "ExecStartPre=/bin/sh -c 'dd if=/dev/zero of=/etc/leger/fill bs=4k; exit 1'"
    said = one.fail({"filling.container": container("Environment=VERSION=2", service=(fill,))})
    assert "filling.service failed to start" in said
    assert "it cannot go back: /etc/leger/units.json" in said
    assert "No space left on device" in said
    machine.sh(RESUMED)
    assert machine.run("test", "-e", SWITCH, check=False).code == 0
    machine.sh("rm /etc/leger/fill")
    again = machine.run("leger", "sync", check=False, timeout=120)
    assert "filling went back to what was there before" in again.stderr
    env = machine.run("podman", "exec", "systemd-filling", "env").stdout
    assert "VERSION=1" in env
    assert is_well(machine)
    one.remove()


def test_the_hosts_own_unit_runs_again_with_what_it_requires(shared_machine: Machine) -> None:
    machine = shared_machine
    one = Deployed(machine, "required")
    one.install({"required.container": container()})
    machine.push(
        "[Unit]\nRequires=required.service\nAfter=required.service\n"
        "[Service]\nExecStart=/bin/sleep infinity\n",
        "/etc/systemd/system/hostapp.service",
    )
    machine.sh("systemctl daemon-reload; systemctl start hostapp.service")
    one.fail({"required.container": container(BAD)})
    assert active(machine, "required.service", "hostapp.service") == ["active"] * 2
    before = pid(machine, "systemd-required")
    machine.run("leger", "service", "restart", "required")
    assert active(machine, "required.service", "hostapp.service") == ["active"] * 2
    assert pid(machine, "systemd-required") != before
    machine.sh("systemctl stop hostapp.service; rm /etc/systemd/system/hostapp.service")
    one.remove()


def test_a_network_that_something_else_uses_is_told(shared_machine: Machine) -> None:
    machine = shared_machine
    one = Deployed(machine, "shared")
    tree = {"shared.container": container("Network=shared.network")}
    one.install(tree | {"shared.network": "[Network]\nNetworkName=shared\n"})
    other = ("run", "-d", "--rm", "--name=other", "--network=shared", "--init")
    machine.run("podman", *other, "localhost/hello:1", "sleep", "infinity")
    one.commit(tree | {"shared.network": "[Network]\nNetworkName=shared\nLabel=new=1\n"})
    done = machine.run("leger", "deploy", "update", "shared", timeout=120)
    assert "warning: the network shared stays as it was: " in done.stderr
    assert active(machine, "shared.service", "shared-network.service") == ["active"] * 2
    machine.run("podman", "rm", "-f", "-t", "0", "other")
    one.remove()


def test_a_restart_that_is_killed_goes_on_by_itself(shared_machine: Machine) -> None:
    machine = shared_machine
    one = Deployed(machine, "slow")
    stop = ("ExecStop=/bin/sleep 3",)
    one.install({"slow.pod": "[Pod]\n", "slow.container": container("Pod=slow.pod", service=stop)})
    before = pid(machine, "systemd-slow")
    with machine.spawn("leger", "service", "restart", "slow") as command:
        machine.sh(f"until test -e {SWITCH}; do sleep 0.1; done", timeout=30)
        time.sleep(0.5)
        machine.sh("systemctl kill -s KILL 'leger-[0-9]*.service'")
        command.wait(30)
    machine.sh(f"until ! test -e {SWITCH}; do sleep 0.1; done", timeout=60)
    assert active(machine, "slow.service", "slow-pod.service") == ["active"] * 2
    assert pid(machine, "systemd-slow") != before
    assert is_well(machine)
    one.remove()
