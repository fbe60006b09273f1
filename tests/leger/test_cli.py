"""The command line as a user sees it: exit codes, messages, what goes to which stream."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from leger.cli import arguments, deploy, main, output, sync
from leger.deployment import Deployment
from leger.errors import ConfigError, LegerError
from leger.trust import NOTHING, Auth
from repositories import place

ROOT = Path(__file__).resolve().parents[2]
LEGER = "import sys; from leger.cli.main import main; sys.exit(main())"
PROGRAM = "from leger.cli.main import program; program()"


def leger(
    *argv: str, data: bytes = b"", env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Run the real command line from the work tree, with no legerd to talk to."""
    environment = {
        **os.environ,
        "PYTHONPATH": f"{ROOT / 'lib'}:{ROOT / 'generator'}:{ROOT}",
        "LEGERD_SOCKET": "/nowhere/legerd.sock",
        **(env or {}),
    }
    command = [sys.executable, "-c", LEGER, *argv]
    return subprocess.run(
        command, input=data, capture_output=True, env=environment, timeout=60, check=False
    )


@pytest.mark.parametrize(
    "argv",
    [
        (),
        ("nonsense",),
        ("deploy",),
        ("deploy", "install", "web"),
        ("secrets", "set", "a"),
        ("secrets", "get", "a", "--version", "x"),
        ("status", "--js"),
    ],
)
def test_a_wrong_command_line_is_exit_2_and_says_so(argv: tuple[str, ...]) -> None:
    done = leger(*argv)
    assert done.returncode == 2
    assert b"usage: leger" in done.stderr
    assert done.stdout == b""


@pytest.mark.parametrize(
    "words",
    [
        "deploy install {} /r", "deploy update {}", "deploy remove {}", "plan {}", "apply {}",
        "staged diff {}", "staged apply {}", "staged discard {}", "rollback --deployment {}",
        "sync --accept-rewind {}", "backup create {}", "backup list {}", "backup info {}",
        "backup restore {}", "backup prune {}", "service status {}", "service logs {}",
        "service stop {}", "secrets refresh --deployment {}",
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", ["../config", "a/b", "Web", ".."])
def test_what_can_be_no_deployments_name_is_an_error_of_usage(
    words: str, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = words.format(name).split()
    with pytest.raises(SystemExit) as caught:
        arguments.parser("1", argv).parse_args(argv)
    assert caught.value.code == 2
    assert f"{name!r} is not a deployment's name" in capsys.readouterr().err


def test_help_names_every_command() -> None:
    text = leger("--help").stdout.decode()
    assert all(word in text for word in ("deploy", "secrets", "status", "validate"))


def test_a_command_is_understood_alone_as_among_all() -> None:
    for command in arguments.COMMANDS:
        alone, among = (
            _parser(arguments.parser("1", words), command.words) for words in (command.words, ())
        )
        assert alone.format_help() == among.format_help()
    assert b"'validate'" in leger("stat").stderr


@pytest.mark.parametrize(
    ("words", "accepted"),
    [
        ("", frozenset()),
        ("--accept-rewind", True),
        ("--accept-rewind --strict", True),
        ("--accept-rewind web", {"web"}),
        ("--accept-rewind web db --strict", {"web", "db"}),
        ("--accept-rewind web --strict --accept-rewind db", {"web", "db"}),
        ("--accept-rewind web --accept-rewind", True),
    ],
)
def test_a_rewind_is_accepted_for_all_or_for_those_named(words: str, accepted: object) -> None:
    argv = ["sync", *words.split()]
    options = arguments.parser("1", argv).parse_args(argv)
    assert sync.accepted(options.accept_rewind) == accepted


def test_a_restore_is_of_the_backup_that_was_asked_about() -> None:
    words = ["backup", "restore", "--only", "web", "web"]
    assert arguments.parser("1", words).parse_args(words).asked == ""
    words += ["--yes", "--asked", "20260102T030405Z"]
    options = arguments.parser("1", words).parse_args(words)
    assert (options.name, options.only, options.asked) == ("web", ["web"], "20260102T030405Z")


def _parser(parser: argparse.ArgumentParser, words: tuple[str, ...]) -> argparse.ArgumentParser:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction) and words:
            return _parser(action.choices[words[0]], words[1:])
    return parser


def test_status_imports_nothing_that_only_a_change_needs() -> None:
    code = (
        "import sys; import leger.cli.status, leger.status;"
        "print(*sorted(set(sys.modules) & {'git', 'yaml', 'jinja2', 'pystemd', 'http.client',"
        "'leger.compile', 'leger.switch'}))"
    )
    env = {"PYTHONPATH": f"{ROOT / 'lib'}:{ROOT / 'generator'}"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, env=env, check=True, timeout=60
    )
    assert done.stdout.split() == []


def test_no_command_of_the_start_imports_what_it_does_not_need() -> None:
    """What makes `leger --help` start late: these modules cost more than all else."""
    code = (
        "import sys; from leger.cli import arguments, main; arguments.parser('1');"
        "print(*sorted(set(sys.modules) & {'git', 'yaml', 'jinja2', 'pystemd', 'http.client',"
        "'subprocess', 'requests', 'hashlib', 'leger.planning'}))"
    )
    ours = {name: text for name, text in os.environ.items() if "COVERAGE" not in name}
    env = {**ours, "PYTHONPATH": f"{ROOT / 'lib'}:{ROOT / 'generator'}"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, env=env, check=True, timeout=60
    )
    assert done.stdout.split() == []


def test_a_sync_with_nothing_new_imports_what_it_needs() -> None:
    """Every timer's run begins with these imports, and most end with them."""
    code = (
        "import sys; from leger.cli import arguments, main, sync; arguments.parser('1');"
        "print(*sorted(set(sys.modules) & {'git', 'jinja2', 'pystemd', 'podman', 'requests',"
        "'http.client', 'ssl', 'asyncio', 'concurrent.futures', 'leger.planning',"
        "'leger.switch', 'leger.compile', 'leger.prepare', 'leger.systemd'}))"
    )
    ours = {name: text for name, text in os.environ.items() if "COVERAGE" not in name}
    env = {**ours, "PYTHONPATH": f"{ROOT / 'lib'}:{ROOT / 'generator'}"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, env=env, check=True, timeout=60
    )
    assert done.stdout.split() == []


def test_a_result_that_cannot_be_written_is_no_success(tmp_path: Path) -> None:
    command = f"{sys.executable} -c '{PROGRAM}' validate {tmp_path} --json"
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'lib'}:{ROOT / 'generator'}"}
    (tmp_path / "n.network").write_text("[Network]\n")
    full = ["bash", "-c", f"{command} >/dev/full"]
    done = subprocess.run(full, env=environment, capture_output=True, text=True, timeout=60)
    assert (done.returncode, "Traceback" in done.stderr) == (1, False)
    assert "the result cannot be written: No space left on device" in done.stderr
    gone = ["bash", "-c", f"{command} | true; exit ${{PIPESTATUS[0]}}"]
    done = subprocess.run(gone, env=environment, capture_output=True, text=True, timeout=60)
    assert "Traceback" not in done.stderr


def test_what_is_told_cannot_move_a_terminals_cursor(capsys: pytest.CaptureFixture[str]) -> None:
    output.error(LegerError("a\x1b[2Kb!\nsecond \x9b", hint="c\x07d\te"))
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "leger: error: a\ufffd[2Kb!",
        "leger: error: second \ufffd",
        "leger: hint: c\ufffdd\te",
    ]


