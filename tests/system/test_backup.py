"""Backups of real volumes and data: what was saved comes back, and what was stopped as well."""

from __future__ import annotations

import json
import random
import re
import time

import pytest
from machine import Machine
from system.application import IMAGE, commit

REPOSITORY = "/srv/notes"
CONTAINER = f"""[Container]
Image={IMAGE}
ContainerName=web
Exec=sleep infinity
RunInit=true
StopTimeout=1
Volume=store.volume:/store
Volume=plain:/plain
Volume=./uploads:/uploads
[Install]
WantedBy=multi-user.target
"""
FILES = {
    "web.container": CONTAINER,
    # Where two containers make one volume at the same time, podman fails one of them.
    "idle.container": "[Unit]\nAfter=web.service\n"
    + CONTAINER.replace("ContainerName=web", "ContainerName=idle"),
    "store.volume": "[Volume]\nVolumeName=real-name\nLabel=kept=yes\n",
    "uploads/.gitkeep": "",
    ".leger.yaml": "health: {quiet: 100ms}\n",
}
WRITE = (
    "echo {0} >/store/f; echo {0} >/plain/f; echo {0} >/uploads/f; rm -f /uploads/l; "
    "ln -s /etc/{0} /uploads/l; chown 33:44 /store/f /store; chmod 1770 /store"
)
READ = "cat /store/f /plain/f /uploads/f; readlink /uploads/l; stat -c '%u %g %a' /store /store/f"
RULES = "backup: {before-update: true, keep: 2}\n"


def write(machine: Machine, value: str) -> None:
    """Let the container put `value` everywhere."""
    machine.run("podman", "exec", "web", "sh", "-ec", WRITE.format(value))


def read(machine: Machine) -> list[str]:
    """What the container sees, as `saved` says it."""
    return machine.run("podman", "exec", "web", "sh", "-ec", READ).stdout.splitlines()


def saved(value: str) -> list[str]:
    return [value, value, value, f"/etc/{value}", "33 44 1770", "33 44 644"]


def ids(machine: Machine) -> list[str]:
    listed = json.loads(machine.run("leger", "backup", "list", "notes", "--json").stdout)
    return [item["id"] for item in listed]


def expect_quiet(machine: Machine) -> None:
    """Nothing is left over, web runs, and what an administrator stopped is still stopped."""
    states = machine.run("systemctl", "is-active", "web", "idle", check=False).stdout.split()
    assert states in (["active", "inactive"], ["active", "failed"])  # 143 reads failed
    names = machine.run("podman", "volume", "ls", "-q").stdout.split()
    assert sorted(names) == ["plain", "real-name"]
    assert machine.run("ls", "-A", "/var/lib/leger/data").stdout.split() == ["notes"]
    assert "backup.json" not in machine.run("ls", "/var/lib/leger").stdout.split()
    hidden = machine.sh("find /var/lib/leger/backups -mindepth 2 -maxdepth 2 -name '.*'").stdout
    assert hidden == ""


@pytest.fixture(scope="module")
def notes(shared_machine: Machine) -> Machine:
    """A deployment with two volumes and data; idle.service was stopped by hand."""
    commit(shared_machine, FILES, REPOSITORY)
    shared_machine.run("leger", "deploy", "install", "notes", REPOSITORY, timeout=120)
    shared_machine.run("systemctl", "stop", "idle")
    write(shared_machine, "one")
    return shared_machine


def process(machine: Machine) -> str:
    """What tells whether the container was restarted."""
    return machine.run("podman", "inspect", "-f", "{{.State.Pid}}", "web").stdout


