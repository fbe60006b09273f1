"""Podman's store in a machine: power cuts and kills, and what the hook makes of them."""

from __future__ import annotations

import pytest
from machine import Machine
from system.compiled import start
from system.hooked import (
    HOOK,
    METADATA,
    STORE,
    VALUES,
    db_plan,
    held,
    hook,
    names,
    put,
    seen,
)


@pytest.fixture
def machine(leger_machine: Machine) -> Machine:
    leger_machine.run("systemctl", "start", "podman.socket")
    return leger_machine


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


def test_values_in_another_folder_are_made_durable_as_well(machine: Machine) -> None:
    machine.push(
        '[secrets]\ndriver = "file"\n[secrets.opts]\npath = "/srv/values"\n',
        "/etc/containers/containers.conf.d/50-values.conf",
    )
    machine.run("mkdir", "-m", "0700", "/srv/values")
    machine.run("systemctl", "stop", "podman.service")
    put(machine, "web/db", "value")
    hook(machine, "db=web/db")
    assert "secretsdata.json" in machine.run("ls", "/srv/values").stdout
    machine.run("test", "-e", METADATA)
    machine.cut()
    machine.start()
    assert held(machine, "db") == "value"
    assert hook(machine, "db=web/db").stderr == ""
