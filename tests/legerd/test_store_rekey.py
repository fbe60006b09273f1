"""A new key-encryption key and a new data key: what opens afterwards, and what is left on disk."""

from __future__ import annotations

import os
import random
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from legerd import database
from legerd.changes import Edit
from legerd.errors import KeyUnavailable, NotSupported, Rejected, StoreCorrupt, StoreUnavailable
from legerd.keys import Kek
from legerd.recovery import RecoveryKey
from legerd.setec_vault import SetecVault
from legerd.setec_vault import create as create_setec
from legerd.store import Store
from tests.legerd.opened import KEK
from tests.legerd.test_store_damage import answers, files

NEW = Kek.of(b"n" * 32)
RECOVERY = RecoveryKey.of(b"r" * 32)
ROOT = Path(__file__).parents[2]


def fill(store: Store) -> None:
    store.put("a", b"one", "me")
    store.put("a", b"two", "me")
    store.put("b", b"x" * 20_000, "me")
    store.create_version("a", 7, b"seven", "me")
    store.delete_version("a", 2)
    store.describe("b", Edit("of the shop", {"team": "shop"}, 2e9))
    store.set_recovery(RECOVERY.public.raw)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "legerd"


@pytest.fixture
def store(folder: Path) -> Iterator[Store]:
    store = Store.open(folder, KEK, create=True)
    fill(store)
    yield store
    store.close()


def blocks(*boxes: bytes) -> set[bytes]:
    """Every 16 bytes of `boxes`."""
    return {box[at : at + 16] for box in boxes for at in range(0, len(box) - 15, 16)}


def ciphertext(folder: Path) -> set[bytes]:
    """All boxes of a vault that is closed, the head's and the wraps included, in blocks."""
    with database._reading(folder / "secrets.db") as connection:
        rows = connection.execute("SELECT box FROM record UNION SELECT head FROM vault").fetchall()
    return blocks(*(box for (box,) in rows))


def on_disk(folder: Path, old: set[bytes]) -> list[str]:
    """Which files of a folder hold any of these blocks."""
    return [name for name, data in files(folder).items() if any(block in data for block in old)]


def opens(folder: Path, key: Kek | RecoveryKey) -> bool:
    try:
        Store.open(folder, key).close()
    except KeyUnavailable:
        return False
    return True


def test_a_new_kek_opens_beside_the_old_one_and_then_alone(folder: Path, store: Store):
    told = answers(store)
    store.add_kek(NEW)
    assert store.keks == (KEK.id.hex(), NEW.id.hex())
    store.close()
    old = ciphertext(folder)
    assert opens(folder, KEK)
    store = Store.open(folder, NEW)
    assert store.opened_with == NEW.id.hex()
    store.renew(data_key=False)
    assert store.keks == (NEW.id.hex(),)
    assert answers(store) == told
    assert store.put("b", b"later", "me") == 2
    assert on_disk(folder, old) == []
    store.close()
    assert on_disk(folder, old) == []
    assert not opens(folder, KEK)
    assert opens(folder, RECOVERY)
    store = Store.open(folder, NEW)
    assert sorted(store.snapshot["b"].versions) == [1, 2]
    store.close()


def test_a_key_that_is_added_twice_has_one_wrap(folder: Path, store: Store):
    store.add_kek(NEW)
    store.add_kek(NEW)
    assert store.keks == (KEK.id.hex(), NEW.id.hex())
    store.close()
    assert opens(folder, NEW)


def test_with_a_new_data_key_nothing_is_left_of_the_old(folder: Path, store: Store):
    told = answers(store)
    store.close()
    old, data_key = ciphertext(folder), database.read(folder / "secrets.db", KEK).data_key
    store = Store.open(folder, KEK)
    store.renew(data_key=True)
    assert answers(store) == told
    assert on_disk(folder, old) == []
    assert store.put("a", b"eight", "me") == 8
    store.activate("a", 8)
    told = answers(store)
    store.close()
    assert on_disk(folder, old) == []
    assert database.read(folder / "secrets.db", KEK).data_key != data_key
    assert sorted(files(folder)) == ["lock", "secrets.db", "sequence"]
    for key in (KEK, RECOVERY):
        store = Store.open(folder, key)
        assert answers(store) == told
        store.close()


def test_yesterdays_database_is_refused_after_it(folder: Path, store: Store):
    store.close()
    yesterday = files(folder)
    store = Store.open(folder, KEK)
    store.renew(data_key=True)
    store.close()
    (folder / "secrets.db").write_bytes(yesterday["secrets.db"])
    with pytest.raises(StoreCorrupt, match="sequence"):
        Store.open(folder, KEK)