def test_what_was_saved_comes_back(notes: Machine) -> None:
    made = notes.run("leger", "backup", "create", "notes", "--json")
    (backup,) = json.loads(made.stdout)
    assert (backup["data"], backup["volumes"]) == (True, ["plain", "real-name"])
    notes.run("podman", "exec", "web", "sh", "-c", "rm -rf /store/* /plain/* /uploads/*")
    write(notes, "two")
    asked = notes.run("leger", "backup", "restore", "notes", check=False)
    assert asked.code == 5
    assert "data, volume plain, volume real-name" in asked.stderr
    notes.run("leger", "backup", "restore", "notes", backup["id"], "--only", "plain", "--yes")
    assert read(notes)[:3] == ["two", "one", "two"]
    notes.run("leger", "backup", "restore", "notes", "--yes")
    assert read(notes) == saved("one")
    expect_quiet(notes)


def test_the_backup_that_was_confirmed_is_restored(notes: Machine) -> None:
    write(notes, "one")
    notes.run("leger", "backup", "create", "notes")
    write(notes, "two")
    with notes.spawn("script", "-qec", "leger backup restore notes", "/dev/null") as asked:
        assert asked.stdin
        assert asked.stdout
        told = b""
        while b"[y/N]" not in told:
            piece = asked.stdout.read(100)
            assert piece, told
            told += piece
        notes.run("leger", "backup", "create", "notes")
        asked.stdin.write(b"y\n")
        assert asked.wait() == 0
    assert read(notes) == saved("one")
    notes.run("rm", "-r", f"/var/lib/leger/backups/notes/{ids(notes)[-1]}")


def test_units_may_be_paused_meanwhile(notes: Machine) -> None:
    before = process(notes)
    notes.run("leger", "backup", "create", "notes", "--method", "pause")
    notes.run("leger", "backup", "info", "notes", "--verify")
    assert process(notes) == before
    expect_quiet(notes)


def test_a_damaged_backup_replaces_nothing(notes: Machine) -> None:
    before = process(notes)
    file = f"/var/lib/leger/backups/notes/{ids(notes)[-1]}/volume-plain.tar.zst"
    notes.sh(f"printf x | dd of={file} bs=1 seek=30 conv=notrunc status=none")
    done = notes.run("leger", "backup", "restore", "notes", "--yes", check=False)
    assert done.code == 1
    assert "volume-plain.tar.zst: damaged" in done.stderr
    assert process(notes) == before
    notes.sh(f'rm -r "$(dirname {file})"')


def test_a_full_disk_leaves_no_half_backup(notes: Machine) -> None:
    before = ids(notes)
    notes.sh(
        "podman exec web dd if=/dev/urandom of=/plain/big bs=1M count=6 status=none\n"
        "mount -t tmpfs -o size=2M none /var/lib/leger/backups"
    )
    done = notes.run("leger", "backup", "create", "notes", check=False)
    left = notes.run("ls", "-A", "/var/lib/leger/backups/notes").stdout
    notes.sh("umount /var/lib/leger/backups; podman exec web rm /plain/big")
    assert done.code == 1
    assert "No space left on device" in done.stderr
    assert left == ""
    assert ids(notes) == before
    expect_quiet(notes)


FILL = """
fallocate -l $(($(stat -f -c '%a * %S' /) * 95 / 100)) /filler
dd if=/dev/zero of=/rest bs=64K conv=fsync 2>/dev/null || true
truncate -s -{} /rest
sync -f /
"""


FULL = re.compile("leger: error: .*(no space left on device|disk is full)", re.IGNORECASE)