def test_a_value_is_never_taken_as_an_argument() -> None:
    done = leger("secrets", "set", "prod/db", "hunter2")
    assert done.returncode == 2
    assert b"@FILE" in done.stderr
    assert b"hunter2" not in done.stderr + done.stdout


def test_a_missing_file_is_named() -> None:
    done = leger("secrets", "set", "prod/db", "@/no/such/file")
    assert done.returncode == 1
    assert b"leger: error: /no/such/file: cannot be read" in done.stderr


def test_legerd_out_of_reach_is_told_with_what_to_do() -> None:
    done = leger("secrets", "set", "prod/db", "-", data=b"canary-value\n")
    assert done.returncode == 1
    assert b"legerd does not answer on /nowhere/legerd.sock" in done.stderr
    assert b"leger: hint: systemctl status legerd.socket" in done.stderr
    assert b"ends in a newline" in done.stderr
    assert b"canary" not in done.stderr + done.stdout


def test_a_folder_in_the_way_of_a_file_is_named_without_a_traceback(tmp_path: Path) -> None:
    (tmp_path / ".config").write_text("a file where a folder belongs")
    done = leger("--user", "deploy", "list", env={"HOME": str(tmp_path)})
    assert b"Traceback" not in done.stderr


def test_a_change_needs_a_host_with_systemd(tmp_path: Path) -> None:
    done = leger("--user", "deploy", "update", "--all", env={"HOME": str(tmp_path)})
    if Path("/run/systemd/system").is_dir():
        pytest.skip("systemd runs here")
    assert done.returncode == 1
    assert b"leger: error: systemd does not run here" in done.stderr
    assert b"Traceback" not in done.stderr


def test_validate_says_what_and_where(tmp_path: Path) -> None:
    (tmp_path / "web.container").write_text("[Container]\nImage=x\nSecret=a,taget=b\n")
    done = leger("validate", str(tmp_path))
    assert done.returncode == 4
    assert b"leger: error: web.container:3: " in done.stderr
    assert leger("validate", str(tmp_path / "missing")).returncode == 2


CI = {"PATH": "/nowhere"}


