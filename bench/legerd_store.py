"""legerd's vault by itself: puts with few and with many secrets stored, and its start."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bench.figures import Figure, milliseconds
from legerd.keys import Kek
from legerd.store import Store

GROUP = "legerd vault"
FEW, MANY = 100, 10_000
PUTS = 150
ROUNDS = 20
CLIENTS = 16
KEK = Kek.of(bytes(32))


def figures() -> Iterator[Figure]:
    """Puts on a disk (/var/tmp) and in memory, then the start with many secrets of 1 KiB."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        yield from _on_disk(Path(folder))
    if os.access("/dev/shm", os.W_OK):
        with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
            yield from _in_memory(Path(folder))


def _on_disk(folder: Path) -> Iterator[Figure]:
    few, many = _filled(folder / "few", FEW), _filled(folder / "many", MANY)
    many.close()
    yield Figure(GROUP, f"start with {MANY} secrets", _start(folder / "many"), limit=1000)
    many = Store.open(folder / "many", KEK)
    times = {store: _Times() for store in (few, many)}
    for turn in range(ROUNDS):
        for store, spent in times.items():
            spent.measure(store, turn)
    for store, number in ((few, FEW), (many, MANY)):
        wall = statistics.median(times[store].wall) * 1000
        yield Figure(GROUP, f"put, 1 client, {number} stored", wall, limit=1.7, note="setec 17 ms")
    rate = _rate(many)
    yield Figure(GROUP, f"put, {CLIENTS} clients, {MANY} stored", rate, "1/s", note="setec 586/s")
    for store in (few, many):
        store.close()


def _in_memory(folder: Path) -> Iterator[Figure]:
    few, many = _filled(folder / "few", FEW), _filled(folder / "many", MANY)
    times = {store: _Times() for store in (few, many)}
    for turn in range(ROUNDS):
        for store, spent in times.items():
            spent.measure(store, turn)
    small, large = (min(times[store].cpu) for store in (few, many))
    yield Figure(GROUP, f"CPU of a put, {FEW} stored", small * 1000)
    yield Figure(GROUP, f"CPU of a put, {MANY} stored", large * 1000)
    note = f"{MANY} stored against {FEW}, in memory"
    yield Figure(GROUP, "a put, many to few", large / small, "ratio", limit=1.2, note=note)
    for store in (few, many):
        store.close()


class _Times:
    """Seconds for each put, by the clock and of the processor, of every round."""

    def __init__(self) -> None:
        self.wall: list[float] = []
        self.cpu: list[float] = []

    def measure(self, store: Store, turn: int) -> None:
        """One round of puts that each make a new version, on secrets spread over the vault."""
        names = store.snapshot.names
        wall, cpu = time.perf_counter(), time.process_time()
        for number in range(PUTS):
            name = names[number * 7919 % len(names)]
            store.put(name, b"%d/%d " % (turn, number) * 80, "bench")
        self.wall.append((time.perf_counter() - wall) / PUTS)
        self.cpu.append((time.process_time() - cpu) / PUTS)


def _filled(folder: Path, secrets: int) -> Store:
    store = Store.open(folder, KEK, create=True)
    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(lambda n: store.put(f"prod/{n}", os.urandom(1024), "bench"), range(secrets)))
    return store


def _rate(store: Store) -> float:
    start = time.perf_counter()
    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(lambda n: store.put(f"prod/{n}", os.urandom(1024), "bench"), range(4000)))
    return 4000 / (time.perf_counter() - start)


def _start(folder: Path) -> float:
    return milliseconds(lambda: Store.open(folder, KEK).close(), rounds=3)