@pytest.mark.parametrize(("what", "room"), [("data", 3_000_000), ("plain", 0), ("plain", 100_000)])
def test_a_restore_without_room_replaces_nothing_and_is_done_when_there_is_some(
    notes: Machine, what: str, room: int
) -> None:
    """The whole disk is full, but for `room` bytes."""
    write(notes, "one")
    for place in ("plain", "uploads"):
        notes.sh(f"podman exec web dd if=/dev/urandom of=/{place}/big bs=1M count=6 status=none")
    (made,) = json.loads(notes.run("leger", "backup", "create", "notes", "--json").stdout)
    write(notes, "two")
    before = process(notes)
    notes.sh(FILL.format(room))
    restore = ["leger", "backup", "restore", "notes", made["id"], "--yes"]
    done = notes.run(*restore, "--only", what, check=False)
    notes.run("rm", "/filler", "/rest")
    assert done.code == 1
    assert FULL.search(done.stderr)
    assert "leger: hint: check free space" in done.stderr
    assert (read(notes), process(notes)) == (saved("two"), before)
    expect_quiet(notes)
    notes.run(*restore)
    assert read(notes) == saved("one")
    notes.run("podman", "exec", "web", "rm", "/plain/big", "/uploads/big")
    notes.run("rm", "-r", f"/var/lib/leger/backups/notes/{made['id']}")
    expect_quiet(notes)


def test_what_cannot_be_exchanged_is_refused_before_a_unit_is_stopped(notes: Machine) -> None:
    before = process(notes)
    place = "/var/lib/containers/storage/volumes/plain/_data"
    notes.run("mount", "--bind", place, place)
    done = notes.run("leger", "backup", "restore", "notes", "--yes", check=False)
    notes.run("umount", place)
    assert done.code == 1
    assert f"{place}: cannot be exchanged: it is mounted by itself" in done.stderr
    assert process(notes) == before
    expect_quiet(notes)


def test_what_podman_keeps_of_a_restore_is_removed_when_it_can_be(notes: Machine) -> None:
    volume = "leger-restore-0"
    nothing: dict[str, list[str]] = {key: [] for key in ("start", "paused", "folders", "pairs")}
    work = {"format": 1, "deployment": "notes", "boot": "", "volumes": [volume]} | nothing
    notes.run("podman", "create", "--name", "holder", "-v", f"{volume}:/x", IMAGE, "true")
    notes.push(json.dumps(work), "/var/lib/leger/backup.json", 0o600)
    for _ in range(2):
        told = notes.run("leger", "settle", timeout=120)
        assert f"warning: volume {volume} is left over: " in told.stdout + told.stderr
    notes.run("podman", "rm", "holder")
    notes.run("leger", "settle", timeout=120)
    expect_quiet(notes)


TAKEN_UP = """
while [ -e /var/lib/leger/backup.json ]; do sleep 0.1; done
while systemctl is-active --quiet leger-resume; do sleep 0.1; done
"""


def test_the_timer_takes_up_what_is_left_of_a_backup(notes: Machine) -> None:
    """What killed it may have kept leger-resume.service from starting, too."""
    notes.run("systemctl", "mask", "--runtime", "leger-resume")
    with notes.spawn("leger", "backup", "create", "notes"):
        notes.sh(
            "until grep -q web.service /var/lib/leger/backup.json; do :; done 2>/dev/null\n"
            "while systemctl is-active --quiet web; do :; done\n"
            "systemctl kill -s KILL 'leger-*.service' || true"
        )
    notes.run("systemctl", "unmask", "--runtime", "leger-resume")
    assert notes.run("systemctl", "is-active", "web", check=False).stdout != "active\n"
    notes.run("systemctl", "start", "leger-sync", timeout=120)
    expect_quiet(notes)


def test_killed_at_any_point_everything_runs_again_by_itself(
    notes: Machine, rng: random.Random, soak: bool
) -> None:
    restore = ["leger", "backup", "restore", "notes", ids(notes)[-1], "--yes"]  # of "one"
    began = time.monotonic()
    notes.run(*restore)
    length = time.monotonic() - began
    for point in range(25) if soak else sorted(rng.sample(range(25), 1)):
        for command in (restore, ["leger", "backup", "create", "notes"]):
            write(notes, "two")
            with notes.spawn(*command):
                time.sleep(length * (point + 0.5) / 25)
                notes.sh("systemctl kill -s KILL 'leger-*.service' || true", check=False)
            notes.sh(TAKEN_UP, timeout=120)
            expect_quiet(notes)
            seen = read(notes)
            assert set(seen[:3]) <= {"one", "two"}, f"killed at {point}/25: {seen}"
            assert command == restore or seen == saved("two")
    for one in ids(notes):
        notes.run("leger", "backup", "info", "notes", one, "--verify")


