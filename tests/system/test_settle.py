"""What leger-settle.service and the next command mend after cuts, kills and a reset /etc."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import pytest
from machine import Machine
from system.application import IMAGE, commit

SETTLED = """
until [ "$(systemctl show -P ActiveState leger-settle.service)" != activating ] &&
    ! systemctl list-jobs --no-legend | grep -q .
do sleep 0.1; done
"""
REPOSITORY = "/srv/app"


def container(name: str, *lines: str, program: str = "sleep infinity") -> str:
    return "\n".join(
        [
            "[Container]",
            f"Image={IMAGE}",
            f"ContainerName={name}",
            f"Exec={program}",
            "RunInit=true",
            "StopTimeout=1",
            *lines,
            "[Install]",
            "WantedBy=multi-user.target",
            "",
        ]
    )


def tree(version: int, quiet: str = "200ms", **more: str) -> dict[str, str]:
    return {
        ".leger.yaml": f"health: {{timeout: 30s, quiet: {quiet}}}\n",
        "alpha.container": container("alpha", f"Environment=VERSION={version}"),
        "beta.container": container("beta"),
    } | more


@pytest.fixture
def app(leger_machine: Machine) -> Machine:
    """Version 1 runs."""
    commit(leger_machine, tree(1), REPOSITORY)
    leger_machine.run("leger", "deploy", "install", "app", REPOSITORY, timeout=120)
    leger_machine.sync()
    return leger_machine


def version(machine: Machine) -> str:
    shown = machine.run("podman", "exec", "alpha", "env", check=False).stdout
    return next((line for line in shown.splitlines() if line.startswith("VERSION=")), "")


def status(machine: Machine) -> dict[str, object]:
    found = json.loads(machine.run("leger", "status", "--json").stdout)
    assert isinstance(found, dict)
    return found


def boot(machine: Machine) -> None:
    assert machine.start() in ("running", "degraded")
    machine.sh(SETTLED, timeout=120)


def wait(condition: Callable[[], bool], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.05)


def test_units_json_that_was_reset_with_etc_comes_back(app: Machine) -> None:
    """Trap 29: /etc is rolled back or transient; `current` decides."""
    app.sh("rm -r /etc/leger/units.json* /etc/leger/deployments.d; sync")
    app.cut()
    boot(app)
    assert app.run("leger", "sync").stdout == "nothing new\n"
    app.run("systemctl", "is-active", "alpha.service", "beta.service")
    assert status(app)["problems"] == []


def test_a_new_deployment_where_all_definitions_are_gone_stops_no_other(app: Machine) -> None:
    before = app.run("podman", "ps", "-q").stdout.split()
    quadlet = container("gamma").replace("WantedBy=multi-user.target", "")
    commit(app, {"gamma.container": quadlet}, "/srv/new")
    for lost in ("deployments.d", "deployments.d/new.yaml"):
        app.sh(f"rm -r /etc/leger/{lost}")
        app.run("leger", "deploy", "install", "new", "/srv/new")
        assert app.run("leger", "sync").stdout == "nothing new\n"
    assert app.run("podman", "ps", "-q").stdout.split() == before


def test_an_older_units_json_is_replaced_and_its_units_are_restarted(app: Machine) -> None:
    app.sh("cp -a /etc/leger /root/before")
    commit(app, tree(2), REPOSITORY)
    app.run("leger", "deploy", "update", "app")
    app.sh("rm -r /etc/leger; cp -a /root/before /etc/leger; sync")
    app.cut()
    boot(app)
    assert version(app) == "VERSION=2"


def test_a_restored_etc_is_mended_by_the_next_command_too(app: Machine) -> None:
    app.sh("rm -f /etc/leger/units.json /etc/leger/units.json.prev /run/leger/*")
    app.sh("systemctl daemon-reload; systemctl stop beta.service")
    assert app.run("systemctl", "show", "-P", "LoadState", "beta").stdout == "not-found\n"
    app.run("leger", "deploy", "update", "app")
    app.run("systemctl", "is-active", "alpha.service", "beta.service")


def test_without_a_bus_it_is_mended_by_systemctl(app: Machine) -> None:
    """Traps 16 and 17: early in a boot there is no bus; what was not loaded is not running."""
    app.sh("rm -f /etc/leger/units.json /etc/leger/units.json.prev /run/leger/*")
    app.sh("systemctl daemon-reload; systemctl stop alpha.service beta.service")
    bus = "/run/dbus/system_bus_socket"
    settled = app.sh(f"mv {bus} {bus}.aside; leger settle; mv {bus}.aside {bus}", timeout=120)
    assert settled.code == 0, settled.stderr
    app.run("systemctl", "is-active", "alpha.service", "beta.service")
    assert version(app) == "VERSION=1"


def test_without_the_generators_note_nothing_that_runs_is_touched(app: Machine) -> None:
    before = app.run("podman", "inspect", "-f", "{{.State.Pid}}", "alpha", "beta").stdout
    app.sh("rm -r /run/leger")
    app.run("leger", "deploy", "update", "app")
    assert app.run("podman", "inspect", "-f", "{{.State.Pid}}", "alpha", "beta").stdout == before
    assert status(app)["problems"] == []


def test_a_lost_var_is_filled_again(app: Machine) -> None:
    app.sh("rm -r /var/lib/leger; mkdir -m 700 /var/lib/leger")
    assert "leger" in app.run("leger", "status").stderr
    app.run("leger", "deploy", "update", "--all", timeout=120)
    assert version(app) == "VERSION=1"
    assert status(app)["confirmed"] is True


def test_after_var_was_lost_a_bad_commit_goes_back_to_what_ran(app: Machine) -> None:
    app.sh("rm -r /var/lib/leger; mkdir -m 700 /var/lib/leger")
    bad = container("beta", "Volume=/no/such/folder:/x")
    commit(app, tree(2, **{"beta.container": bad}), REPOSITORY)
    done = app.run("leger", "deploy", "update", "app", check=False, timeout=120)
    assert "app went back to what was there before" in done.stderr
    assert version(app) == "VERSION=1"
    app.run("systemctl", "is-active", "beta.service")
    assert (status(app)["generation"], status(app)["confirmed"]) == (3, True)


def test_killed_before_the_commit_point_what_was_stopped_runs_again(app: Machine) -> None:
    """The network is new in version 2, so that alpha is not merely restarted."""
    named = tree(2) | {"alpha.container": container("gamma", "Environment=VERSION=2")}
    commit(app, named, REPOSITORY)
    app.sh("mkdir -p /run/systemd/system/alpha.service.d; systemctl daemon-reload")
    app.push(
        "[Service]\nExecStop=\nExecStop=/bin/sleep 20\nTimeoutStopSec=25\n",
        "/run/systemd/system/alpha.service.d/slow.conf",
    )
    app.run("systemctl", "daemon-reload")
    with app.spawn("leger", "deploy", "update", "app") as command:
        wait(lambda: app.run("test", "-e", "/var/lib/leger/switch.json", check=False).code == 0)
        app.sh("systemctl kill -s KILL 'leger-[0-9]*.service'")
        command.wait(30)
    app.sh("rm -r /run/systemd/system/alpha.service.d; systemctl daemon-reload")
    app.run("systemctl", "kill", "-s", "KILL", "--kill-whom=control", "alpha.service", check=False)
    settled = app.run("leger", "settle", timeout=120)
    assert version(app) == "VERSION=1", f"{settled.stdout}{app.journal('-u', 'alpha.service')}"
    assert status(app)["generation"] == 1
    app.run("leger", "deploy", "update", "app", timeout=120)
    assert "VERSION=2" in app.run("podman", "exec", "gamma", "env").stdout


def test_killed_after_the_commit_point_it_goes_on_by_itself(app: Machine) -> None:
    commit(app, tree(2, quiet="5s"), REPOSITORY)
    with app.spawn("leger", "deploy", "update", "app") as command:
        wait(lambda: b'"generation":2' in app.pull("/etc/leger/units.json"))
        app.sh("systemctl kill -s KILL 'leger-[0-9]*.service'")
        command.wait(30)
    wait(lambda: status(app)["confirmed"] is True, 120)
    assert version(app) == "VERSION=2"


def test_a_generation_that_fails_after_a_cut_is_taken_back(app: Machine) -> None:
    """Not confirmed when the power went, and it does not come up in the next boot."""
    app.sh("mkdir -p /run/only-now")
    bad = container("beta", "Volume=/run/only-now:/x")
    commit(app, tree(2, quiet="60s", **{"beta.container": bad}), REPOSITORY)
    with app.spawn("leger", "deploy", "update", "app"):
        wait(lambda: version(app) == "VERSION=2")
        time.sleep(1)
        app.cut()
    boot(app)
    assert version(app) == "VERSION=1"
    app.run("systemctl", "is-active", "beta.service")
    assert status(app)["confirmed"] is True


def test_a_shutdown_in_the_quiet_time_blames_nobody(app: Machine) -> None:
    """Trap 18: what a stopping manager cancels says nothing about the commit."""
    commit(app, tree(2, quiet="15s"), REPOSITORY)
    with app.spawn("leger", "deploy", "update", "app"):
        wait(lambda: version(app) == "VERSION=2")
        app.stop()
    boot(app)
    assert version(app) == "VERSION=2"
    wait(lambda: status(app)["confirmed"] is True, 90)
    manifest = json.loads(app.pull("/var/lib/leger/manifests/2.json"))
    assert manifest["bad"] == ""


def test_a_boot_with_nothing_to_mend_changes_nothing(app: Machine) -> None:
    app.reboot()
    app.sh(SETTLED, timeout=120)
    assert app.journal("-u", "leger-settle.service", "_COMM=leger") == ""
    assert status(app)["generation"] == 1


def test_rolling_back_brings_an_earlier_generation_again(app: Machine) -> None:
    commit(app, tree(2), REPOSITORY)
    app.run("leger", "deploy", "update", "app")
    assert version(app) == "VERSION=2"
    beta = app.run("podman", "inspect", "-f", "{{.State.Pid}}", "beta").stdout
    app.run("leger", "rollback")
    assert version(app) == "VERSION=1"
    assert app.run("podman", "inspect", "-f", "{{.State.Pid}}", "beta").stdout == beta
    app.run("leger", "rollback", "2")
    assert version(app) == "VERSION=2"
    history = json.loads(app.run("leger", "history", "--json").stdout)
    assert [row["why"] for row in history] == [
        "deploy app",
        "deploy app",
        "roll back to generation 1",
        "roll back to generation 2",
    ]
    assert [row["current"] for row in history] == [False, False, False, True]
    assert app.run("leger", "rollback", "99", check=False).code == 1


def test_a_full_disk_is_told_and_changes_nothing(app: Machine) -> None:
    app.sh(
        "cp -a /var/lib/leger /root/state\n"
        "mount -t tmpfs -o size=4M,mode=700 tmpfs /var/lib/leger\n"
        "cp -a /root/state/. /var/lib/leger; dd if=/dev/zero of=/var/lib/leger/fill || true"
    )
    commit(app, tree(2), REPOSITORY)
    done = app.run("leger", "deploy", "update", "app", check=False)
    assert done.code == 1
    assert "leger: error: " in done.stderr
    assert "Traceback" not in done.stderr
    assert version(app) == "VERSION=1"
    app.sh("rm /var/lib/leger/fill")
    app.run("leger", "deploy", "update", "app")
    assert version(app) == "VERSION=2"


def test_a_generation_that_never_was_is_not_rolled_back_to(app: Machine) -> None:
    """Killed after its files were written and before switch.json was."""
    commit(app, tree(2), REPOSITORY)
    app.run("leger", "deploy", "update", "app")
    folder = "/var/lib/leger/manifests"
    app.sh(
        f'sed \'s/"number":2/"number":3/\' {folder}/2.json >{folder}/3.json\n'
        f"cp {folder}/2.units.json {folder}/3.units.json"
    )
    app.run("leger", "rollback")
    assert version(app) == "VERSION=1"
    assert len(json.loads(app.run("leger", "history", "--json").stdout)) == 3


def test_what_was_rolled_back_is_not_deployed_again_until_something_new_comes(
    app: Machine,
) -> None:
    commit(app, tree(2), REPOSITORY)
    app.run("leger", "deploy", "update", "app")
    app.run("leger", "rollback", "--deployment", "app")
    assert version(app) == "VERSION=1"
    app.run("leger", "sync", timeout=120)
    assert version(app) == "VERSION=1"
    history = app.run("leger", "history").stdout.splitlines()
    assert "roll back app to generation 1" in history[-2]
    bad = tree(2, **{"beta.container": container("beta", "Volume=/no/such/folder:/x")})
    commit(app, bad, REPOSITORY)
    app.run("leger", "deploy", "update", "app", check=False, timeout=120)
    foreseen = json.loads(app.run("leger", "rollback", "--dry-run", "--json").stdout)
    assert foreseen["deployments"]["app"]["after"]  # not the same once more, which it went back to
    assert history[-1].endswith("change")
    commit(app, tree(3), REPOSITORY)
    app.run("leger", "sync", timeout=120)
    assert version(app) == "VERSION=3"
