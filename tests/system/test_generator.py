"""The generator under real systemd: at boot and at daemon-reload, whatever is broken."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable

import pytest
from machine import Machine
from system.compiled import QUADLET, Plan, container, note, reload, show, start, write

SLEEPER = "[Service]\nExecStart=/usr/bin/sleep infinity\n"
LINKS = {
    "multi-user.target.wants/one.service": "../one.service",
    "multi-user.target.wants/two.service": "../two.service",
}
PLAN = Plan(
    units={
        "one.service": SLEEPER,
        "two.service": SLEEPER,
        "one.service.d/10-x.conf": "[Unit]\nDescription=from a drop-in\n",
    },
    links=LINKS,
)
KEPT = "recorded units are kept"
DISTURB = {
    "missing": "rm units.json",
    "empty": ": >units.json",
    "truncated": "truncate -s -9 units.json",
    "binary": "head -c 100000 /bin/sh >units.json",
    "huge": "truncate -s 200M units.json",
    "future": """sed -i '1s/"format":1/"format":2/' units.json""",
    "a pipe": "rm units.json; mkfifo units.json",
}


@pytest.fixture
def machine(leger_machine: Machine) -> Machine:
    return leger_machine


def active(machine: Machine, *units: str) -> list[str]:
    return machine.run("systemctl", "is-active", *units, check=False).stdout.split()


def problems(machine: Machine) -> list[str]:
    found = note(machine)["problems"]
    assert isinstance(found, list)
    return found


def emitting(machine: Machine) -> str:
    return machine.sh("cat /run/systemd/generator/one.service 2>/dev/null", check=False).stdout


def test_units_drop_ins_and_links_at_reload_and_boot(machine: Machine) -> None:
    start(machine, PLAN)
    assert show(machine, "one.service", "Description") == {"Description": "from a drop-in"}
    assert (
        "/run/systemd/generator/one.service"
        in machine.run("systemctl", "cat", "one.service").stdout
    )
    machine.sync()
    machine.cut()
    machine.start()
    assert active(machine, "one.service", "two.service") == ["active", "active"]
    assert note(machine)["source"] == "units.json"
    assert note(machine)["problems"] == []


def test_a_broken_units_json_loses_no_unit_and_stops_no_boot(machine: Machine) -> None:
    """Each way at a reload (the last good copy serves), then one after another at boots."""
    start(machine, PLAN, "one.service")
    process = show(machine, "one.service", "MainPID")
    machine.sh("cd /etc/leger; cp units.json good; cp units.json units.json.prev")
    for how, script in DISTURB.items():
        machine.sh(f"cd /etc/leger; rm -f units.json; cp good units.json; {script}")
        began = time.monotonic()
        reload(machine)
        assert time.monotonic() - began < 15, how
        assert emitting(machine) == SLEEPER, how
        assert note(machine)["source"] == "last-good", how
        assert show(machine, "one.service", "MainPID") == process, how
        assert "emitting generation 1 from last-good instead" in problems(machine), how
    for how in ("missing", "binary", "a pipe"):
        machine.sh(f"cd /etc/leger; rm -f units.json; cp good units.json; {DISTURB[how]}; sync")
        machine.cut()
        assert machine.start() == "running", how
        assert active(machine, "one.service", "two.service") == ["active", "active"], how
        assert note(machine)["source"] == "prev", how


def test_without_any_plan_the_machine_boots_silently(machine: Machine) -> None:
    reload(machine)
    assert machine.run("ls", "/run/leger").stdout == ""
    assert "leger-generator" not in machine.journal()


def test_what_it_says_is_in_the_kernels_log(machine: Machine) -> None:
    """The machine shares its host's kernel, so that it has no /dev/kmsg unless it makes one."""
    generation = secrets.randbelow(10**12)
    machine.sh("mknod /dev/kmsg c 1 11")
    write(machine, Plan(units={"one.service": SLEEPER}, generation=generation))
    reload(machine)
    machine.sh(": >/etc/leger/units.json")
    reload(machine)
    lines = machine.run("dmesg", "--raw").stdout.splitlines()
    ours = [line for line in lines if str(generation) in line]
    assert len(ours) == 1
    assert f"leger-generator: emitting generation {generation} from last-good instead" in ours[0]


def test_a_bad_entry_is_reported_and_taken_from_an_older_copy(machine: Machine) -> None:
    write(machine, PLAN)
    machine.sh(
        r"""cat >/srv/spoil.py <<'P'
import json, hashlib
path = "/etc/leger/units.json"
body = json.loads(open(path).read().split("\n")[1])
body["files"]["one.service"] = 5
body["files"]["../../../run/escaped.service"] = {"text": "", "deployment": "app"}
line = json.dumps(body)
digest = hashlib.blake2b(line.encode(), digest_size=32).hexdigest()
open(path, "w").write(json.dumps({"format": 1, "blake2b": digest}) + "\n" + line + "\n")
P
python3 /srv/spoil.py"""
    )
    reload(machine)
    assert emitting(machine) == SLEEPER
    assert "one.service: taken from last-good" in problems(machine)
    assert show(machine, "two.service", "LoadState") == {"LoadState": "loaded"}
    assert machine.run("test", "-e", "/run/escaped.service", check=False).code == 1
    assert "/etc/leger/units.json: file 'one.service': not an object" in problems(machine)


def mask_podmans_own_generator(machine: Machine) -> None:
    """It is the same binary, and would hang the reload itself."""
    machine.sh(
        "mkdir -p /etc/systemd/system-generators\n"
        "ln -sf /dev/null /etc/systemd/system-generators/podman-system-generator"
    )