def test_a_cut_during_a_restore_is_finished_by_the_boot(notes: Machine) -> None:
    write(notes, "two")
    notes.sync()
    with notes.spawn("leger", "backup", "restore", "notes", ids(notes)[0], "--yes"):
        notes.sh("until grep -q '\"restored\"' /var/lib/leger/backup.json; do :; done 2>/dev/null")
        notes.cut()
    notes.start()
    notes.sh(
        'until [ "$(systemctl show -P SubState leger-settle.service)" != running ] && '
        "! systemctl list-jobs --no-legend | grep -q .; do sleep 0.1; done",
        timeout=120,
    )
    assert read(notes) == saved("one")
    notes.run("systemctl", "stop", "idle")
    expect_quiet(notes)


def test_an_update_that_asks_for_it_is_backed_up_before(notes: Machine) -> None:
    write(notes, "before")
    notes.sh(f"printf '{RULES}' >>/etc/leger/deployments.d/notes.yaml")
    commit(notes, FILES | {"README": "changes no unit\n"}, REPOSITORY)
    before = ids(notes)
    notes.run("leger", "deploy", "update", "notes", timeout=120)
    assert ids(notes) == before
    new = commit(notes, FILES | {"web.container": CONTAINER + "[Service]\nNice=1\n"}, REPOSITORY)
    notes.run("leger", "deploy", "update", "notes", timeout=120)
    listed = json.loads(notes.run("leger", "backup", "list", "notes", "--json").stdout)
    assert listed[-1]["why"] == f"before the update to {new[:12]}"
    assert len(listed) == 2  # keep: 2
    write(notes, "after")
    notes.run("leger", "backup", "restore", "notes", "--yes")
    assert read(notes) == saved("before")


def test_an_update_is_refused_when_its_backup_fails(notes: Machine) -> None:
    commit(notes, FILES | {"web.container": CONTAINER + "[Service]\nNice=2\n"}, REPOSITORY)
    before = process(notes)
    notes.run("mount", "-t", "tmpfs", "-o", "ro,size=1M", "none", "/var/lib/leger/backups")
    done = notes.run("leger", "deploy", "update", "notes", check=False)
    notes.run("umount", "/var/lib/leger/backups")
    assert done.code == 1
    assert "notes is not updated, because the backup before it failed" in done.stderr
    assert "Nice=1" in notes.run("systemctl", "cat", "web").stdout
    assert process(notes) == before


def test_old_backups_are_pruned_by_number_and_age(notes: Machine) -> None:
    old = "20200101T000000Z"
    notes.sh(
        f"cp -r /var/lib/leger/backups/notes/{ids(notes)[0]} /var/lib/leger/backups/notes/{old}"
    )
    told = notes.run(
        "leger", "backup", "prune", "notes", "--keep", "9", "--days", "30", "--dry-run"
    )
    assert told.stdout == f"notes: {old} would be removed\n"
    notes.run("leger", "backup", "prune", "notes", "--keep", "9", "--days", "30")
    assert old not in notes.run("ls", "/var/lib/leger/backups/notes").stdout.split()
    notes.sh(
        "mkdir -p /var/lib/leger/backups/amiss/20200101T000000Z\n"
        "echo sorce: /srv/amiss >/etc/leger/deployments.d/amiss.yaml"
    )
    done = notes.run("leger", "backup", "prune", "--keep", "1", check=False)
    assert done.code == 1
    assert "/etc/leger/deployments.d/amiss.yaml:1: unknown key 'sorce'" in done.stderr
    assert done.stdout.startswith("notes: ")
    assert len(ids(notes)) == 1
    notes.sh("rm -r /var/lib/leger/backups/amiss /etc/leger/deployments.d/amiss.yaml")


