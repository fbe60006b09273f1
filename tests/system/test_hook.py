"""The hook in a machine: real legerd, real podman, and what an administrator reads."""

from __future__ import annotations

import json
import time

import pytest
from machine import Machine
from system.compiled import Plan, container, show, start, write
from system.hooked import (
    db_plan,
    held,
    hook,
    names,
    put,
    seen,
    status,
)


@pytest.fixture
def machine(leger_machine: Machine) -> Machine:
    leger_machine.run("systemctl", "start", "podman.socket")
    return leger_machine


def test_a_container_reads_its_secret_and_the_new_one_after_a_restart(machine: Machine) -> None:
    """T6: podman.socket is off by default; the drop-in pulls it in."""
    machine.run("systemctl", "stop", "podman.socket")
    machine.run("mkdir", "/srv/out")
    put(machine, "web/db", "first")
    start(machine, db_plan(), "web.service")
    assert seen(machine) == "first"
    assert show(machine, "podman.socket", "ActiveState") == {"ActiveState": "active"}
    put(machine, "web/db", "second")
    machine.run("leger", "secrets", "activate", "web/db", "2")
    machine.run("rm", "/srv/out/seen")
    machine.run("systemctl", "restart", "web.service", timeout=90)
    assert seen(machine) == "second"


def test_legerd_down(machine: Machine) -> None:
    """What is there serves with a warning; what never was fails, and status says what to do."""
    machine.run("mkdir", "/srv/out")
    put(machine, "web/db", "value")
    write(machine, db_plan())
    plan = Plan(
        quadlets={
            **db_plan().quadlets,
            "new.container": container("Secret=never", name="new"),
        },
        hooks={**db_plan().hooks, "new.service": ["never=web/never"]},
    )
    start(machine, plan, "web.service")
    machine.sh(
        "systemctl stop legerd.socket legerd-users.socket legerd.service;"
        "systemctl mask --runtime legerd.socket legerd.service"
    )
    machine.run("systemctl", "restart", "web.service", timeout=90)
    assert "leger: warning: secret db: legerd cannot be reached" in status(machine)
    assert machine.run("systemctl", "start", "new.service", check=False).code != 0
    line = "leger: error: secret never: legerd cannot be reached"
    assert line in status(machine, "new.service")
    assert "run: systemctl status legerd" in status(machine, "new.service")


def test_what_failed_for_want_of_legerd_starts_when_it_is_back(machine: Machine) -> None:
    """T27; but not what somebody dealt with meanwhile."""
    put(machine, "web/db", "value")
    unit = "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/usr/bin/true\n"
    units = {"one.service": unit, "two.service": unit}
    write(machine, Plan(units=units, hooks={name: ["db=web/db"] for name in units}))
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "stop", "legerd.socket", "legerd-users.socket", "legerd.service")
    machine.run("systemctl", "mask", "--runtime", "legerd.socket", "legerd.service")
    assert machine.run("systemctl", "start", *units, check=False).code != 0
    assert machine.run("ls", "/run/leger/waiting").stdout.split() == list(units)
    machine.run("systemctl", "reset-failed", "two.service")
    machine.run("systemctl", "unmask", "--runtime", "legerd.socket", "legerd.service")
    machine.run("systemctl", "start", "legerd.service")
    end = time.monotonic() + 30
    while time.monotonic() < end and show(machine, "one.service", "ActiveState") != {
        "ActiveState": "active"
    }:
        time.sleep(0.2)
    assert show(machine, "one.service", "ActiveState") == {"ActiveState": "active"}
    assert show(machine, "two.service", "ActiveState") == {"ActiveState": "inactive"}
    assert machine.run("ls", "/run/leger/waiting").stdout == ""


def test_a_legerd_that_accepts_and_never_answers(machine: Machine) -> None:
    """T27: within its own deadline, far below the unit's TimeoutStartSec."""
    put(machine, "web/db", "value")
    hook(machine, "db=web/db")
    machine.run("systemctl", "kill", "--signal=STOP", "legerd.service")
    began = time.monotonic()
    done = hook(machine, "db=web/db")
    assert "leger: warning: secret db: legerd cannot be reached (no answer" in done.stderr
    failed = hook(machine, "db=web/db", "other=web/db", check=False)
    assert failed.code == 1
    assert time.monotonic() - began < 20
    machine.run("systemctl", "kill", "--signal=CONT", "legerd.service")
    assert hook(machine, "other=web/db").stderr == ""


