"""The host's own quadlets that a deployment took over: they come back when it goes back."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from machine import Machine
from system.deployment import Deployed, active, container

FOLDER = "/etc/containers/systemd"
OWN = {
    "own.container": container(
        "Environment=FROM=git", "ContainerName=own", "Volume=/srv/own-data:/data"
    )
}
OTHER = {"other.container": container("ContainerName=other", "Volume=/srv/other-data:/data")}
FAILS = "Volume=/no/such/folder:/x"


@pytest.fixture(scope="module")
def own(shared_machine: Machine) -> Iterator[Deployed]:
    """A host with a quadlet of its own that runs, with a drop-in, and another deployment."""
    machine = shared_machine
    machine.sh("mkdir /srv/own-data /srv/other-data")
    machine.push("keep: {generations: 50}\n", "/etc/leger/config.yaml")
    Deployed(machine, "other").install(OTHER)
    hosts = container("Environment=FROM=host", "ContainerName=own")
    machine.push(hosts, f"{FOLDER}/own.container")
    machine.sh(f"mkdir {FOLDER}/own.container.d")
    machine.push("[Container]\nEnvironment=MORE=1\n", f"{FOLDER}/own.container.d/more.conf")
    machine.sh("systemctl daemon-reload; systemctl start own.service")
    yield Deployed(machine, "own")
    machine.sh(f"systemctl stop own.service; rm -rf {FOLDER}/own.container*")
    for name in ("own", "other"):
        machine.run("leger", "deploy", "remove", name, "--yes", check=False)


def whose(machine: Machine) -> str:
    """Whose unit runs, and what lies in the host's folder."""
    env = machine.run("podman", "exec", "own", "env", check=False).stdout.splitlines()
    said = [line for line in env if line.startswith(("FROM=", "MORE="))]
    files = machine.sh(f"cd {FOLDER}; find -name 'own*' -type f -o -name more.conf").stdout.split()
    return " ".join([*sorted(said), *active(machine, "own.service"), *sorted(files)])


HOSTS = "FROM=host MORE=1 active ./own.container ./own.container.d/more.conf"
GITS = "FROM=git active"


def test_what_was_taken_over_comes_back_and_runs_when_the_deployment_fails(own: Deployed) -> None:
    own.commit({"own.container": container(FAILS, "ContainerName=own")})
    argv = ("leger", "deploy", "install", "own", own.repository, "--adopt")
    assert own.machine.run(*argv, check=False, timeout=120).code != 0
    assert whose(own.machine) == HOSTS


def test_rolling_back_to_before_brings_the_hosts_own_back_and_it_runs(own: Deployed) -> None:
    own.install(OWN, "--adopt")
    assert whose(own.machine) == GITS
    own.install({"own.container": f"{OWN['own.container']}# newer\n"})
    before = own.machine.run("podman", "inspect", "-f", "{{.State.Pid}}", "other").stdout
    foreseen = own.machine.run("leger", "rollback", "1", "--dry-run").stdout
    assert "own.service: the host's own comes back" in foreseen
    own.machine.run("leger", "rollback", "1", timeout=120)
    assert whose(own.machine) == HOSTS
    assert own.machine.run("podman", "inspect", "-f", "{{.State.Pid}}", "other").stdout == before


def test_rolling_forward_takes_it_over_again(own: Deployed) -> None:
    own.machine.run("leger", "rollback", timeout=120)
    assert whose(own.machine) == GITS
    own.machine.run("leger", "rollback", "1", timeout=120)
    assert whose(own.machine) == HOSTS


def test_rolling_forward_to_what_fails_leaves_the_hosts_own(own: Deployed) -> None:
    own.machine.sh("mv /srv/own-data /srv/away")
    done = own.machine.run("leger", "rollback", check=False, timeout=120)
    own.machine.sh("mv /srv/away /srv/own-data")
    assert "own.service failed to start" in done.stderr
    assert whose(own.machine) == HOSTS


def test_rolling_back_to_what_fails_takes_it_over_again(own: Deployed) -> None:
    """The group of the deployment goes back to what was there before the rollback."""
    machine = own.machine
    own.install(OWN, "--adopt")
    needs = f"[Unit]\nRequires=own.service\n{container('ContainerName=other')}"
    Deployed(machine, "other").install({"other.container": needs})
    machine.sh("rm -r /srv/other-data")
    done = machine.run("leger", "rollback", "1", check=False, timeout=120)
    machine.sh("mkdir /srv/other-data")
    assert "other.service failed to start" in done.stderr
    assert whose(machine) == GITS
    assert active(machine, "other.service") == ["active"]


def test_what_was_stopped_comes_back_and_stays_stopped(own: Deployed) -> None:
    machine = own.machine
    machine.run("systemctl", "stop", "own.service")
    machine.run("leger", "rollback", "1", timeout=120)
    assert whose(machine) == HOSTS.replace("FROM=host MORE=1 active", "inactive")
