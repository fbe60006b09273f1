"""legerd check, and what the commands say when something is not as it should be."""

from __future__ import annotations

import base64
import os
from pathlib import Path

import pytest
from leger.errors import LegerError

from legerd import rootsocket
from legerd.main import main
from tests.legerd.daemon import unix_daemon

SAME_OWNER = "root runs check with the rights of the folder's owner, for good"


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A vault with one secret and two lines of audit log."""
    with unix_daemon(tmp_path) as legerd:
        assert legerd.request("POST", "/api/put", b'{"Name":"a","Value":"dg=="}')[1] == b"1"
        assert legerd.request("POST", "/api/list", b"{}")[0] == 200
        assert legerd.stop() == 0
    return tmp_path / "state"


def test_check_reads_vault_and_audit_log(state: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert state.stat().st_uid == os.geteuid(), SAME_OWNER
    assert main(["check", "--dev", "--state-dir", str(state)]) == 0
    assert "1 secrets and 2 lines of the audit log are whole" in capfd.readouterr().err


def test_check_names_the_line_that_is_not_whole(
    state: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with (state / "audit.log").open("ab") as file:
        file.write(b'{"id":1\n')
    assert main(["check", "--dev", "--state-dir", str(state)]) == 1
    assert f"legerd: error: {state}/audit.log:3: not a line" in capfd.readouterr().err


def test_check_says_which_key_is_wrong(state: Path, capfd: pytest.CaptureFixture[str]) -> None:
    key = state.parent / "key"
    key.write_bytes(bytes(32))
    key.chmod(0o600)
    before = {file.name: file.read_bytes() for file in state.iterdir()}
    assert main(["check", "--key-file", str(key), "--state-dir", str(state)]) == 1
    error = capfd.readouterr().err
    assert "legerd: error: the database is sealed with key" in error
    assert "legerd: hint:" in error
    assert {file.name: file.read_bytes() for file in state.iterdir()} == before


def recovery_of(public: bytes) -> dict[str, object]:
    return {"PublicKey": base64.b64encode(public).decode()}


def test_a_server_that_is_not_there_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rootsocket, "PATH", tmp_path / "nobody")
    with pytest.raises(LegerError, match="legerd does not answer") as found:
        rootsocket.ask("recovery", recovery_of(bytes(32)))
    assert found.value.hint == "systemctl status legerd.service"


def test_a_recovery_key_is_set_at_the_running_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with unix_daemon(tmp_path) as legerd:
        assert isinstance(legerd.address, Path)
        monkeypatch.setattr(rootsocket, "PATH", legerd.address)
        if os.geteuid():
            with pytest.raises(LegerError, match="only root"):
                rootsocket.ask("recovery", recovery_of(bytes(31) + b"\x09"))
            return
        with pytest.raises(LegerError, match="internal error"):
            rootsocket.ask("recovery", recovery_of(b""))
        rootsocket.ask("recovery", recovery_of(bytes(31) + b"\x09"))
        assert b'"Recovery":""' not in legerd.request("POST", "/api/leger/status", b"{}")[1]
