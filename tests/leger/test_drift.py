"""What was changed by hand is noticed: trees by names and times, units by who overrides them."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from leger import drift, overrides, podman, tree
from leger.drift import Kind
from leger.finding import in_scope
from leger.generation import EMPTY, Generation
from leger.model import Built, Unit
from leger.properties import Ending
from leger.systemd import State
from leger.tree import LINK, File
from repositories import place

FILES = {"a.env": File.of(b"A=1\n"), "conf/x": File.of(b"x"), "conf/l": File.of(b"x", LINK)}


def rewrite(path: Path) -> None:
    path.write_text("A=2\n")


def edit(path: Path) -> None:
    """As an editor does: a file of its own beside it that takes its place, and is gone again."""
    beside = path.with_name(".a.env.swp")
    beside.write_text("")
    path.with_name("4913").write_text("A=2\n")
    path.with_name("4913").replace(path)
    beside.unlink()


TOUCHED = {
    "rewritten": (lambda top: rewrite(top / "a.env"), ["a.env"]),
    "edited": (lambda top: edit(top / "a.env"), ["a.env"]),
    "rewritten below": (lambda top: rewrite(top / "conf/x"), ["conf/x"]),
    "removed": (lambda top: (top / "conf/x").unlink(), ["conf/x"]),
    "added": (lambda top: (top / "new").write_text(""), ["new"]),
    "mode": (lambda top: (top / "a.env").chmod(0o600), ["a.env"]),
    "link": (lambda top: place(top / "conf/l", "-> ../a.env"), ["conf/l"]),
    "folder gone": (lambda top: shutil.rmtree(top / "conf"), ["conf/l", "conf/x"]),
    "folder for a file": (
        lambda top: ((top / "a.env").unlink(), place(top / "a.env/in", "")),
        ["a.env", "a.env/in"],
    ),
    "link for a folder": (
        lambda top: (shutil.rmtree(top / "conf"), (top / "conf").symlink_to("/etc")),
        ["conf", "conf/l", "conf/x"],
    ),
}


def named_later(top: Path) -> None:
    """Give the tree its name once the clock that files are dated by has gone on."""
    before = top.lstat().st_ctime_ns
    probe = top.with_name("probe")
    while probe.write_text("") or probe.stat().st_ctime_ns <= before:
        pass
    probe.unlink()
    top.rename(probe)
    probe.rename(top)


@pytest.mark.parametrize("case", TOUCHED)
def test_a_tree_that_was_touched_is_told_file_by_file_and_mended(scope, case):
    change, files = TOUCHED[case]
    made = tree.write(scope, "web", FILES)
    named_later(made.path)
    change(made.path)
    assert tree.is_suspect(made)
    assert drift.changed_files(built(made)) == files
    inode = (made.path / "conf/x").stat().st_ino if "conf/x" not in files else 0
    assert tree.write(scope, "web", FILES, mend=True) == made
    assert tree.read(made.path) == made
    assert inode in (0, (made.path / "conf/x").stat().st_ino)
    assert [path.name for path in scope.store.iterdir()] == [made.path.name]


def test_a_tree_that_nobody_touched_is_not_read(scope):
    made = tree.write(scope, "web", FILES)
    named_later(made.path)
    assert not tree.is_suspect(made)


def test_a_tree_that_was_mended_is_suspect_no_longer(scope):
    made = tree.write(scope, "web", FILES)
    rewrite(made.path / "conf/x")
    tree.write(scope, "web", FILES, mend=True)
    named_later(made.path)
    assert not tree.is_suspect(made)


def test_a_tree_that_is_gone_is_changed_as_a_whole(scope):
    made = tree.write(scope, "web", FILES)
    shutil.rmtree(made.path)
    assert tree.is_suspect(made)
    assert drift.changed_files(built(made)) == ["."]


def built(made: tree.Tree) -> Built:
    return Built("web", "0" * 40, "", made, {}, ())


def test_the_first_folder_of_the_search_path_wins_and_a_mask_is_told_apart(scope):
    root = scope.etc.parent.parent
    generated = root / "run/systemd/generator"
    for name in ("a.service", "b.service", "c.service", "d@.service"):
        place(generated / name, "[Service]\n")
    place(root / "etc/systemd/system/a.service", "[Service]\n")
    place(root / "run/systemd/system/a.service", "-> /dev/null")
    place(root / "etc/systemd/system/b.service", "-> /dev/null")
    place(root / "usr/lib/systemd/system/c.service", "[Service]\n")
    place(root / "etc/systemd/system/d@.service", "[Service]\n")
    names = ("a.service", "b.service", "c.service", "d@1.service")
    found = overrides.find(scope, names, ())
    assert found.units == {
        "a.service": root / "etc/systemd/system/a.service",
        "d@1.service": root / "etc/systemd/system/d@.service",
    }
    assert found.masks == {"b.service": root / "etc/systemd/system/b.service"}


def test_drop_ins_are_told_unless_they_are_ours(scope):
    root = scope.etc.parent.parent
    place(root / "run/systemd/generator/a.service.d/00-leger.conf", "")
    place(root / "run/systemd/generator/a.service.d/99-other.conf", "")
    place(root / "usr/lib/systemd/system/d@.service.d/1.conf", "")
    place(root / "usr/lib/systemd/system/d@.service.d/README", "")
    place(root / "usr/lib/systemd/system/service.d/all.conf", "")
    own = {"a.service.d/00-leger.conf"}
    assert overrides.find(scope, ("a.service", "d@1.service"), own).dropins == {
        "a.service": (root / "run/systemd/generator/a.service.d/99-other.conf",),
        "d@1.service": (root / "usr/lib/systemd/system/d@.service.d/1.conf",),
    }


STOP = "{ path=/usr/bin/podman ; start_time=[%s] ; stop_time=[n/a] ; status=0/0 }"
EARLY, LATE = "Wed 2026-11-25 20:45:07.476007 UTC", "Wed 2026-11-25 20:45:09.707818 UTC"


@pytest.mark.parametrize(
    ("shown", "stopped"),
    [
        ({"ExecStop": STOP % EARLY, "ExecMainExitTimestamp": LATE}, True),
        ({"ExecStop": STOP % LATE, "ExecMainExitTimestamp": EARLY}, False),
        ({"ExecStop": STOP % "n/a", "ExecMainExitTimestamp": EARLY}, False),
        ({"ExecMainCode": "2", "Result": "success"}, True),
        ({"ExecMainCode": "2", "Result": "signal"}, False),
        ({"ExecMainCode": "1", "Result": "success"}, False),
        ({"Result": "success"}, True),
    ],
)
def test_who_ended_a_unit_shows_in_what_systemd_notes(shown, stopped):
    ran = {"InactiveExitTimestampMonotonic": "1", **shown}
    assert Ending.parse(ran).stopped is stopped
    assert Ending.parse(ran).by_itself is not stopped


def test_podman_is_asked_about_what_is_not_in_its_folder(tmp_path, monkeypatch):
    program = tmp_path / "podman"
    program.write_text("#!/bin/sh\necho here-network\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    wanted = {"a.service": "here-network", "b.service": "no-such-network"}
    assert podman.missing("network", wanted, thorough=False) == ["b.service"]
    assert podman.missing("network", {}, thorough=True) == []
    program.write_text("#!/bin/sh\nexit 125\n")
    assert podman.missing("network", wanted, thorough=False) == []


def test_a_user_is_told_the_own_commands():
    assert in_scope("leger apply --start", user=True) == "leger --user apply --start"
    assert in_scope("leger apply", user=False) == "leger apply"
    for other in ("leger secrets set a -", "systemctl --user start a", ""):
        assert in_scope(other, user=True) == other


def test_a_unit_is_restarted_when_a_file_that_it_reads_was_touched(scope):
    made = tree.write(scope, "web", FILES)
    units = {
        name: Unit(name, "web", "container", "", "", "", inputs=inputs)
        for name, inputs in (("a", ("a.env",)), ("b", ("conf",)), ("c", ()), ("d", (".",)))
    }
    found = Built("web", "0" * 40, "", made, units, ())
    assert drift.readers(found, ["conf/x"]) == ("b", "d")
    assert drift.readers(found, ["."]) == ("a", "b", "d")


ENDED = """#!/bin/sh
while [ "$1" != -- ]; do shift; done; shift
for unit; do printf 'InvocationID=\\nExecMainCode=0\\nResult=success\\n\\n'; done
"""


def test_what_only_a_target_has_that_nobody_started_is_no_drift(scope, tmp_path, monkeypatch):
    program = tmp_path / "bin/systemctl"
    place(program, ENDED)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    links = {
        "later.target.wants/a.service": "../a.service",
        "up.target.wants/b.service": "../b.service",
        "up.target.wants/p-pod.service": "../p-pod.service",
        "later.target.wants/p-pod.service": "../p-pod.service",
    }
    units = {
        f"{name}.service": Unit(
            f"{name}.service", "web", "container", f"{name}.container", "", "", pod=pod
        )
        for name, pod in (("a", ""), ("b", ""), ("p-pod", ""), ("m", "p-pod.service"), ("j", ""))
    }
    made = tree.write(scope, "web", FILES)
    named_later(made.path)
    deployments = {"web": Built("web", "0" * 40, "", made, units, ())}
    current = Generation(1, "system", replace(EMPTY, deployments=deployments, links=links))
    down = State("loaded", "inactive", "dead")
    states = dict.fromkeys(units, down) | {"up.target": State("loaded", "active", "active")}
    found = drift.compare(scope, current, drift.Seen(units, states))
    assert {one.unit: one.kind for one in found if one.unit} == {
        "b.service": Kind.NOT_STARTED,
        "p-pod.service": Kind.NOT_STARTED,
        "m.service": Kind.NOT_STARTED,
    }
    states["later.target"] = State("loaded", "active", "active")
    found = drift.compare(scope, current, drift.Seen(units, states))
    assert "a.service" in {one.unit for one in found}
