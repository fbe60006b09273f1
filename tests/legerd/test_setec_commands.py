"""legerd --db, legerd import and legerd export, as an administrator runs them."""

from __future__ import annotations

import base64
import json
import os
import shutil
from pathlib import Path

import pytest

from legerd import setec_file, stores
from legerd.errors import LegerdError
from legerd.keys import Kek
from legerd.main import main
from legerd.options import Options
from legerd.setec_file import DummyKey
from tests.legerd import golden
from tests.legerd.daemon import tcp_daemon, unix_daemon

KEYS = (DummyKey(),)


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """A copy of what setec's server wrote."""
    copy = tmp_path / "database"
    shutil.copy(golden.path_of("versions"), copy)
    return copy


def run(command: str, *arguments: object) -> int:
    return main([command, "--dev", *map(str, arguments)])


def content(path: Path) -> golden.Content:
    return golden.told(setec_file.parse(path.read_bytes(), KEYS, path)[1])


def exact(path: Path) -> bytes:
    """The cleartext, which is the same for the same secrets."""
    return setec_file.cleartext(setec_file.parse(path.read_bytes(), KEYS, path)[1].values())


def test_setecs_file_is_served_and_written(tmp_path: Path, database: Path) -> None:
    with unix_daemon(tmp_path, "--db", str(database)) as legerd:
        answer = legerd.request("POST", "/api/get", b'{"Name":"api"}')[1]
        assert json.loads(answer) == {"Value": base64.b64encode(b"seven").decode(), "Version": 7}
        assert legerd.request("POST", "/api/put", b'{"Name":"new","Value":"dg=="}')[1] == b"1"
        status, text, _ = legerd.request(
            "POST", "/api/create-version", b'{"Name":"prod/db/password","Version":2,"Value":""}'
        )
        assert (status, text) == (412, b"version already set\n")
        assert legerd.stop() == 0
    assert content(database) == {**golden.content_of("versions"), "new": (1, {1: b"v"})}
    assert not (tmp_path / "state" / "secrets.db").exists()


def test_for_tests_a_file_that_is_not_there_is_made(tmp_path: Path) -> None:
    database = tmp_path / "new"
    with tcp_daemon(tmp_path, "--db", str(database)) as legerd:
        assert legerd.stop() == 0
    assert content(database) == {}


def test_legerds_own_database_may_be_named_too(tmp_path: Path) -> None:
    path = tmp_path / "vault" / "secrets.db"
    with unix_daemon(tmp_path, "--db", str(path)) as legerd:
        assert legerd.request("POST", "/api/put", b'{"Name":"a","Value":"dg=="}')[1] == b"1"
        assert legerd.stop() == 0
    assert stores.kind_of(path) is stores.Kind.VAULT
    assert run("check", "--db", path, "--state-dir", tmp_path / "state") == 0


def test_a_database_under_another_name_is_not_taken(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "copy.db").write_bytes(b"SQLite format 3\0" + bytes(100))
    assert run("check", "--db", tmp_path / "copy.db") != 0
    assert "has to be called secrets.db" in capfd.readouterr().err


@pytest.mark.parametrize("name", golden.NAMES)
def test_there_and_back_nothing_is_lost(tmp_path: Path, name: str) -> None:
    state, out = tmp_path / "state", tmp_path / "out"
    assert run("import", golden.path_of(name), "--state-dir", state) == 0
    assert run("check", "--state-dir", state) == 0
    assert run("export", out, "--state-dir", state) == 0
    assert exact(out) == exact(golden.path_of(name))
    assert out.stat().st_mode & 0o7777 == 0o600
    assert json.loads(out.read_bytes())["DEK"] != json.loads(golden.path_of(name).read_bytes())


def test_a_latest_number_that_nobody_has_survives(tmp_path: Path) -> None:
    source, again = tmp_path / "source", tmp_path / "again"
    file, secrets = setec_file.parse(golden.path_of("versions").read_bytes(), KEYS, source)
    text = setec_file.cleartext(secrets.values())
    older = text.replace(b'"LatestVersion":1,', b'"LatestVersion":9,')
    box = base64.b64encode(file.keyset.seal(older, b"setec database v1")).decode()
    source.write_text(f'{{"Version":1,"DEK":"{file.dek}","DB":"{box}"}}')
    state = tmp_path / "state"
    assert run("import", source, "--state-dir", state) == 0
    with unix_daemon(tmp_path) as legerd:
        assert legerd.request("POST", "/api/put", b'{"Name":"empty","Value":"dg=="}')[1] == b"10"
        assert legerd.request("POST", "/api/delete", b'{"Name":"empty"}')[0] == 200
        assert legerd.request("POST", "/api/put", b'{"Name":"empty","Value":""}')[1] == b"1"
        assert legerd.stop() == 0
    assert run("export", again, "--state-dir", state) == 0
    assert exact(again) == text
    shutil.rmtree(state)
    assert run("import", source, "--state-dir", state) == 0
    assert run("export", tmp_path / "third", "--state-dir", state) == 0
    assert exact(tmp_path / "third") == older


