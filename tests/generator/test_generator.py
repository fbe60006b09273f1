"""The generator as systemd runs it: whatever units.json is, it ends in time, with exit 0."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from generator.generating import PYTHON, Host, encoded, plan
from generator.test_plan import with_body
from leger_generator.plan import MAX_BYTES, decode

ALLOWED = "gc, os, sys, json, time, _signal, _blake2"
UNITS = {"web.service", "web.service.d/00-leger.conf"}


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_it_writes_units_drop_ins_and_links(host: Host) -> None:
    host.units.write_bytes(encoded(7))
    run = host.generate()
    assert (run.code, run.lines) == (0, [])
    assert run.texts == {path: file.text for path, file in plan(7).files.items()}
    assert run.links == plan(7).links
    assert (run.folder / run.folder / "multi-user.target.wants/web.service").resolve() == (
        run.folder / "web.service"
    )
    assert (run.folder / "web.service").stat().st_mode & 0o777 == 0o644


def test_it_notes_what_it_emitted_and_keeps_a_copy(host: Host) -> None:
    host.units.write_bytes(encoded(7))
    host.generate()
    assert host.last_good.read_bytes() == host.units.read_bytes()
    assert host.note == {
        "generation": 7,
        "blake2b": decode(host.units.read_bytes()).digest,
        "source": "units.json",
        "quadlet": {},
        "rendered": False,
        "problems": [],
    }


def test_where_nothing_is_deployed_it_is_silent(host: Host) -> None:
    run = host.generate()
    assert (run.code, run.lines, run.texts) == (0, [], {})
    assert list((host.root / "run/leger").iterdir()) == []


def remove(path: Path) -> None:
    path.unlink()


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def dangling(path: Path) -> None:
    path.unlink()
    path.symlink_to("nowhere")


def huge(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(MAX_BYTES + 1)


BROKEN: dict[str, Callable[[Path], object]] = {
    "missing": remove,
    "empty": lambda path: path.write_bytes(b""),
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:-30]),
    "binary": lambda path: path.write_bytes(bytes(range(256)) * 100),
    "huge": huge,
    "future": lambda path: path.write_bytes(with_body(plan(9).raw(), form=2)),
    "other scope": lambda path: path.write_bytes(encoded(9, scope="user")),
    "a folder": folder,
    "a pipe": fifo,
    "a dangling link": dangling,
    "a flipped bit": lambda path: path.write_bytes(path.read_bytes().replace(b"true 2", b"true 3")),
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_units_json_loses_no_unit(host: Host, how: str) -> None:
    host.units.write_bytes(encoded(2))
    host.previous.write_bytes(encoded(1))
    host.generate()
    BROKEN[how](host.units)
    run = host.generate()
    assert run.code == 0
    assert run.texts["web.service"] == plan(2).files["web.service"].text
    assert host.note["source"] == "last-good"
    assert len(run.lines) == 2
    assert run.lines[0].startswith(f"<4>leger-generator: {host.units}: ")
    assert run.lines[1] == "<4>leger-generator: emitting generation 2 from last-good instead"


@pytest.mark.parametrize("how", BROKEN)
def test_after_a_boot_the_predecessor_serves(host: Host, how: str) -> None:
    host.units.write_bytes(encoded(2))
    host.previous.write_bytes(encoded(1))
    BROKEN[how](host.units)
    run = host.generate()
    assert run.code == 0
    assert run.texts["web.service"] == plan(1).files["web.service"].text
    assert host.note["source"] == "prev"


@pytest.mark.parametrize("how", sorted(set(BROKEN) - {"missing", "a dangling link"}))
def test_without_any_copy_it_says_so_and_ends(host: Host, how: str) -> None:
    host.units.write_bytes(encoded(2))
    BROKEN[how](host.units)
    run = host.generate()
    assert (run.code, run.texts) == (0, {})
    assert len(run.lines) == 1


def test_a_bad_entry_costs_only_itself_and_comes_from_an_older_copy(host: Host) -> None:
    host.units.write_bytes(encoded(1))
    host.generate()
    raw = plan(2).raw()
    raw["files"]["web.service"] = {"text": 5}  # type: ignore[index]
    raw["files"]["../../escape.service"] = {"text": "", "deployment": "web"}  # type: ignore[index]
    host.units.write_bytes(with_body(raw))
    run = host.generate()
    assert run.code == 0
    assert run.texts["web.service"] == plan(1).files["web.service"].text
    assert set(run.texts) == UNITS
    assert decode(host.last_good.read_bytes()).generation == 1
    assert [line for line in run.lines if "web.service: taken from last-good" in line]
    assert len(run.lines) == 3
    assert not (host.root / "escape.service").exists()


def test_the_log_is_never_flooded(host: Host) -> None:
    raw = plan().raw()
    raw["files"].update({f"bad {n}\n<0>x": 1 for n in range(500)})  # type: ignore[attr-defined]
    host.units.write_bytes(with_body(raw))
    run = host.generate()
    assert set(run.texts) == UNITS
    assert len(run.lines) == 21
    assert all(line.startswith("<4>leger-generator: ") for line in run.lines)
    assert "480 more" in run.lines[-1]
    assert len(host.note["problems"]) == 500


def test_messages_go_to_the_kernel_log(host: Host) -> None:
    kmsg = host.root / "kmsg"
    kmsg.touch()
    host.kmsg = str(kmsg)
    host.units.write_bytes(b"")
    assert host.generate().lines == []
    assert kmsg.read_text() == f"<4>leger-generator: {host.units}: not used: it is empty\n"


def test_another_generation_in_current_is_noted_only(host: Host) -> None:
    host.units.write_bytes(encoded(2))
    current = host.root / "var/lib/leger/current"
    current.write_text(json.dumps({"generation": 3, "blake2b": "0" * 64}))
    run = host.generate()
    assert set(run.texts) == UNITS
    assert len(run.lines) == 1
    assert "leger-settle decides" in run.lines[0]
    digest = decode(host.units.read_bytes()).digest
    current.write_text(json.dumps({"generation": 2, "blake2b": digest}))
    assert host.generate().lines == []


def test_an_entry_that_cannot_be_written_is_named(host: Host) -> None:
    host.units.write_bytes(encoded(1))
    blocked = host.root / "blocked"
    blocked.mkdir()
    (blocked / "web.service.d").write_text("not a folder")
    run = host.generate(folder=blocked)
    assert run.code == 0
    assert (blocked / "web.service").exists()
    assert run.lines == [
        "<4>leger-generator: web.service.d/00-leger.conf: not written: Not a directory"
    ]


def test_without_a_folder_for_its_notes_the_units_are_written(host: Host) -> None:
    host.units.write_bytes(encoded(1))
    (host.root / "run/leger").rmdir()
    (host.root / "run/leger").write_text("")
    run = host.generate()
    assert run.code == 0
    assert set(run.texts) == UNITS
    assert len(run.lines) == 1


def test_a_child_that_hangs_is_killed_in_time(host: Host) -> None:
    """A disk that does not answer: here a FUSE-like stop of the child itself."""
    host.limit = 0.5
    host.units.write_bytes(encoded(1))
    program = host.root / "leger-generator"
    host.generate()
    text = program.read_text().replace(
        "from leger_generator.main import environment, main",
        "import time, leger_generator.main as m\n"
        "m.choose = lambda *_: time.sleep(60)\nmain, environment = m.main, m.environment",
    )
    program.write_text(text)
    began = time.monotonic()
    done = subprocess.run([program, host.root], capture_output=True, text=True, timeout=30, env={})
    assert done.returncode == 0
    assert time.monotonic() - began < 10
    assert done.stderr.splitlines() == [
        "<3>leger-generator: no end after 0.5 s, killed: units may be missing"
    ]


def test_a_fault_of_its_own_is_one_line_and_exit_0(host: Host) -> None:
    host.units.write_bytes(encoded(1))
    host.generate()
    program = host.root / "leger-generator"
    text = program.read_text().replace(
        "from leger_generator.main import environment, main",
        "import leger_generator.main as m\nm.emit = None\n"
        "main, environment = m.main, m.environment",
    )
    program.write_text(text)
    done = subprocess.run([program, host.root], capture_output=True, text=True, env={})
    assert done.returncode == 0
    assert len(done.stderr.splitlines()) == 1
    assert "TypeError" in done.stderr


def test_without_a_child_process_it_does_the_work_itself(host: Host) -> None:
    host.units.write_bytes(encoded(1))
    host.generate()
    program = host.root / "leger-generator"
    text = program.read_text().replace(
        "from leger_generator.main",
        "def fork(): raise OSError(11, 'Resource temporarily unavailable')\n"
        "posix.fork = fork\nfrom leger_generator.main",
    )
    program.write_text(text)
    folder = host.root / "generated/itself"
    folder.mkdir()
    done = subprocess.run([program, folder], capture_output=True, text=True, env={})
    assert done.returncode == 0
    assert (folder / "web.service").exists()
    assert "no child process: Resource temporarily unavailable" in done.stderr


@pytest.mark.parametrize(
    ("environ", "argv0"),
    [
        ({"SYSTEMD_SCOPE": "user"}, "leger-generator"),
        ({}, "user-generators/leger-generator"),
        (
            {"SYSTEMD_SCOPE": "user", "XDG_CONFIG_HOME": "/nowhere", "XDG_STATE_HOME": ""},
            "leger-generator",
        ),
    ],
)
def test_a_users_generator_reads_the_users_folders(
    host: Host, environ: dict[str, str], argv0: str
) -> None:
    home = host.root / "home"
    (home / ".config/leger").mkdir(parents=True)
    (home / "runtime").mkdir()
    (home / ".config/leger/units.json").write_bytes(encoded(4, scope="user"))
    host.units.write_bytes(encoded(1))
    run = host.generate(
        environ={"HOME": str(home), "XDG_RUNTIME_DIR": str(home / "runtime"), **environ},
        argv0=argv0,
    )
    assert (run.code, run.lines) == (0, [])
    assert "true 4" in run.texts["web.service"]
    assert (home / "runtime/leger/emitted.json").exists()
    assert not (host.root / "run/leger/emitted.json").exists()


def test_a_users_generator_without_a_home_is_silent(host: Host) -> None:
    run = host.generate(environ={"SYSTEMD_SCOPE": "user"})
    assert (run.code, run.lines, run.texts) == (0, [], {})


def test_it_imports_what_starts_fast_and_nothing_else(host: Host) -> None:
    host.units.write_bytes(encoded(1))
    run = host.generate(environ={"SHOW_MODULES": "1"})
    brought = subprocess.run(
        [PYTHON, "-IS", "-c", f"import {ALLOWED}; print('\\n'.join(sys.modules))"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    imported = {name for name in run.stdout.split() if not name.startswith("leger_generator")}
    assert imported <= set(brought) - {"os"}


def test_the_installed_program_is_a_start_of_five_lines() -> None:
    text = (Path(__file__).parents[2] / "generator/leger-generator").read_text()
    lines = [line for line in text.splitlines() if line and not line.startswith(('"""', "#"))]
    assert len(lines) <= 5
    assert text.startswith("#!/usr/bin/python3 -IS\n")