def test_a_recovery_key_alone_renews_nothing(folder: Path, store: Store):
    store.close()
    store = Store.open(folder, RECOVERY)
    with pytest.raises(Rejected):
        store.renew(data_key=True)
    store.close()
    assert opens(folder, KEK)


def test_setecs_file_keeps_its_keys(tmp_path: Path):
    create_setec(tmp_path / "database", KEK)
    store = Store(SetecVault.open(tmp_path / "database", (KEK,)))
    for call in (lambda: store.add_kek(NEW), lambda: store.renew(data_key=True), store.copy):
        with pytest.raises(NotSupported) as caught:
            call()
        assert "legerd import" in caught.value.hint
    store.verify()
    store.close()


def test_while_the_disk_is_full_all_stays_as_it_was(folder: Path, store: Store):
    told = answers(store)
    (folder / ".secrets.db.new").mkdir()
    (folder / ".secrets.db.new" / "in the way").touch()
    with pytest.raises(StoreUnavailable):
        store.renew(data_key=True)
    assert answers(store) == told
    store.put("a", b"goes on", "me")
    told = answers(store)
    shutil.rmtree(folder / ".secrets.db.new")
    store.renew(data_key=True)
    assert answers(store) == told


CHILD = """
import sys
from pathlib import Path
from tests.legerd.test_store_rekey import NEW
from tests.legerd.opened import KEK
from legerd.store import Store

store = Store.open(Path(sys.argv[1]), KEK)
store.add_kek(NEW)
store.renew(data_key=sys.argv[2] == "True")
store.close()
"""
CALLS = "fsync,fdatasync,rename,unlink,ftruncate,pwrite64,write"


def run(folder: Path, data_key: bool, *prefix: str) -> int:
    paths = os.pathsep.join(str(ROOT / part) for part in ("", "lib", "generator"))
    command = [*prefix, sys.executable, "-c", CHILD, str(folder), str(data_key)]
    environment = {**os.environ, "PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1"}
    environment.pop("COVERAGE_PROCESS_CONFIG", None)
    done = subprocess.run(command, env=environment, capture_output=True, check=False)
    assert b"Traceback" not in done.stderr, done.stderr
    return done.returncode


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace kills it at a chosen call")
@pytest.mark.parametrize("data_key", [False, True])
def test_killed_at_every_step_it_opens(
    tmp_path: Path, folder: Path, store: Store, rng: random.Random, soak: bool, data_key: bool
):
    told = answers(store)
    store.close()
    before = ciphertext(folder)
    copy = tmp_path / "copy"
    steps = calls(folder, tmp_path, data_key)
    assert len(steps) > 30
    for name, number in steps if soak else rng.sample(steps, 8):
        shutil.copytree(folder, copy)
        kill = f"inject={name}:signal=SIGKILL:when={number}"
        assert run(copy, data_key, "strace", "-f", "-o", str(tmp_path / "log"), "-e", kill) != 0
        store = Store.open(copy, KEK)
        assert answers(store) == told
        assert opens_in(copy) == []
        store.renew(data_key=data_key)
        assert store.keks == (KEK.id.hex(),)
        assert answers(store) == told
        store.close()
        assert on_disk(copy, before) == []
        assert not opens(copy, NEW)
        shutil.rmtree(copy)


def opens_in(folder: Path) -> list[Path]:
    """What a rekey that was broken off left beside an open vault."""
    return [*folder.glob(".secrets.db.new*"), *folder.glob("sequence.new")]


def calls(folder: Path, tmp_path: Path, data_key: bool) -> list[tuple[str, int]]:
    """Each call of a whole rekey that changes a disk: its name, and the how many-th it is."""
    log, copy = tmp_path / "calls", tmp_path / "whole"
    shutil.copytree(folder, copy)
    assert run(copy, data_key, "strace", "-f", "-o", str(log), "-e", f"trace={CALLS}") == 0
    shutil.rmtree(copy)
    names = re.findall(r"^\d+ +(\w+)\(", log.read_text(), re.MULTILINE)
    counts = Counter(names)
    return [(name, number) for name in counts for number in range(1, counts[name] + 1)]


def test_a_number_of_before_that_lies_beside_it_is_not_taken(folder: Path, store: Store):
    old = (folder / "sequence").read_bytes()
    store.renew(data_key=True)
    store.put("a", b"later", "me")
    told = answers(store)
    store.close()
    (folder / "sequence.new").write_bytes(old)
    store = Store.open(folder, KEK)
    assert answers(store) == told
    assert opens_in(folder) == []
    store.close()