def test_an_import_adds_and_can_be_repeated(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    state = ("--state-dir", tmp_path / "state")
    assert run("import", golden.path_of("versions"), *state) == 0
    assert run("import", golden.path_of("bytes"), *state) == 0
    capfd.readouterr()
    assert run("import", golden.path_of("versions"), *state) == 0
    assert "0 secrets added, 3 were there already" in capfd.readouterr().err
    assert run("export", tmp_path / "out", *state) == 0
    both = {**golden.content_of("versions"), **golden.content_of("bytes")}
    assert content(tmp_path / "out") == both


def test_an_import_that_does_not_fit_adds_nothing(
    tmp_path: Path, database: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with unix_daemon(tmp_path) as legerd:
        assert legerd.request("POST", "/api/put", b'{"Name":"empty","Value":"dg=="}')[1] == b"1"
        assert legerd.stop() == 0
    state = ("--state-dir", tmp_path / "state")
    assert run("import", database, *state) == 1
    error = capfd.readouterr().err
    assert "legerd: error: 'empty' is there already, and is not the same" in error
    assert "legerd: hint:" in error
    assert run("export", tmp_path / "out", *state) == 0
    assert content(tmp_path / "out") == {"empty": (1, {1: b"v"})}


def test_the_versions_say_that_they_were_imported(tmp_path: Path, database: Path) -> None:
    options = Options("import", tmp_path / "state", dev=True)
    assert run("import", database, "--state-dir", tmp_path / "state") == 0
    kek = Kek.of(b"SetecDevOnlyDummyEncryption".ljust(32, b"\0"))
    with stores.opened(options, kek) as store:
        version = store.snapshot["api"].versions[7]
    assert version.creator == "legerd import"
    assert version.created > 1.7e9


def test_a_file_is_sealed_with_the_key_that_is_named(tmp_path: Path, database: Path) -> None:
    for name, byte in (("ours", 1), ("theirs", 2)):
        (tmp_path / name).write_bytes(bytes([byte]) * 32)
        (tmp_path / name).chmod(0o600)
    theirs = ("--file-key", tmp_path / "theirs")
    out, ours = tmp_path / "out", tmp_path / "own"
    state = ("--state-dir", tmp_path / "state", "--key-file", tmp_path / "ours")
    assert run("import", database, *state) == 0
    assert main(["export", *map(str, (out, *theirs, *state))]) == 0
    assert main(["export", *map(str, (ours, *state))]) == 0
    for path, byte in ((out, 2), (ours, 1)):
        key = Kek.of(bytes([byte]) * 32)
        secrets = setec_file.parse(path.read_bytes(), (key,), path)[1]
        assert golden.told(secrets) == golden.content_of("versions")
    assert main(["import", *map(str, (out, *state))]) == 1
    assert main(["import", *map(str, (out, *theirs, *state))]) == 0
    assert main(["check", *map(str, ("--db", ours, *state))]) == 0


def test_an_export_replaces_no_file(
    tmp_path: Path, database: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before = database.read_bytes()
    assert run("import", database, "--state-dir", tmp_path / "state") == 0
    assert run("export", database, "--state-dir", tmp_path / "state") == 1
    assert "is there already" in capfd.readouterr().err
    assert database.read_bytes() == before


def test_the_dummy_key_is_for_tests_only(
    tmp_path: Path, database: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "key").write_bytes(bytes(32))
    (tmp_path / "key").chmod(0o600)
    assert main(["check", "--db", str(database), "--key-file", str(tmp_path / "key")]) == 1
    error = capfd.readouterr().err
    assert "sealed with the dummy key of setec --dev" in error
    assert "Traceback" not in error


@pytest.mark.parametrize(
    "arguments",
    ["check --db {0}", "import {0} --state-dir {1}/state", "export {1}/out --db {0}"],
)
@pytest.mark.parametrize(
    "data", [b"", b"\0", b"{", b"SQLite format 3", b'{"Version":1,"DEK":"","DB":""}']
)
def test_a_damaged_file_is_one_line(
    tmp_path: Path,
    database: Path,
    capfd: pytest.CaptureFixture[str],
    data: bytes,
    arguments: str,
) -> None:
    database.write_bytes(data)
    state = tmp_path / "state"
    assert run(*arguments.format(database, tmp_path).split()) == 1
    lines = capfd.readouterr().err.splitlines()
    assert lines[0].startswith(f"legerd: error: {database}: n")
    assert len(lines) == 2
    assert database.read_bytes() == data
    assert not state.exists()
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("arguments", ["check --db {0}/no", "import {0}/no"])
def test_a_file_that_is_not_there_is_one_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], arguments: str
) -> None:
    assert run(*arguments.format(tmp_path).split()) == 1
    assert f"legerd: error: {tmp_path}/no: no database" in capfd.readouterr().err
    assert os.listdir(tmp_path) == []


def test_legerds_own_database_is_not_imported(
    tmp_path: Path, database: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run("import", database, "--state-dir", tmp_path / "state") == 0
    vault = tmp_path / "state" / "secrets.db"
    assert run("import", vault, "--state-dir", tmp_path / "other") != 0
    assert "legerd's own database, not setec's" in capfd.readouterr().err


@pytest.mark.parametrize("arguments", [["import"], ["export"], ["check", "file"]])
def test_which_command_needs_a_file(arguments: list[str]) -> None:
    with pytest.raises(SystemExit):
        main(arguments)


def test_a_kind_is_told_by_the_first_bytes(tmp_path: Path, database: Path) -> None:
    assert stores.kind_of(database) is stores.Kind.SETEC
    with pytest.raises(LegerdError):
        stores.kind_of(tmp_path)