def replace_quadlet(machine: Machine, script: str) -> None:
    machine.sh(
        f"mv {QUADLET} {QUADLET}.real; printf '%s\\n' '#!/bin/sh' {script!r} >{QUADLET};"
        f" chmod +x {QUADLET}"
    )


def test_a_hanging_quadlet_holds_up_neither_reload_nor_boot(machine: Machine) -> None:
    mask_podmans_own_generator(machine)
    start(machine, Plan(quadlets={"web.container": container()}), "web.service")
    replace_quadlet(machine, "sleep 3600 & wait")
    began = time.monotonic()
    reload(machine)
    assert time.monotonic() - began < 10
    assert active(machine, "web.service") == ["active"]
    assert problems(machine) == [f"{QUADLET}: it did not end in time, killed: {KEPT}"]
    assert machine.run("pgrep", "-f", "^sleep 3600", check=False).code == 1
    machine.sync()
    machine.cut()
    assert machine.start() == "running"
    assert active(machine, "web.service") == ["active"]
    assert note(machine)["rendered"] is False


def test_another_quadlet_renders_the_units_afresh(machine: Machine) -> None:
    plan = Plan(
        quadlets={"web.container": container("Secret=db")}, hooks={"web.service": ["db=web/db"]}
    )
    start(machine, plan)
    replace_quadlet(
        machine, f'{QUADLET}.real "$@"; for u in $3/*.service; do echo "# other" >>$u; done'
    )
    for again in (False, True):
        if again:
            machine.sync()
            machine.cut()
            machine.start()
        else:
            reload(machine)
        text = machine.pull("/run/systemd/generator/web.service").decode()
        assert text.endswith("# other\n")
        assert "SourcePath=/var/lib/leger/store/app-1/web.container" in text
        assert note(machine)["rendered"] is True
        hook = show(machine, "web.service", "ExecStartPre")["ExecStartPre"]
        assert "secrets-hook" in hook
    left = machine.run("ls", "-A", "/run/leger").stdout.split()
    assert left == ["emitted.json", "started", "units.json"]  # the hook's notes, nothing half made


def test_a_store_that_is_mounted_later_keeps_the_recorded_units(machine: Machine) -> None:
    """A separate /var/lib/leger: not there when the generators run, there when units start."""
    machine.sh(
        "mkdir -p /srv/elsewhere; mount --bind /srv/elsewhere /var/lib/leger\n"
        "echo '/srv/elsewhere /var/lib/leger none bind 0 0' >>/etc/fstab"
    )
    start(machine, Plan(quadlets={"web.container": container()}), "web.service")
    replace_quadlet(machine, f'exec {QUADLET}.real "$@"')
    machine.sync()
    machine.cut()
    machine.start()
    assert active(machine, "web.service") == ["active"]
    assert machine.run("findmnt", "/var/lib/leger").code == 0
    assert note(machine)["rendered"] is False
    assert problems(machine) == [f"quadlet was replaced and the store is not there: {KEPT}"]
    reload(machine)
    assert note(machine)["rendered"] is True


def test_a_new_tree_of_the_same_content_leaves_the_container_alone(machine: Machine) -> None:
    """T31: the text moved to another tree; the next restart mounts that one."""
    files = {"web.container": container("Volume=./conf:/conf:ro"), "conf/a": "content\n"}
    start(machine, Plan(quadlets=files), "web.service")
    before = show(machine, "web.service", "MainPID")
    start(machine, Plan(quadlets=files, tree="app-2", generation=2))
    assert show(machine, "web.service", "MainPID", "NeedDaemonReload") == {
        **before,
        "NeedDaemonReload": "no",
    }
    machine.run("systemctl", "restart", "web.service", timeout=90)
    mounts = machine.run("podman", "inspect", "--format", "{{json .Mounts}}", "web").stdout
    assert "/var/lib/leger/store/app-2/conf" in mounts
    machine.run("systemctl", "stop", "web.service", timeout=90)
    assert machine.run("podman", "ps", "-aq").stdout == ""


def test_a_users_manager_has_its_own_plan(machine: Machine) -> None:
    machine.add_user("anna")
    wants = {"default.target.wants/one.service": "../one.service"}
    plan = Plan(units={"one.service": SLEEPER}, links=wants, generation=3)
    write(machine, plan, user="anna")
    machine.run("systemctl", "--user", "mask", "--quiet", "leger-settle.service", user="anna")
    machine.run("systemctl", "--user", "daemon-reload", user="anna")
    cat = machine.run("systemctl", "--user", "cat", "one.service", user="anna").stdout
    assert "sleep infinity" in cat
    assert machine.run("systemctl", "cat", "one.service", check=False).code != 0
    machine.sync()
    machine.cut()
    machine.start()
    state = machine.run("systemctl", "--user", "is-active", "one.service", user="anna")
    assert state.stdout.strip() == "active"
    machine.sh(": >/home/anna/.config/leger/units.json")
    machine.run("systemctl", "--user", "daemon-reload", user="anna")
    cat = machine.run("systemctl", "--user", "cat", "one.service", user="anna").stdout
    assert "sleep infinity" in cat
    assert "leger-generator: " in machine.journal()


def test_ten_units_cost_a_boot_next_to_nothing(
    machine: Machine, record_property: Callable[[str, object], None]
) -> None:
    """No figure is judged here (bench/ does); what a boot says about generators is recorded."""
    write(machine, Plan(units={f"u{n}.service": SLEEPER for n in range(10)}))
    machine.sync()
    machine.cut()
    machine.start()
    assert note(machine)["problems"] == []
    record_property("boot", machine.run("systemd-analyze", "time", check=False).stdout.strip())