def test_a_stopped_legerd_is_started_by_its_socket(machine: Machine) -> None:
    """T19: the socket's folder stays when the service stops."""
    put(machine, "web/db", "value")
    machine.run("systemctl", "stop", "legerd.service")
    assert hook(machine, "db=web/db").stderr == ""
    assert show(machine, "legerd.service", "ActiveState") == {"ActiveState": "active"}


BAD = {
    "db=web/wrong": "legerd has no web/wrong; run: leger secrets set web/wrong -",
    "db=web/db:7": "legerd has no version 7 of web/db; run: leger secrets info web/db",
    "db=web/empty": "the value of web/empty is empty",
    "db=web/big": "the value of web/big has 614400 bytes, Podman takes at most 511999",
}


def test_one_clear_line_each_in_systemctl_status(machine: Machine) -> None:
    machine.run("mkdir", "/srv/out")
    put(machine, "web/db", "value")
    machine.sh(
        "leger secrets set web/empty - </dev/null;"
        "head -c 614400 /dev/zero | tr '\\0' x | leger secrets set web/big -"
    )
    for number, (words, line) in enumerate(BAD.items()):
        write(machine, db_plan(words=words))
        machine.run("systemctl", "daemon-reload")
        machine.sh("systemctl reset-failed web.service 2>/dev/null || true")
        assert machine.run("systemctl", "start", "web.service", check=False).code != 0, number
        assert f"leger: error: secret db: {line}" in status(machine)


def test_a_secret_of_somebody_else_is_refused(machine: Machine) -> None:
    machine.run("podman", "secret", "create", "db", "-", input="theirs")
    put(machine, "web/db", "ours")
    done = hook(machine, "db=web/db", check=False)
    assert done.code == 1
    assert "Leger did not make" in done.stderr
    assert held(machine, "db") == "theirs"


def test_instances_and_the_units_own_lines(machine: Machine) -> None:
    """T26: %i works, the variable of the unit's own line stays, the hook runs first."""
    put(machine, "web/a", "value of a")
    put(machine, "web/b", "value of b")
    machine.push(
        "[Service]\n"
        "Environment=GREETING=hello\n"
        "ExecStartPre=/bin/sh -c 'podman secret exists db-%i && echo $GREETING >/srv/%i'\n"
        "[Container]\nImage=localhost/hello:1\n"
        "Secret=db-%i,type=env,target=DB\n"
        "Exec=/bin/sh -c \"trap 'exit 0' TERM; while :; do sleep 0.1; done\"\n"
        "StopTimeout=2\n",
        "/var/lib/leger/store/app-1/app@.container",
    )
    plan = Plan(quadlets={"empty.volume": "[Volume]\n"}, hooks={"app@.service": ["db-%i=web/%i"]})
    start(machine, plan, "app@a.service", "app@b.service")
    for instance in "ab":
        assert held(machine, f"db-{instance}") == f"value of {instance}"
        assert machine.pull(f"/srv/{instance}") == b"hello\n"
    environment = machine.run("podman", "exec", "systemd-app_a", "sh", "-c", "echo $DB")
    assert environment.stdout == "value of a\n"


def test_a_kube_gets_a_whole_kubernetes_secret(machine: Machine) -> None:
    """T25: composed of one legerd secret a key, before the pods are made."""
    put(machine, "web/user", "admin")
    put(machine, "web/pass", "p\u00e4ss")
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "kube"},
        "spec": {
            "containers": [
                {
                    "name": "app",
                    "image": "localhost/hello:1",
                    "command": ["/bin/sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.1; done"],
                    "env": [
                        {
                            "name": "PASSWORD",
                            "valueFrom": {"secretKeyRef": {"name": "login", "key": "pass"}},
                        }
                    ],
                    "volumeMounts": [{"name": "login", "mountPath": "/login"}],
                }
            ],
            "volumes": [{"name": "login", "secret": {"secretName": "login"}}],
        },
    }
    plan = Plan(
        quadlets={"app.kube": "[Kube]\nYaml=./pod.yaml\n", "pod.yaml": json.dumps(pod)},
        hooks={"app.service": ["login/user=web/user", "login/pass=web/pass"]},
    )
    start(machine, plan, "app.service")
    inside = machine.run(
        "podman", "exec", "kube-app", "sh", "-c", "echo $PASSWORD; cat /login/user"
    )
    assert inside.stdout == "p\u00e4ss\nadmin"
    assert hook(machine, "login/user=web/user", "login/pass=web/pass").stderr == ""
    machine.run("systemctl", "stop", "app.service", timeout=90)


