"""Key-encryption keys: where they come from, what they wrap, and legerd-keygen."""

from __future__ import annotations

import base64
import contextlib
import os
import pkgutil
import pwd
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from leger.errors import LegerError

from legerd import crypto, keygen
from legerd.errors import KeyUnavailable, StoreCorrupt
from legerd.keys import CREDENTIAL, KEK_SLOT, Kek, Slot, load_kek
from legerd.recovery import RecoveryKey
from legerd.store import Store

KEY = bytes(range(32))
DATABASE = bytes(16)


def test_a_credential_and_a_key_file_give_the_same_key(tmp_path: Path):
    (tmp_path / CREDENTIAL).write_bytes(KEY)
    (tmp_path / CREDENTIAL).chmod(0o600)
    assert load_kek(tmp_path) == load_kek(None, tmp_path / CREDENTIAL) == Kek.of(KEY)


@pytest.mark.parametrize("content", [b"", KEY[:-1], KEY + b"\n"])
def test_a_key_of_another_length_is_refused(tmp_path: Path, content: bytes):
    (tmp_path / CREDENTIAL).write_bytes(content)
    with pytest.raises(KeyUnavailable, match="has 32 bytes") as caught:
        load_kek(tmp_path)
    assert caught.value.hint


def test_a_missing_credential_is_refused_with_what_mends_it(tmp_path: Path):
    with pytest.raises(KeyUnavailable) as caught:
        load_kek(tmp_path)
    assert "legerd-keygen.service" in caught.value.hint
    assert "legerd restore --recovery-key" in caught.value.hint
    with pytest.raises(KeyUnavailable):
        load_kek(None)


def test_a_key_file_that_others_may_read_is_refused(tmp_path: Path):
    path = tmp_path / "key"
    path.write_bytes(KEY)
    path.chmod(0o640)
    with pytest.raises(KeyUnavailable) as caught:
        load_kek(None, path)
    assert caught.value.hint == f"chmod 600 {path}"


def test_the_wrap_is_nonce_ciphertext_tag_under_the_key_itself():
    slot = Kek.of(KEY).wrap(bytes(32), DATABASE)
    assert len(slot.wrap) == 24 + 32 + 16
    associated = b"legerd/1 data key for a key-encryption key:" + DATABASE
    assert crypto.unseal(KEY, slot.wrap, associated) == bytes(32)


def test_a_wrap_opens_for_its_key_and_its_database_only():
    kek, other = Kek.of(KEY), Kek.of(bytes(32))
    slots = [other.wrap(b"o" * 32, DATABASE), kek.wrap(b"d" * 32, DATABASE)]
    assert kek.unlock(slots, DATABASE) == b"d" * 32
    with pytest.raises(StoreCorrupt):
        kek.unlock(slots, bytes(15) + b"1")
    with pytest.raises(KeyUnavailable, match=other.id.hex()):
        kek.unlock(slots[:1], DATABASE)
    with pytest.raises(StoreCorrupt):
        kek.unlock([Slot(KEK_SLOT, kek.id, slots[0].wrap)], DATABASE)


def test_neither_a_key_nor_what_holds_one_shows_it():
    kek = Kek.of(b"k" * 32)
    assert "kkkk" not in repr(kek)
    assert "wrap" not in repr(kek.wrap(bytes(32), DATABASE))