BARE = CONTAINER.partition("Volume=")[0]
INSTALL = "[Install]\nWantedBy=multi-user.target\n"
MAIL = {
    "w@.container": BARE.replace("=web", "=w-%i") + "Volume=of-%i:/of\nVolume=disk.volume:/disk\n",
    "all.container": BARE.replace("=web", "=all") + f"Volume=/var/lib/leger/data:/all\n{INSTALL}",
    ".leger.yaml": FILES[".leger.yaml"],
}


def test_instances_started_by_hand_are_saved_and_what_is_the_hosts_own_is_left_alone(
    notes: Machine,
) -> None:
    """all.service uses the data of another deployment, by the folder above."""
    notes.push("[Volume]\n", "/etc/containers/systemd/disk.volume")
    commit(notes, MAIL, "/srv/mail")
    notes.run("leger", "deploy", "install", "mail", "/srv/mail", timeout=120)
    notes.sh("systemctl start w@hand; podman exec w-hand sh -c 'echo one >/of/f'")
    before = notes.run("podman", "inspect", "-f", "{{.State.Pid}}", "all").stdout
    (made,) = json.loads(notes.run("leger", "backup", "create", "mail", "--json").stdout)
    assert made["volumes"] == ["of-hand"]
    hosts = "it is the host's own, by /etc/containers/systemd/disk.volume"
    assert made["left_out"] == [f"volume systemd-disk: {hosts}"]
    notes.run("podman", "exec", "w-hand", "sh", "-c", "echo two >/of/f")
    notes.run("leger", "backup", "restore", "mail", "--yes")
    assert notes.run("podman", "exec", "w-hand", "cat", "/of/f").stdout == "one\n"
    assert notes.run("podman", "inspect", "-f", "{{.State.Pid}}", "all").stdout == before
    notes.run("leger", "backup", "create", "notes")
    assert notes.run("podman", "inspect", "-f", "{{.State.Pid}}", "all").stdout != before
    asked = notes.run("leger", "deploy", "remove", "mail", "--volumes", check=False)
    assert "with all they hold: of-hand?" in asked.stderr
    removed = notes.run("leger", "deploy", "remove", "mail", "--volumes", "--yes", "--json")
    assert json.loads(removed.stdout)["volumes"] == ["of-hand"]
    notes.sh(
        "rm -r /etc/containers/systemd/disk.volume /var/lib/leger/backups/mail\n"
        "systemctl daemon-reload\npodman volume rm systemd-disk"
    )


def test_removing_keeps_volumes_unless_asked(notes: Machine) -> None:
    write(notes, "kept")
    notes.run("leger", "backup", "create", "notes")
    done = json.loads(notes.run("leger", "deploy", "remove", "notes", "--yes", "--json").stdout)
    left = {"volume plain", "volume real-name", "backups /var/lib/leger/backups/notes"}
    assert left <= set(done["left"])
    notes.run("leger", "deploy", "install", "notes", REPOSITORY, timeout=120)
    assert read(notes) == saved("kept")
    asked = notes.run("leger", "deploy", "remove", "notes", "--volumes", check=False)
    assert asked.code == 5
    assert "plain, real-name" in asked.stderr
    removed = notes.run("leger", "deploy", "remove", "notes", "--volumes", "--yes", "--json")
    assert json.loads(removed.stdout)["volumes"] == ["plain", "real-name"]
    assert notes.run("podman", "volume", "ls", "-q").stdout == ""


def test_a_backup_outlives_its_deployment(notes: Machine) -> None:
    notes.sh("rm -r /var/lib/leger/data/notes")
    notes.run("leger", "backup", "restore", "notes", "--yes")
    labels = notes.run("podman", "volume", "inspect", "-f", "{{.Labels}}", "real-name").stdout
    assert "kept:yes" in labels
    notes.run("leger", "deploy", "install", "notes", REPOSITORY, timeout=120)
    assert read(notes) == saved("kept")