def test_hooks_that_start_together(machine: Machine) -> None:
    """Twelve units share one secret and start at once, legerd down to its socket."""
    put(machine, "web/db", "value")
    machine.run("systemctl", "stop", "legerd.service", "podman.service")
    units = {
        f"u{n}.service": "[Service]\nType=oneshot\nRemainAfterExit=yes\n"
        "ExecStart=/bin/sh -c 'podman secret inspect --showsecret db | grep -q value'\n"
        for n in range(12)
    }
    plan = Plan(
        units=units, hooks={unit: ["db=web/db", f"own-{unit[:-8]}=web/db"] for unit in units}
    )
    start(machine, plan, *units)
    assert len(names(machine)) == 13


def test_a_users_units_have_their_own_podman_and_socket(machine: Machine) -> None:
    """T20: at boot as well, without a long wait; identity is the uid."""
    machine.add_user("anna")
    machine.push(
        "rules:\n- user: anna\n  action: [get]\n  secret: [anna/*]\n", "/etc/leger/policy.yaml"
    )
    put(machine, "anna/db", "hers")
    put(machine, "web/db", "not hers")
    machine.sh("systemctl reload legerd.service")
    hook(machine, "--user", "db=anna/db", user="anna", check=False)
    denied = hook(machine, "--user", "x=web/db", user="anna", check=False)
    assert denied.code == 1
    assert "legerd does not let uid" in denied.stderr
    machine.run("systemctl", "--user", "start", "podman.socket", user="anna")
    assert hook(machine, "--user", "db=anna/db", user="anna").stderr == ""
    assert held(machine, "db", user="anna") == "hers"
    unit = "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/usr/bin/true\n"
    plan = Plan(
        units={"one.service": unit},
        links={"default.target.wants/one.service": "../one.service"},
        hooks={"one.service": ["db=anna/db", "late=anna/db"]},
    )
    write(machine, plan, user="anna")
    machine.run("systemctl", "--user", "mask", "--quiet", "leger-settle.service", user="anna")
    machine.sync()
    machine.cut()
    machine.start()
    end = time.monotonic() + 30
    while time.monotonic() < end:
        state = machine.run(
            "systemctl", "--user", "is-active", "one.service", user="anna", check=False
        )
        if state.stdout.strip() != "activating":
            break
        time.sleep(0.2)
    assert state.stdout.strip() == "active"
    assert held(machine, "late", user="anna") == "hers"


def test_with_user_in_a_system_unit_the_policy_for_that_user_counts(machine: Machine) -> None:
    """The hook runs as that user: users.sock and that user's Podman, as podman itself does."""
    machine.run("useradd", "--create-home", "bert")
    unit = "[Service]\nType=oneshot\nUser=bert\nExecStart=/usr/bin/true\n"
    write(machine, Plan(units={"one.service": unit}, hooks={"one.service": ["db=web/db"]}))
    machine.run("systemctl", "daemon-reload")
    assert machine.run("systemctl", "start", "one.service", check=False).code != 0
    line = "leger: error: secret db: legerd does not let uid"
    assert line in status(machine, "one.service")


def test_with_user_in_a_system_unit_root_notes_what_it_gets(machine: Machine) -> None:
    machine.add_user("bert")
    machine.push(
        "rules:\n- user: bert\n  action: [get]\n  secret: [web/*]\n", "/etc/leger/policy.yaml"
    )
    put(machine, "web/db", "value")
    machine.sh("systemctl reload legerd.service")
    machine.run("systemctl", "--user", "start", "podman.socket", user="bert")
    unit = "[Service]\nType=oneshot\nUser=bert\nExecStart=/usr/bin/true\n"
    write(machine, Plan(units={"one.service": unit}, hooks={"one.service": ["db=web/db"]}))
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "start", "one.service")
    assert held(machine, "db", user="bert") == "value"
    assert names(machine) == []
    form = '{{index .Spec.Labels "io.leger.tag"}}'
    argv = ("podman", "secret", "inspect", "--format", form, "db")
    tag = machine.run(*argv, user="bert").stdout.strip()
    assert json.loads(machine.pull("/run/leger/started/one.service")) == {"db": tag}
    assert machine.sh("stat -c %U /run/leger/started/one.service").stdout == "root\n"