def fake_creds(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """A systemd-creds of our own on PATH."""
    folder.mkdir()
    program = folder / "systemd-creds"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """Key folder and state folder, with a systemd-creds that 'seals' by writing base64."""
    script = (
        f'[ "$#" = 4 ] && [ "$2" = --name={CREDENTIAL} ] || exit 9\n'
        'case "$1" in encrypt) base64;; decrypt) base64 -d;; esac'
    )
    fake_creds(tmp_path / "bin", monkeypatch, script)
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    return tmp_path / "keys", state


def opens(folders: tuple[Path, Path]) -> bool:
    """Whether the key that was made opens the vault that was made."""
    keys, state = folders
    Store.open(state, Kek.of(base64.b64decode((keys / "kek.cred").read_bytes()))).close()
    return True


def test_keygen_makes_key_and_vault_once(folders: tuple[Path, Path]):
    keys, state = folders
    assert "made" in keygen.run(keys, state)
    before = (keys / "kek.cred").read_bytes()
    assert "nothing to do" in keygen.run(keys, state)
    assert (keys / "kek.cred").read_bytes() == before
    assert opens(folders)
    assert [path.name for path in keys.iterdir()] == ["kek.cred"]
    assert stat.S_IMODE((keys / "kek.cred").stat().st_mode) == 0o600
    assert stat.S_IMODE(keys.stat().st_mode) == 0o700
    modes = {stat.S_IMODE(path.stat().st_mode) for path in state.iterdir()}
    assert modes == {0o600}


@pytest.mark.parametrize("gone", ["key", "vault"])
def test_keygen_never_makes_one_for_the_other(folders: tuple[Path, Path], gone: str):
    keys, state = folders
    keygen.run(keys, state)
    (keys / "kek.cred" if gone == "key" else state / "secrets.db").unlink()
    before = {path: path.read_bytes() for path in (*keys.iterdir(), *state.iterdir())}
    with pytest.raises(KeyUnavailable, match="is gone") as caught:
        keygen.run(keys, state)
    assert ("legerd restore" if gone == "key" else "backup") in caught.value.hint
    assert {path: path.read_bytes() for path in (*keys.iterdir(), *state.iterdir())} == before


STEPS = [
    ("legerd.keygen.disk.write_file", "before"),
    ("legerd.keygen.disk.write_file", "after"),
    ("legerd.vault.database.create", "before"),
    ("legerd.vault.database.create", "after"),
    ("legerd.vault.SequenceFile.create", "before"),
    ("legerd.vault.SequenceFile.create", "after"),
    ("legerd.vault.disk.sync_folder", "after"),
    ("legerd.keygen.Vault.create", "after"),
    ("legerd.keygen.disk.sync_folder", "after"),
]


@pytest.mark.parametrize(("step", "when"), STEPS)
def test_keygen_killed_at_any_step_goes_on(folders: tuple[Path, Path], step: str, when: str):
    killed(step, when, lambda: keygen.run(*folders))
    keygen.run(*folders)
    assert opens(folders)
    assert [path.name for path in folders[0].iterdir()] == ["kek.cred"]
    assert {path.name for path in folders[1].iterdir()} == {"lock", "secrets.db", "sequence"}


def killed(step: str, when: str, call: Callable[[], object]) -> None:
    """Run `call` in a child that dies before or after `step`."""
    child = os.fork()
    if child == 0:
        _die_at(step, when)
        call()
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


def _die_at(step: str, when: str) -> None:
    """In a child that ends there: no cleaning up, as after kill -9."""
    where, _, name = step.rpartition(".")
    owner = pkgutil.resolve_name(where)
    real = getattr(owner, name)

    def stops(*arguments: object, **keywords: object) -> None:
        if when == "after":
            real(*arguments, **keywords)
        os._exit(9)

    setattr(owner, name, stops)


def test_a_sealed_key_of_another_vault_is_not_taken_for_this_ones(folders: tuple[Path, Path]):
    keys, state = folders
    keygen.run(keys, state)
    (keys / "kek.cred").unlink()
    (keys / "kek.cred.new").write_bytes(base64.b64encode(KEY))
    with pytest.raises(KeyUnavailable, match="is gone"):
        keygen.run(keys, state)
    assert [path.name for path in keys.iterdir()] == ["kek.cred.new"]


def moved_vault(folders: tuple[Path, Path]) -> RecoveryKey:
    """A vault from another host, whose recovery key is all there is."""
    recovery = RecoveryKey.generate()
    with contextlib.closing(Store.open(folders[1], Kek.of(KEY), create=True)) as store:
        store.put("a", b"value", "me")
        store.set_recovery(recovery.public.raw)
    return recovery


def test_a_vault_from_another_host_is_sealed_to_this_one(folders: tuple[Path, Path]):
    keys, state = folders
    recovery = moved_vault(folders)
    keygen.restore(recovery, keys, state)
    assert opens(folders)
    with pytest.raises(KeyUnavailable):
        Store.open(state, Kek.of(KEY))
    first = (keys / "kek.cred").read_bytes()
    keygen.restore(recovery, keys, state)
    assert opens(folders)
    assert (keys / "kek.cred").read_bytes() != first
    assert [path.name for path in keys.iterdir()] == ["kek.cred"]


@pytest.mark.parametrize(
    ("step", "when"),
    [
        ("legerd.keygen.disk.write_file", "after"),
        ("legerd.vault.Vault.replace_slots", "before"),
        ("legerd.vault.Vault.replace_slots", "after"),
        ("legerd.keygen.finish", "after"),
    ],
)
def test_a_restore_killed_at_any_step_is_run_again(
    folders: tuple[Path, Path], step: str, when: str
):
    recovery = moved_vault(folders)
    killed(step, when, lambda: keygen.restore(recovery, *folders))
    keygen.restore(recovery, *folders)
    assert opens(folders)


def test_a_restore_without_vault_or_with_another_key_makes_nothing(folders: tuple[Path, Path]):
    keys, state = folders
    with pytest.raises(KeyUnavailable, match="no vault"):
        keygen.restore(RecoveryKey.generate(), keys, state)
    moved_vault(folders)
    with pytest.raises(KeyUnavailable, match="recovery key"):
        keygen.restore(RecoveryKey.generate(), keys, state)
    assert not (keys / "kek.cred").exists()
    Store.open(state, Kek.of(KEY)).close()


@pytest.mark.parametrize("script", ["echo no TPM >&2; exit 1", "cat >/dev/null; echo else"])
def test_keygen_makes_nothing_that_would_not_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str
):
    fake_creds(tmp_path / "bin", monkeypatch, script)
    (tmp_path / "state").mkdir(mode=0o700)
    with pytest.raises(LegerError, match="systemd-creds"):
        keygen.run(tmp_path / "keys", tmp_path / "state")
    assert not list((tmp_path / "state").iterdir())
    assert not list((tmp_path / "keys").iterdir())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give the folder to another user")
def test_the_vault_belongs_to_the_owner_of_its_folder(folders: tuple[Path, Path]):
    keys, state = folders
    nobody = pwd.getpwnam("nobody")
    for folder in (state, *state.parents[:-2]):
        folder.chmod(folder.stat().st_mode | 0o011)
    os.chown(state, nobody.pw_uid, nobody.pw_gid)
    keygen.run(keys, state)
    assert {path.stat().st_uid for path in state.iterdir()} == {nobody.pw_uid}
    assert (keys / "kek.cred").stat().st_uid == 0
    assert os.geteuid() == 0
