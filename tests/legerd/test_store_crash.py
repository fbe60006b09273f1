"""kill -9 in the middle of commits: what was acknowledged is there, what was not is whole or not.

A kill shows nothing about fsync; the power cuts of tests/system do.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from legerd import setec_vault
from legerd.keys import Kek
from legerd.setec_vault import SetecVault
from legerd.store import Store

KEK = Kek.of(bytes(range(32)))
WRITERS = 8
ROOT = Path(__file__).parents[2]

CHILD = """
import os, sys, threading
from pathlib import Path
from tests.legerd.test_store_crash import KINDS

store = KINDS[sys.argv[3]](Path(sys.argv[1]))
start = int(sys.argv[2])

def write(writer):
    for number in range(start, start + 100_000):
        value = f"{writer} {number} ".encode() * 40
        os.write(1, f"try {writer} {number} 0\\n".encode())
        version = store.put(f"writer/{writer}", value, "me")
        if number % 3 == 0:
            store.activate(f"writer/{writer}", version)
        os.write(1, f"did {writer} {number} {version}\\n".encode())

os.write(1, b"open\\n")
for writer in range(8):
    threading.Thread(target=write, args=(writer,)).start()
"""


KINDS: Mapping[str, Callable[[Path], Store]] = {
    "vault": lambda folder: Store.open(folder, KEK),
    "setec's file": lambda folder: Store(SetecVault.open(folder / "database", (KEK,))),
}


def killed(
    folder: Path, kind: str, start: int, acknowledgements: int
) -> Iterator[tuple[str, int, int, int]]:
    """What a child with 8 writers said until it was killed after so many acknowledgements."""
    paths = os.pathsep.join(str(ROOT / part) for part in ("", "lib", "generator"))
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(folder), str(start), kind],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": paths},
    )
    assert child.stdout is not None
    assert child.stdout.readline() == b"open\n"
    with child:
        seen = 0
        for line in child.stdout:
            said, *numbers = line.split()
            seen += said == b"did"
            if seen == acknowledgements:
                os.kill(child.pid, signal.SIGKILL)
                seen += 1
            writer, number, version = map(int, numbers)
            yield said.decode(), writer, number, version
    assert child.returncode == -signal.SIGKILL


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_acknowledged_survives_kill_9(
    tmp_path: Path, kind: str, rng: random.Random, soak: bool
) -> None:
    Store.open(tmp_path, KEK, create=True).close()
    setec_vault.create(tmp_path / "database", KEK)
    acknowledged: dict[tuple[int, int], bytes] = {}
    tried: set[bytes] = set()
    open_transactions = 0
    rounds = 200 if soak else 8
    for turn in range(rounds):
        pending: dict[int, int] = {}
        for said, writer, number, version in killed(
            tmp_path, kind, turn * 100_000, rng.randrange(60) + 1
        ):
            value = f"{writer} {number} ".encode() * 40
            if said == "try":
                tried.add(value)
                pending[writer] = number
            else:
                acknowledged[writer, version] = value
                pending.pop(writer)
        open_transactions += bool(pending)
        store = KINDS[kind](tmp_path)
        assert not list(tmp_path.glob(".database.*"))
        stored = {
            (int(name.removeprefix("writer/")), number): version.value.reveal()
            for name, secret in store.snapshot.items()
            for number, version in secret.versions.items()
        }
        assert acknowledged.items() <= stored.items()
        assert set(stored.values()) <= tried
        assert len(stored) <= len(acknowledged) + WRITERS * (turn + 1)
        store.close()
    print(f"{rounds} kills, {open_transactions} of them with writers in flight")
    assert open_transactions >= rounds / 2
