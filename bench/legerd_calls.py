"""legerd and setec's own server side by side: calls, audited and durable, and their memory.

legerd is asked on its unix socket, where the kernel says who calls; setec on a loopback port, with
a stub that says at once who calls. Both have the same secrets, on the same disk, and are measured
in turns. Where Go is not installed setec's figures of a like machine stand in its place.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from bench import servers
from bench.figures import Figure
from bench.load import Run, ask, forever, measure, put, request
from bench.servers import Server
from legerd.keys import Kek
from legerd.setec_file import DummyKey, SetecFile
from legerd.store import Store

GROUP = "legerd calls"
SECRETS = 1000
MANY = 10_000
UNITS, EACH = 100, 5
SECONDS = 1.5
ROUNDS = 3
#: Calls a second and median milliseconds of setec's server on a like machine (2 cores, ext4).
_SETEC = {
    ("get", 1): Run(2156, 0.413, 0),
    ("get", 16): Run(3998, 2.7, 0),
    ("get 304", 1): Run(9680, 0.09, 0),
    ("get 304", 16): Run(16187, 0.7, 0),
    (f"put, {SECRETS} stored", 1): Run(59, 17, 0),
    (f"put, {SECRETS} stored", 16): Run(59, 17, 0),
    (f"put, {MANY} stored", 1): Run(5.9, 170, 0),
    (f"put, {MANY} stored", 16): Run(5.9, 170, 0),
}


def figures() -> Iterator[Figure]:
    """get, conditional get, put and fetch, beside setec's server; then puts with many stored."""
    with ExitStack() as stack:
        pair = _pair(stack, SECRETS)
        yield Figure(GROUP, f"resident memory, {SECRETS} secrets", pair[0].memory(), "MiB", 60)
        calls = {
            "get": forever("get", '{"Name":"prod/7"}'),
            "get 304": forever("get", '{"Name":"prod/7","Version":1,"UpdateIfChanged":true}'),
        }
        limits = {("get", 16): 1.0}
        for name, each in calls.items():
            for clients in (1, 16):
                yield from _beside(pair, name, clients, each, limits.get((name, clients)))
        yield from _delivered(pair)
        for clients in (1, 16):
            yield from _beside(pair, f"put, {SECRETS} stored", clients, _puts(SECRETS), 10.0)
    with ExitStack() as stack:
        pair = _pair(stack, MANY)
        for clients in (1, 16):
            yield from _beside(pair, f"put, {MANY} stored", clients, _puts(MANY), 80.0)


def _pair(stack: ExitStack, count: int) -> tuple[Server, Server | None]:
    """Both servers with the same `count` secrets of 1 KiB."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir="/var/tmp")))
    (folder / "legerd").mkdir(mode=0o700)
    (folder / "setec").mkdir(mode=0o700)
    store = Store.open(folder / "legerd", Kek.of(bytes(32)), create=True)
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda n: store.put(f"prod/{n}", os.urandom(1024), ""), range(count)))
    secrets = [store.snapshot[name] for name in store.snapshot]
    (folder / "setec/database").write_bytes(SetecFile.make(DummyKey()).encode(secrets))
    store.close()
    legerd = stack.enter_context(servers.legerd(folder / "legerd"))
    return legerd, stack.enter_context(servers.setec(folder / "setec"))


def _puts(count: int) -> Iterator[bytes]:
    number = 0
    while True:
        number += 1
        yield put(f"prod/{number * 7919 % count}", b"%d " % number * 128)


def _beside(
    pair: tuple[Server, Server | None],
    name: str,
    clients: int,
    calls: Iterator[bytes],
    wanted: float | None,
) -> Iterator[Figure]:
    """One kind of call on both, in turns; `wanted` is how many times setec's rate is promised."""
    ours, theirs = pair
    runs: dict[str, list[Run]] = {}
    for _ in range(ROUNDS):
        for server in filter(None, (ours, theirs)):
            run = measure(server.connect, [calls] * clients, SECONDS)
            runs.setdefault(server.name, []).append(run)
    mine, other = _middle(runs["legerd"]), _SETEC[name, clients]
    where = "setec, elsewhere" if theirs is None else "setec"
    if theirs is not None:
        other = _middle(runs["setec"])
    what = f"{name}, {clients} clients" if clients > 1 else f"{name}, 1 client"
    note = f"{where} {other.rate:.4g}/s, {other.median:.3g} ms"
    yield Figure(GROUP, what, mine.rate, "1/s", note=note)
    if name == "get" and clients == 1:
        yield Figure(GROUP, f"{what}, median", mine.median, limit=1.2 * other.median, note=note)
    else:
        yield Figure(GROUP, f"{what}, median", mine.median, note=note)
    ratio = mine.rate / other.rate
    yield Figure(GROUP, f"{what}, to {where}", ratio, "ratio", wanted, at_least=True)


def _middle(runs: Sequence[Run]) -> Run:
    return sorted(runs, key=lambda run: run.rate)[len(runs) // 2]


def _delivered(pair: tuple[Server, Server | None]) -> Iterator[Figure]:
    """What 100 units with 5 secrets each wait for: a fetch each here, five gets there."""
    ours, theirs = pair
    items = [
        [f'{{"Name":"prod/{unit * EACH + number}"}}' for number in range(EACH)]
        for unit in range(UNITS)
    ]
    fetches = [request("leger/fetch", f'{{"Secrets":[{",".join(each)}]}}') for each in items]
    gets = [request("get", item) for each in items for item in each]
    mine = _seconds(ours, fetches)
    other = UNITS * EACH / _SETEC["get", 1].rate if theirs is None else _seconds(theirs, gets)
    what = f"{UNITS * EACH} secrets for {UNITS} units"
    yield Figure(GROUP, what, mine * 1000, note=f"setec, one by one {other * 1000:.4g} ms")
    yield Figure(GROUP, f"{what}, times faster", other / mine, "ratio", 3.0, at_least=True)


def _seconds(server: Server, requests: Sequence[bytes]) -> float:
    times = []
    for _ in range(ROUNDS):
        with server.connect() as connection:
            begin = time.perf_counter()
            for data in requests:
                ask(connection, data)
            times.append(time.perf_counter() - begin)
    return statistics.median(times)
