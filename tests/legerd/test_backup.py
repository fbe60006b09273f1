"""Backups: made while legerd runs, whole or refused, and put in place on another host."""

from __future__ import annotations

import base64
import contextlib
import gzip
import io
import os
import random
import stat
import tarfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from leger.errors import LegerError, UsageError

from legerd import backup, keygen, restoring, rootsocket
from legerd.backup import Backup
from legerd.changes import Edit
from legerd.errors import KeyUnavailable, StoreCorrupt, StoreLocked
from legerd.keys import Kek
from legerd.main import main
from legerd.recovery import RecoveryKey
from legerd.store import Store
from tests.legerd.daemon import unix_daemon
from tests.legerd.opened import KEK
from tests.legerd.test_keys import fake_creds, killed
from tests.legerd.test_store_damage import answers

RECOVERY = RecoveryKey.of(b"r" * 32)


def made(store: Store, when: int = 1_700_000_000) -> Backup:
    copy = store.copy()
    return Backup("web.example", when, copy.commit, store.recovery, copy.database, copy.sequence)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store.open(tmp_path / "here", KEK, create=True)
    store.put("a", b"one", "me")
    store.put("b", b"x" * 20_000, "me")
    store.describe("b", Edit("of the shop"))
    store.set_recovery(RECOVERY.public.raw)
    yield store
    store.close()


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """Key folder and state folder of a fresh host, with a systemd-creds that writes base64."""
    script = 'case "$1" in encrypt) base64;; decrypt) base64 -d;; esac'
    fake_creds(tmp_path / "bin", monkeypatch, script)
    (tmp_path / "state").mkdir(mode=0o700)
    return tmp_path / "keys", tmp_path / "state"


@given(
    found=st.builds(
        Backup, st.text(max_size=20), st.integers(0, 2**33), st.integers(0), st.text(),
        st.binary(max_size=9000), st.binary(),
    )
)  # fmt: skip
def test_a_backup_comes_back(found: Backup):
    assert Backup.parse(found.encode(), "x") == found
    assert "/" not in found.name


