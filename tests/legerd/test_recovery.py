"""The recovery key: written down, typed back, and a vault opened on another host."""

from __future__ import annotations

import io
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from leger.errors import LegerError, UsageError

from legerd import recovery
from legerd.errors import KeyUnavailable, Rejected, StoreCorrupt
from legerd.keys import Kek
from legerd.recovery import PublicKey, RecoveryKey
from legerd.store import Store

KEK = Kek.of(bytes(range(32)))
KEYS = st.binary(min_size=32, max_size=32).map(RecoveryKey.of)


class Terminal(io.StringIO):
    """A terminal that keeps what is shown."""

    def isatty(self) -> bool:
        return True


@given(key=KEYS)
def test_what_is_printed_is_read_back_however_it_is_typed(key: RecoveryKey):
    text = key.text()
    assert RecoveryKey.parse(text) == key
    assert RecoveryKey.parse(text.lower().replace("-", " ")) == key
    assert RecoveryKey.parse("# a comment\n\n" + text.replace("\n", "")) == key
    assert RecoveryKey.parse(text.replace("O", "0").replace("I", "1").replace("B", "8")) == key
    assert [len(line) for line in text.split("\n")] == [19] * 4


@given(key=KEYS, at=st.integers(0, 63), letter=st.sampled_from("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"))
def test_a_wrong_letter_is_noticed(key: RecoveryKey, at: int, letter: str):
    letters = key.text().replace("-", "").replace("\n", "")
    wrong = letters[:at] + letter + letters[at + 1 :]
    if wrong != letters:
        with pytest.raises(KeyUnavailable):
            RecoveryKey.parse(wrong)


@pytest.mark.parametrize("text", ["", "AAAA", "!" * 64, "A" * 64, "A" * 63, "é" * 64, "A" * 72])
def test_what_is_no_key_is_refused(text: str):
    with pytest.raises(KeyUnavailable, match="not a recovery key"):
        RecoveryKey.parse(text)


def test_a_vault_opens_with_its_recovery_key_and_moves_to_a_new_host(tmp_path: Path):
    key = RecoveryKey.generate()
    store = Store.open(tmp_path, KEK, create=True)
    store.put("a", b"value", "me")
    tag = store.tag("a", 1, b"value")
    assert store.recovery == ""
    store.set_recovery(key.public.raw)
    assert store.recovery == key.public.name
    store.close()

    new = Kek.of(bytes(32))
    with pytest.raises(KeyUnavailable):
        Store.open(tmp_path, new)
    store = Store.open(tmp_path, RecoveryKey.parse(key.text()))
    store.set_kek(new)
    store.close()

    with pytest.raises(KeyUnavailable):
        Store.open(tmp_path, KEK)
    store = Store.open(tmp_path, new)
    assert store.snapshot["a"].versions[1].value.reveal() == b"value"
    assert store.tag("a", 1, b"value") == tag
    assert store.recovery == key.public.name
    store.close()


def test_a_new_recovery_key_takes_the_place_of_the_old_one(tmp_path: Path):
    old, new = RecoveryKey.generate(), RecoveryKey.generate()
    store = Store.open(tmp_path, KEK, create=True)
    store.set_recovery(old.public.raw)
    store.set_recovery(new.public.raw)
    store.put("a", b"", "me")
    store.close()
    with pytest.raises(KeyUnavailable, match=old.public.name):
        Store.open(tmp_path, old)
    Store.open(tmp_path, new).close()
    Store.open(tmp_path, KEK).close()


@pytest.mark.parametrize("raw", [b"", bytes(31), bytes(32), bytes(33), b"\x01" + bytes(31)])
def test_a_public_key_that_nobody_holds_is_rejected(tmp_path: Path, raw: bytes):
    store = Store.open(tmp_path, KEK, create=True)
    with pytest.raises(Rejected):
        store.set_recovery(raw)
    assert store.recovery == ""
    store.close()


def test_a_damaged_wrap_is_refused():
    key = RecoveryKey.generate()
    slot = key.public.wrap(b"d" * 32, bytes(16))
    assert key.unlock([slot], bytes(16)) == b"d" * 32
    for at in range(len(slot.wrap)):
        wrap = bytearray(slot.wrap)
        wrap[at] ^= 1
        with pytest.raises(StoreCorrupt):
            key.unlock([type(slot)(slot.kind, slot.id, bytes(wrap))], bytes(16))


def test_the_key_is_shown_on_a_terminal_and_only_its_public_half_is_registered():
    terminal, registered = Terminal(), list[bytes]()
    public = recovery.make(registered.append, terminal, None)
    shown = RecoveryKey.parse(terminal.getvalue())
    assert registered == [public.raw] == [shown.public.raw]
    assert public.name in terminal.getvalue()


def test_the_key_never_goes_into_a_pipe():
    pipe = io.StringIO()
    with pytest.raises(UsageError) as caught:
        recovery.make(lambda _: None, pipe, None)
    assert pipe.getvalue() == ""
    assert "--output" in caught.value.hint


def test_the_key_goes_into_a_new_file_that_only_root_reads(tmp_path: Path):
    output, registered = tmp_path / "key", list[bytes]()
    recovery.make(registered.append, io.StringIO(), output)
    assert stat.S_IMODE(output.stat().st_mode) == 0o600
    assert RecoveryKey.parse(output.read_text()).public == PublicKey(registered[0])


@pytest.mark.parametrize("kind", ["file", "link"])
def test_a_file_that_is_there_is_not_written(tmp_path: Path, kind: str):
    output = tmp_path / "key"
    if kind == "file":
        output.write_text("mine")
    else:
        output.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(LegerError, match="cannot be made"):
        recovery.make(lambda _: pytest.fail("registered"), io.StringIO(), output)
    assert kind == "link" or output.read_text() == "mine"
    assert not (tmp_path / "elsewhere").exists()


def test_a_key_that_the_vault_did_not_take_is_withdrawn(tmp_path: Path):
    def refuse(_: bytes) -> None:
        raise LegerError("legerd is not there")

    with pytest.raises(LegerError, match="not there"):
        recovery.make(refuse, io.StringIO(), tmp_path / "key")
    assert not (tmp_path / "key").exists()
    terminal = Terminal()
    with pytest.raises(LegerError, match="not there"):
        recovery.make(refuse, terminal, None)
    assert "NOT in use" in terminal.getvalue()


def test_the_private_half_does_not_show_itself():
    key = RecoveryKey.of(b"k" * 32)
    assert "kkkk" not in repr(key)
