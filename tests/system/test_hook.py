"""The hook in a machine: real legerd, real podman, real power cuts."""

from __future__ import annotations

import json
import time

import pytest
from machine import Machine
from machine.command import Result
from system.compiled import Plan, container, show, start, write

HOOK = "/usr/libexec/leger/secrets-hook"
STORE = "/var/lib/containers/storage/secrets"
METADATA = f"{STORE}/secrets.json"
VALUES = f"{STORE}/filedriver/secretsdata.json"
READS = "trap 'exit 0' TERM; cat /run/secrets/db >/out/seen; while :; do sleep 0.1; done"


@pytest.fixture
def machine(leger_machine: Machine) -> Machine:
    leger_machine.run("systemctl", "start", "podman.socket")
    return leger_machine


def put(machine: Machine, name: str, value: str | bytes, *, user: str = "") -> None:
    machine.run("leger", "secrets", "set", name, "-", input=value, user=user)


def hook(machine: Machine, *words: str, user: str = "", check: bool = True) -> Result:
    return machine.run(HOOK, *words, user=user, check=check)


def held(machine: Machine, name: str, *, user: str = "") -> str:
    return machine.run(
        "podman",
        "secret",
        "inspect",
        "--showsecret",
        "--format",
        "{{.SecretData}}",
        name,
        user=user,
    ).stdout.rstrip("\n")


def names(machine: Machine) -> list[str]:
    return sorted(machine.run("podman", "secret", "ls", "--format", "{{.Name}}").stdout.split())


def db_plan(*lines: str, words: str = "db=web/db") -> Plan:
    """A container that writes the secret it was given to /srv/out/seen."""
    quadlet = container("Secret=db", "Volume=/srv/out:/out", *lines, command=READS)
    return Plan(quadlets={"web.container": quadlet}, hooks={"web.service": words.split()})


def seen(machine: Machine) -> str:
    """What the container read; it writes that right after its start."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        found = machine.sh("cat /srv/out/seen 2>/dev/null", check=False)
        if found.code == 0 and found.stdout:
            return found.stdout
        time.sleep(0.1)
    raise AssertionError("the container wrote nothing")


def status(machine: Machine, unit: str = "web.service") -> str:
    return machine.run("systemctl", "status", "--no-pager", unit, check=False).stdout


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


def test_a_cut_right_after_a_replace_leaves_the_new_value(machine: Machine) -> None:
    """Podman itself lost it 3 times of 3; ten cuts here, one after another."""
    put(machine, "web/db", "value 0")
    hook(machine, "db=web/db")
    machine.sync()
    for number in range(1, 6):
        put(machine, "web/db", f"value {number}")
        machine.run("leger", "secrets", "activate", "web/db", str(number + 1))
        hook(machine, "db=web/db")
        machine.cut()
        machine.start()
        assert held(machine, "db") == f"value {number}"
        machine.run("systemctl", "start", "podman.socket")


def test_after_a_cut_the_container_comes_up_with_the_new_value(machine: Machine) -> None:
    machine.run("mkdir", "/srv/out")
    put(machine, "web/db", "old")
    start(machine, db_plan(), "web.service")
    assert seen(machine) == "old"
    machine.sync()
    put(machine, "web/db", "new")
    machine.run("leger", "secrets", "activate", "web/db", "2")
    machine.run("rm", "/srv/out/seen")
    machine.run("systemctl", "restart", "web.service", timeout=90)
    machine.cut()
    machine.start()
    machine.run("rm", "-f", "/srv/out/seen")
    machine.run("systemctl", "restart", "web.service", timeout=90)
    assert seen(machine) == "new"


def test_a_store_that_fell_back_in_a_cut_is_noticed(machine: Machine) -> None:
    """The label says new, the value is old: what a cut makes of Podman's own writes (L22)."""
    put(machine, "web/db", "old")
    hook(machine, "db=web/db")
    machine.sh(f"cp {VALUES} /srv/old")
    put(machine, "web/db", "new")
    machine.run("leger", "secrets", "activate", "web/db", "2")
    hook(machine, "db=web/db")
    machine.sh(
        f"""python3 - <<'P'
import json
new, old = json.load(open("{VALUES}")), json.load(open("/srv/old"))
[key] = new
new[key] = list(old.values())[0]
json.dump(new, open("{VALUES}", "w"))
P"""
    )
    assert held(machine, "db") == "old"
    hook(machine, "db=web/db")
    assert held(machine, "db") == "new"


KILLS = {
    "before its values": (VALUES, 1),
    "before its names": (METADATA, 1),
}


@pytest.mark.parametrize("when", KILLS)
def test_a_killed_writer_of_podman_costs_no_secret_of_ours(machine: Machine, when: str) -> None:
    """T5: after that kill podman reads and makes no secret at all."""
    put(machine, "web/db", "value")
    put(machine, "web/key", "other")
    hook(machine, "db=web/db", "key=web/key")
    machine.run("podman", "secret", "create", "theirs", "-", input="not ours")
    hook(machine, "db=web/db", "key=web/key")
    path, number = KILLS[when]
    machine.run(
        *("strace", "-f", "-qq", "-o", "/dev/null", "-P", path, "-e", "trace=write"),
        *("-e", f"inject=write:signal=SIGKILL:when={number}"),
        *("podman", "secret", "create", "victim", "-"),
        input="x",
        check=False,
    )
    assert held(machine, "db") == ""
    made = machine.run("podman", "secret", "create", "more", "-", input="x", check=False)
    assert "unexpected end of JSON input" in made.stderr
    done = hook(machine, "db=web/db", "key=web/key")
    assert "set aside" in done.stderr
    assert "make them again: theirs" in done.stderr
    assert (held(machine, "db"), held(machine, "key")) == ("value", "other")
    assert names(machine) == ["db", "key"]
    aside = machine.run("ls", STORE, f"{STORE}/filedriver").stdout
    assert aside.count(".broken-") == 2
    assert hook(machine, "db=web/db", "key=web/key").stderr == ""


def test_a_killed_podman_service_leaves_what_the_next_hook_mends(machine: Machine) -> None:
    """The writer is podman.service: killed at random while a hook writes 40 secrets."""
    words = []
    for number in range(40):
        put(machine, f"s/{number}", f"value {number}")
        words.append(f"s{number}=s/{number}")
    for round_ in range(6):
        machine.sh(
            f"""
            {HOOK} {" ".join(words)} 2>/srv/said & hook=$!
            sleep 0.{round_ + 1}5
            systemctl kill --signal=KILL podman.service || true
            wait $hook || true
            podman secret ls -q | xargs -r podman secret rm >/dev/null 2>&1 || true
            """
        )
    hook(machine, *words)
    for number in (0, 17, 39):
        assert held(machine, f"s{number}") == f"value {number}"
    assert names(machine) == sorted(f"s{number}" for number in range(40))


def test_values_that_are_lost_come_back(machine: Machine) -> None:
    """T5: secretsdata.json emptied to {}: labels are shown, podman run fails with 125."""
    put(machine, "web/db", "value")
    hook(machine, "db=web/db")
    machine.sh(f"echo '{{}}' >{VALUES}")
    hook(machine, "db=web/db")
    assert held(machine, "db") == "value"
    assert names(machine) == ["db"]


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
