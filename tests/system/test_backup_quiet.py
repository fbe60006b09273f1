"""Who is stopped for a backup or restore does not run meanwhile, whatever wants it to."""

from __future__ import annotations

import json

import pytest
from machine import Machine
from system.application import IMAGE, commit

REPOSITORY = "/srv/shop"
DATA = "/var/lib/leger/data/shop/files"
FILES = {
    "db.container": f"""[Container]
Image={IMAGE}
ContainerName=db
Exec=sleep infinity
RunInit=true
StopTimeout=1
Volume=store.volume:/store
Volume=./files:/files
[Service]
SuccessExitStatus=143
[Install]
WantedBy=multi-user.target
""",
    "store.volume": "[Volume]\nVolumeName=store\n",
    "files/.gitkeep": "",
    # It ends without db, and each time that it starts again it wants db.
    "front.service": """[Unit]
Wants=db.service
After=db.service
StartLimitIntervalSec=0
[Service]
ExecStart=/bin/sh -c 'while systemctl is-active --quiet db; do sleep 0.1; done; exit 1'
Restart=always
RestartSec=100ms
[Install]
WantedBy=multi-user.target
""",
    # It writes without a container, and takes its time to stop: front has tried again by then.
    "writer.service": f"""[Service]
ExecStart=/bin/sh -c 'while :; do date +%%s%%N >{DATA}/clock; sleep 0.05; done'
ExecStop=/bin/sh -c 'sleep 1; while [ -e /run/slow ]; do sleep 0.1; done'
[Install]
WantedBy=multi-user.target
""",
    ".leger.yaml": "health: {quiet: 100ms}\n",
}
STARTED = "MESSAGE_ID=39f53479d3a045ac8e11786248231fbf"  # SD_MESSAGE_UNIT_STARTED
UNITS = ("db", "front", "writer")


def write(machine: Machine, value: str) -> None:
    machine.run(
        "podman", "exec", "db", "sh", "-ec", f"echo {value} >/store/f; echo {value} >/files/f"
    )


def read(machine: Machine) -> list[str]:
    return machine.run("podman", "exec", "db", "cat", "/store/f", "/files/f").stdout.split()


def starts(machine: Machine, name: str) -> int:
    """How often the unit has come up, once the journal has its last start, too."""
    unit = f"{name}.service"
    last = machine.run("systemctl", "show", "-P", "InvocationID", unit).stdout.strip()
    query = f"journalctl -b -o json UNIT={unit} {STARTED}"
    machine.sh(f"until {query} | grep -q {last}; do journalctl --sync; sleep 0.1; done", timeout=30)
    return len(machine.sh(query).stdout.splitlines())


def expect_all_up(machine: Machine) -> None:
    machine.sh(
        "for unit in db front writer; do\n"
        "  until systemctl is-active --quiet $unit; do sleep 0.1; done\n"
        "done\n"
        "! systemctl list-units --all --no-legend 'leger-hold-*' | grep -q .",
        timeout=60,
    )


@pytest.fixture(scope="module")
def shop(shared_machine: Machine) -> Machine:
    """A deployment of a container, of what wants it, and of what writes beside it."""
    commit(shared_machine, FILES, REPOSITORY)
    shared_machine.run("leger", "deploy", "install", "shop", REPOSITORY, timeout=120)
    return shared_machine


def test_what_wants_a_stopped_unit_does_not_start_it_during_a_backup(shop: Machine) -> None:
    write(shop, "one")
    before = starts(shop, "db")
    shop.run("leger", "backup", "create", "shop", timeout=60)
    assert starts(shop, "db") == before + 1
    expect_all_up(shop)


def test_what_wants_a_stopped_unit_does_not_start_it_during_a_restore(shop: Machine) -> None:
    write(shop, "two")
    before = starts(shop, "db")
    shop.run("leger", "backup", "restore", "shop", "--yes", timeout=60)
    assert starts(shop, "db") == before + 1
    assert read(shop) == ["one", "one"]
    write(shop, "three")
    shop.run("systemctl", "restart", "db")
    assert read(shop) == ["three", "three"]
    expect_all_up(shop)


def test_what_comes_up_all_the_same_keeps_a_restore_from_replacing_it(shop: Machine) -> None:
    shop.run("touch", "/run/slow")
    with shop.spawn("leger", "backup", "restore", "shop", "--yes") as restore:
        shop.sh("while systemctl is-active --quiet db; do :; done", timeout=60)
        shop.run(
            *("podman", "run", "--detach", "--name", "guest", "-v", "store:/store"),
            *(IMAGE, "sleep", "infinity"),
        )
        shop.run("rm", "/run/slow")
        assert restore.wait() == 1
    shop.run("podman", "rm", "--force", "--time", "0", "guest")
    assert read(shop) == ["three", "three"]
    expect_all_up(shop)


def test_to_pause_stops_what_writes_without_a_container(shop: Machine) -> None:
    before = {name: starts(shop, name) for name in UNITS}
    made = shop.run("leger", "backup", "create", "shop", "--method", "pause", "--json", timeout=60)
    after = {name: starts(shop, name) for name in UNITS}
    assert after == before | {"writer": before["writer"] + 1}
    (backup,) = json.loads(made.stdout)
    assert backup["left_out"] == []
    expect_all_up(shop)


def test_a_killed_backup_holds_nobody(shop: Machine) -> None:
    shop.run("systemctl", "mask", "--runtime", "leger-resume")
    with shop.spawn("leger", "backup", "create", "shop"):
        shop.sh("until systemctl list-jobs | grep -q leger-hold; do :; done", timeout=60)
        shop.sh("systemctl kill -s KILL 'leger-[0-9]*.service'")
    shop.run("systemctl", "unmask", "--runtime", "leger-resume")
    shop.run("systemctl", "start", "db", "writer", timeout=60)
    expect_all_up(shop)
    shop.run("leger", "settle", timeout=60)
    assert read(shop) == ["three", "three"]
    expect_all_up(shop)