def test_a_damaged_backup_is_refused(store: Store, rng: random.Random):
    found = made(store)
    whole = found.encode()
    data = memoryview(whole)
    ends = [0, 1, 511, 512, 1536, len(whole) // 2]
    for broken in (*(bytes(data[:end]) for end in ends), b"x" * 2000):
        with pytest.raises(StoreCorrupt, match="not a whole backup"):
            Backup.parse(broken, "x")
    for at in (*range(512, 1024), *(rng.randrange(len(whole)) for _ in range(60))):
        flipped = bytearray(whole)
        flipped[at] ^= 1 << rng.randrange(8)
        with contextlib.suppress(StoreCorrupt):
            assert Backup.parse(bytes(flipped), "x") == found


@given(data=st.binary())
def test_whatever_is_no_backup_is_refused(data: bytes):
    for each in (data, gzip.compress(data), b"legerd".ljust(512, b"\0") + data):
        with pytest.raises(StoreCorrupt):
            Backup.parse(each, "x")


def test_a_backup_with_something_else_in_it_is_refused():
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        member = tarfile.TarInfo("../../etc/passwd")
        archive.addfile(member, io.BytesIO())
    with pytest.raises(StoreCorrupt, match="does not belong in it"):
        Backup.parse(buffer.getvalue(), "x")


def test_a_copy_is_whole_while_others_write(store: Store, tmp_path: Path):
    stop = threading.Event()
    acknowledged: list[int] = [0]

    def write() -> None:
        for number in range(10_000):
            if stop.is_set():
                return
            store.put("busy", str(number).encode() * 100, "me")
            acknowledged[0] = number + 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for turn in range(10):
            least = acknowledged[0]
            copy = store.copy()
            folder = tmp_path / f"copy{turn}"
            folder.mkdir()
            (folder / "secrets.db").write_bytes(copy.database)
            (folder / "sequence").write_bytes(copy.sequence)
            with_it = Store.open(folder, RECOVERY)
            busy = with_it.snapshot.get("busy")
            assert (len(busy.versions) if busy else 0) >= least
            assert with_it.snapshot["a"].versions[1].value.reveal() == b"one"
            with_it.close()
    finally:
        stop.set()
        writer.join()


def test_nothing_of_a_secret_can_be_read_in_a_backup(store: Store):
    store.put("needle-in-a-name", b"needle-in-a-value", "needle-in-a-creator")
    assert b"needle" not in made(store).encode()


def test_the_newest_are_kept_and_others_files_too(store: Store, tmp_path: Path):
    folder = tmp_path / "backups"
    found = [made(store, 1_700_000_000 + day * 86400) for day in range(5)]
    other = Backup("other", 1_600_000_000, 1, "", b"d", b"s")
    backup.store(other, str(folder))
    (folder / "notes.txt").write_text("mine")
    for each in found[:4]:
        assert backup.store(each, str(folder)) == []
    assert backup.store(found[4], str(folder), keep=2) == [each.name for each in found[:3]]
    assert {path.name for path in folder.iterdir()} == {
        "notes.txt", other.name, found[3].name, found[4].name
    }  # fmt: skip
    assert stat.S_IMODE((folder / found[4].name).stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert backup.load(str(folder / found[3].name)) == found[3]
    with pytest.raises(UsageError, match=r"other, web\.example") as caught:
        backup.load(str(folder))
    assert found[4].name in caught.value.hint
    (folder / other.name).unlink()
    assert backup.load(str(folder)) == found[4]


def test_where_there_is_no_backup_it_says_so(tmp_path: Path):
    with pytest.raises(UsageError, match="there is no backup"):
        backup.load(str(tmp_path))
    with pytest.raises(UsageError, match="cannot be read"):
        backup.load(str(tmp_path / "no"))
    with pytest.raises(LegerError, match="cannot be read"):
        backup.load(str(tmp_path / "web-20260101T000000Z.legerd"))


def never() -> RecoveryKey:
    raise AssertionError("the recovery key was asked for")


def sealed(keys: Path) -> Kek:
    return Kek.of(base64.b64decode((keys / "kek.cred").read_bytes()))


def test_a_fresh_host_takes_a_backup_with_the_recovery_key(
    store: Store, elsewhere: tuple[Path, Path]
):
    keys, state = elsewhere
    said = restoring.restore(made(store), None, lambda: RECOVERY, state, keys=keys)
    assert f"sealed to this host by {keys}/kek.cred" in said
    restored = Store.open(state, sealed(keys))
    assert answers(restored) == answers(store)
    assert restored.put("a", b"two", "me") == 2
    restored.close()
    assert {path.name for path in state.iterdir()} == {"lock", "secrets.db", "sequence"}
    assert [path.name for path in keys.iterdir()] == ["kek.cred"]
    with pytest.raises(KeyUnavailable):
        Store.open(state, KEK)


def test_a_host_that_has_its_key_needs_no_recovery_key(store: Store, elsewhere: tuple[Path, Path]):
    keys, state = elsewhere
    said = restoring.restore(made(store), KEK, never, state, keys=keys)
    assert "opened by the key that is here" in said
    assert not keys.exists()
    restored = Store.open(state, KEK)
    assert answers(restored) == answers(store)
    restored.close()


def test_a_vault_that_is_there_is_put_aside_only_if_it_is_said(
    store: Store, elsewhere: tuple[Path, Path]
):
    keys, state = elsewhere
    keygen.run(keys, state)
    before = sealed(keys)
    own = Store.open(state, before)
    own.put("own", b"1", "me")
    with pytest.raises(StoreLocked):
        restoring.restore(made(store), None, never, state, keys=keys)
    own.close()
    with pytest.raises(UsageError) as caught:
        restoring.restore(made(store), before, never, state, keys=keys)
    assert "--replace" in caught.value.hint
    said = restoring.restore(made(store), before, lambda: RECOVERY, state, keys=keys, replace=True)
    restored = Store.open(state, sealed(keys))
    assert answers(restored) == answers(store)
    restored.close()
    (aside,) = state.glob("replaced-*")
    assert str(aside) in said
    old_key = keys / f"kek.cred.{aside.name}"
    own = Store.open(aside, Kek.of(base64.b64decode(old_key.read_bytes())))
    assert list(own.snapshot) == ["own"]
    own.close()


@pytest.mark.parametrize("wrong", [RecoveryKey.of(b"w" * 32), None])
def test_the_wrong_recovery_key_changes_nothing(
    store: Store, elsewhere: tuple[Path, Path], wrong: RecoveryKey | None
):
    keys, state = elsewhere
    found = made(store)
    if wrong is None:
        wrong, found = RECOVERY, Backup("h", 0, 1, "", found.database, bytes(8192))
    with pytest.raises((KeyUnavailable, StoreCorrupt)):
        restoring.restore(found, None, lambda: wrong, state, keys=keys)
    assert [path.name for path in state.iterdir()] == ["lock"]
    assert not (keys / "kek.cred").exists()
    restoring.restore(made(store), None, lambda: RECOVERY, state, keys=keys)
    Store.open(state, sealed(keys)).close()


STEPS = [
    ("legerd.keygen.disk.write_file", "before"),
    ("legerd.keygen.disk.write_file", "after"),
    ("legerd.keygen.Vault.replace_slots", "before"),
    ("legerd.keygen.Vault.replace_slots", "after"),
    ("legerd.restoring._put_aside", "before"),
    ("legerd.restoring._put_aside", "after"),
    ("legerd.restoring._put_in_place", "after"),
    ("legerd.keygen.finish", "before"),
    ("legerd.keygen.finish", "after"),
]


@pytest.mark.parametrize(("step", "when"), STEPS)
def test_a_restore_killed_at_any_step_is_run_again(
    store: Store, elsewhere: tuple[Path, Path], step: str, when: str
):
    keys, state = elsewhere
    found = made(store)

    def restore() -> str:
        return restoring.restore(found, None, lambda: RECOVERY, state, keys=keys, replace=True)

    killed(step, when, restore)
    restore()
    restored = Store.open(state, sealed(keys))
    assert answers(restored) == answers(store)
    restored.close()


def test_a_restore_killed_before_its_key_is_in_place_is_ended_by_keygen(
    store: Store, elsewhere: tuple[Path, Path]
):
    keys, state = elsewhere
    killed(
        "legerd.keygen.finish",
        "before",
        lambda: restoring.restore(made(store), None, lambda: RECOVERY, state, keys=keys),
    )
    keygen.run(keys, state)
    restored = Store.open(state, sealed(keys))
    assert answers(restored) == answers(store)
    restored.close()


def root_only() -> None:
    if os.geteuid():
        pytest.skip("legerd answers root only")


def test_the_running_server_is_backed_up_and_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    root_only()
    to, state = tmp_path / "backups", tmp_path / "state"
    with unix_daemon(tmp_path) as legerd:
        monkeypatch.setattr(rootsocket, "PATH", legerd.address)
        legerd.request("POST", "/api/put", b'{"Name":"a","Value":"dg=="}')
        assert main(["backup", "--to", str(to)]) == 2
        error = capfd.readouterr().err
        assert "there is no recovery key" in error
        assert "--without-recovery-key" in error
        assert not to.exists()
        assert main(["recovery-key", "--output", str(tmp_path / "key")]) == 0
        assert main(["backup", "--to", str(to), "--hostname", "web"]) == 0
        (name,) = [path.name for path in to.iterdir()]
        said = capfd.readouterr()
        assert said.out == f"{to}/{name}\n"
        assert "commit 3" in said.err
        assert main(["check", "--dev", "--state-dir", str(state)]) == 0
        assert "1 secrets and 5 lines of the audit log are whole" in capfd.readouterr().err
        with (state / "secrets.db").open("r+b") as file:
            file.seek(7000)
            file.write(b"\xff" * 1192)
        assert main(["check", "--dev", "--state-dir", str(state)]) == 1
        error = capfd.readouterr().err
        assert "secrets.db: " in error
        assert "legerd restore" in error
    found = backup.load(str(to))
    assert found.host == "web"
    key = RecoveryKey.parse((tmp_path / "key").read_text())
    assert found.recovery == key.public.name


def test_the_service_checks_the_store_that_it_serves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    root_only()
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "systemctl").write_text("#!/bin/sh\nexit 0\n")
    (tmp_path / "bin" / "systemctl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    with unix_daemon(tmp_path, "--db", str(tmp_path / "setec")) as legerd:
        monkeypatch.setattr(rootsocket, "PATH", legerd.address)
        legerd.request("POST", "/api/put", b'{"Name":"a","Value":"dg=="}')
        assert main(["check"]) == 0
        assert "1 secrets and" in capfd.readouterr().err
        (tmp_path / "setec").write_bytes(b"{")
        assert main(["check"]) == 1
        assert "not a whole database of setec" in capfd.readouterr().err


def test_a_data_key_is_renewed_while_legerd_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    root_only()
    with unix_daemon(tmp_path) as legerd:
        monkeypatch.setattr(rootsocket, "PATH", legerd.address)
        legerd.request("POST", "/api/put", b'{"Name":"a","Value":"dg=="}')
        fetch = b'{"Secrets":[{"Name":"a"}]}'
        told = legerd.request("POST", "/api/leger/fetch", fetch)[1]
        assert main(["rekey", "--data-key"]) == 0
        assert "encrypted afresh" in capfd.readouterr().err
        assert legerd.request("POST", "/api/leger/fetch", fetch)[1] == told
        assert legerd.request("POST", "/api/put", b'{"Name":"a","Value":"dw=="}')[1] == b"2"
        assert legerd.stop() == 0
    assert main(["check", "--dev", "--state-dir", str(tmp_path / "state")]) == 0


def test_a_store_that_is_named_is_backed_up_without_a_server(
    store: Store, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    key = tmp_path / "key"
    key.write_bytes(bytes(range(32)))
    key.chmod(0o600)
    told = answers(store)
    store.close()
    where = ["--key-file", str(key), "--state-dir", str(tmp_path / "here")]
    assert main(["backup", "--to", str(tmp_path / "b"), *where]) == 0
    assert main(["rekey", "--data-key", *where]) == 0
    (tmp_path / "there").mkdir(mode=0o700)
    there = ["--key-file", str(key), "--state-dir", str(tmp_path / "there")]
    assert main(["restore", str(tmp_path / "b"), *there]) == 0
    assert "opened by the key that is here" in capfd.readouterr().err
    restored = Store.open(tmp_path / "there", KEK)
    assert answers(restored) == told
    restored.close()
    assert main(["rekey", "--new-key-file", str(key), *there]) == 0


CALLS: list[Callable[[], int]] = [
    lambda: main(["backup"]),
    lambda: main(["backup", "--to", "x", "--keep", "0"]),
    lambda: main(["rekey", "--data-key", "--new-key-file", "x"]),
]


@pytest.mark.parametrize("call", CALLS)
def test_wrong_options_are_refused(call: Callable[[], int]):
    with pytest.raises(SystemExit) as ended:
        call()
    assert ended.value.code == 2