@pytest.mark.parametrize("binary", [False, True])
def test_validate_needs_neither_systemd_nor_podman(
    tmp_path: Path, quadlet: Path, binary: bool
) -> None:
    """As in the CI of a repository: no program is found, not even `sync`."""
    for number in range(40):
        (tmp_path / f"c{number}.container.j2").write_text("[Container]\nImage={{ image }}\n")
    with_binary = ["--quadlet", str(quadlet)] if binary else []
    programs = {"PATH": "/usr/bin:/bin"} if binary else CI  # the quadlet of a test is a script
    checked = ["validate", str(tmp_path), *with_binary]
    assert leger(*checked, "--set", "image=x:1", env=programs).returncode == 0
    undefined = leger(*checked, env=programs)
    assert undefined.returncode == 4
    assert b"c0.container.j2:2: " in undefined.stderr


def test_validate_says_that_the_quadlet_it_was_given_does_not_run(tmp_path: Path) -> None:
    (tmp_path / "a.container").write_text("[Container]\nImage=x\n")
    script = tmp_path / "quadlet"
    script.write_text("#!/bin/sh\nexec /no/such/program\n")
    script.chmod(0o755)
    done = leger("validate", str(tmp_path), "--quadlet", str(script))
    assert done.returncode == 1
    assert b"quadlet: does not run: " in done.stderr


def test_validate_speaks_as_editors_and_forges_take_it(tmp_path: Path) -> None:
    (tmp_path / "a.container").write_text("[Container]\nImage=x\nSecret=a,taget=b\n")
    place = f"{tmp_path}/a.container"
    told = {
        form: leger("validate", str(tmp_path), "--format", form, env=CI)
        for form in ("gcc", "github", "gitlab")
    }
    assert {done.returncode for done in told.values()} == {4}
    first = f"{place}:3: error: Secret= has no option 'taget'"
    assert told["gcc"].stdout.decode().startswith(first)
    assert f"::error file={place},line=3::Secret= has no".encode() in told["github"].stdout
    issue = json.loads(told["gitlab"].stdout)[0]
    assert issue["location"] == {"path": place, "lines": {"begin": 3}}
    assert issue["severity"] == "major"


def test_validate_as_json(tmp_path: Path) -> None:
    (tmp_path / "web.container").write_text("[Container]\nImage=x\n")
    done = leger("validate", str(tmp_path), "--json")
    assert done.returncode == 0
    assert b'"faults": []' in done.stdout


def wanted(before: Deployment | None, source: str, *more: str) -> Deployment:
    """What `leger deploy install web` makes of a definition."""
    words = ["deploy", "install", "web", source, *more]
    return deploy.wanted(before, "system", arguments.parser("0").parse_args(words))


@pytest.mark.parametrize(
    ("source", "more", "place"),
    [
        ("https://h/o/r", (), ("main", "web")),
        ("https://h/o/r.git", ("--set", "a=1"), ("main", "web")),
        ("https://h/o/r", ("--ref", "v1"), ("v1", "web")),
        ("https://h/o/r", ("--ref", ""), ("", "web")),
        ("https://h/o/r", ("--path", ""), ("main", "")),
        ("https://h/o/r/tree/dev/other", (), ("", "")),
        ("https://h/o/r/tree/dev/other", ("--path", "x"), ("", "x")),
        ("https://h/o/another", (), ("", "")),
        ("/srv/r", ("--ref", "v1"), ("v1", "")),
    ],
)
def test_ref_and_path_go_with_the_source_that_they_were_given_for(
    source: str, more: tuple[str, ...], place: tuple[str, str]
) -> None:
    before = Deployment("web", "https://h/o/r", ref="main", path="web", update="stage")
    found = wanted(before, source, *more)
    assert (found.source, found.ref, found.path, found.update) == (source, *place, "stage")
    tree = replace(before, source="https://h/o/r/tree/dev/other")
    assert wanted(tree, tree.source).ref == "main"
    assert wanted(tree, before.source).ref == ""


def test_a_private_repositorys_key_or_token_is_named_by_the_command_line():
    first = wanted(None, "https://host/o/r", "--token", "/etc/token")
    assert first.auth == Auth(token="/etc/token")
    assert wanted(first, "https://host/o/r").auth == first.auth
    assert wanted(first, "https://other/o/r").auth == NOTHING
    by_ssh = wanted(None, "git@host:o/r", "--ssh-key", "deploy-key")
    assert by_ssh.auth == Auth(ssh_key="deploy-key")
    assert wanted(by_ssh, "https://host/o/r").auth == NOTHING
    with pytest.raises(ConfigError, match="an https address takes a token"):
        wanted(None, "https://host/o/r", "--ssh-key", "/key")


def test_a_definition_that_cannot_be_read_is_listed_all_the_same(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", "/nowhere")  # which a shell may say
    monkeypatch.setenv("XDG_STATE_HOME", "")
    place(tmp_path / ".config/leger/deployments.d/bad.yaml", "sorce: /r\n")
    place(tmp_path / ".config/leger/deployments.d/good.yaml", "source: /r\n")
    assert main.main(["--user", "deploy", "list"]) == 0
    told = capsys.readouterr()
    assert [line.split() for line in told.out.splitlines()[1:]] == [
        ["bad", "not", "deployed"],
        ["good", "not", "deployed", "/r"],
    ]
    assert "bad.yaml:1: unknown key 'sorce'" in told.err
