"""setec's own database code and legerd take turns at one file."""

from __future__ import annotations

import base64
import contextlib
import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from legerd import setec_vault
from legerd.keys import Cipher, Kek
from legerd.setec_file import DummyKey
from legerd.setec_vault import SetecVault
from legerd.store import Store
from tests.legerd import golden
from tests.setec import golang

pytestmark = pytest.mark.xdist_group("go")  # built once
MODULE = Path(__file__).parent / "godatabase"
KEY = bytes(range(32))
CHANGED = {"go": (2, {2: b"", 3: b"\0\xff"})}


@dataclass(frozen=True)
class Setec:
    """setec's own code for one kind of key."""

    program: Path
    key: str

    def run(self, path: Path, verb: str) -> str:
        """What it says; it must have gone well."""
        done = subprocess.run(
            [str(self.program), str(path), self.key, verb],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def show(self, path: Path) -> golden.Content:
        """What it finds in the file."""
        return {
            name: (
                known["active"],
                {int(number): base64.b64decode(v) for number, v in known["versions"].items()},
            )
            for name, known in json.loads(self.run(path, "show")).items()
        }


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program that opens a database with setec's own code."""
    golang.need(MODULE)
    path = tmp_path_factory.mktemp("go") / "godatabase"
    built = golang.run(MODULE, "build", "-o", str(path), ".")
    assert built.returncode == 0, built.stderr
    return path


KEYS = pytest.mark.parametrize(
    ("name", "key"), [("dummy", DummyKey()), (KEY.hex(), Kek.of(KEY))], ids=["dummy", "tpm"]
)


def change(path: Path, key: Cipher) -> golden.Content:
    """Every kind of change by legerd, and what there is afterwards."""
    with contextlib.closing(Store(SetecVault.open(path, (key,)))) as store:
        store.put("ours <&> \u2028 \xe9", b"\0\xff", "")
        store.put("ours <&> \u2028 \xe9", b"", "")
        store.activate("ours <&> \u2028 \xe9", 2)
        store.create_version("api", 4294967295, b"last", "")
        store.create_version("api", 10, b"ten", "")
        store.create_version("api", 9, b"nine", "")
        store.delete_version("api", 10)
        store.put("gone", b"v", "")
        store.delete("gone")
        return golden.told(store.snapshot)


def dek(path: Path) -> str:
    return str(json.loads(path.read_bytes())["DEK"])


@KEYS
def test_a_file_goes_to_and_fro(program: Path, tmp_path: Path, name: str, key: Cipher) -> None:
    setec, path = Setec(program, name), tmp_path / "database"
    setec.run(path, "change")
    made = dek(path)
    ours = change(path, key)
    assert {"go": ours["go"]} == CHANGED
    assert setec.show(path) == ours
    setec.run(path, "change")
    with contextlib.closing(Store(SetecVault.open(path, (key,)))) as store:
        assert golden.told(store.snapshot) == ours
        known = store.snapshot["go"]
    assert (known.latest, known.deleted) == (9, frozenset({1, 9}))
    assert dek(path) == made


@KEYS
def test_setec_goes_on_with_a_file_that_legerd_made(
    program: Path, tmp_path: Path, name: str, key: Cipher
) -> None:
    setec, path = Setec(program, name), tmp_path / "database"
    setec_vault.create(path, key)
    assert setec.show(path) == {}
    ours = change(path, key)
    setec.run(path, "change")
    assert setec.show(path) == {**ours, **CHANGED}
    with contextlib.closing(Store(SetecVault.open(path, (key,)))) as store:
        assert golden.told(store.snapshot) == {**ours, **CHANGED}
