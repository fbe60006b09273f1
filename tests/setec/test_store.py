"""The Python store against a real legerd: what a program can rely on."""

from __future__ import annotations

import itertools
import threading
import time
from pathlib import Path

import pytest
from leger.secretvalue import SecretValue
from leger.setec import (
    Client,
    FileCache,
    FileClient,
    MemoryCache,
    NotFoundError,
    RefreshError,
    StaticSecret,
    StaticUpdater,
    Store,
    UndeclaredError,
    UnreachableError,
    VersionClaimedError,
    static_file,
    static_text_file,
)
from leger.setec.store import period, waits

from tests.legerd.daemon import Daemon
from tests.setec import setecs

NOWHERE = Client("unix:/nowhere")


def fill(client: Client, **secrets: str) -> None:
    """Store secrets below ours/, active."""
    for name, value in secrets.items():
        version = client.put(f"ours/{name}", SecretValue(value.encode()))
        client.activate(f"ours/{name}", version)


def read(store: Store, name: str) -> str:
    return store.secret(name).get().reveal().decode()


def test_declared_secrets_are_there_at_once(client: Client) -> None:
    fill(client, a="1", b="2")
    with Store(client, ["ours/b", "ours/a", "ours/b"], timeout=20) as store:
        assert read(store, "ours/a") + read(store, "ours/b") == "12"
        assert store.metrics()["counter_secret_fetch"] == 2
        for ask in (store.secret, store.lookup, store.watcher, store.keyring):
            with pytest.raises(UndeclaredError):
                ask("ours/other")
    assert "1" not in repr(store.secret("ours/a")) + repr(store.secret("ours/a").get())


@pytest.mark.parametrize("names", [[], [""], ["ours/a", ""]])
def test_a_store_of_nothing_is_a_mistake(names: list[str]) -> None:
    with pytest.raises(UndeclaredError):
        Store(NOWHERE, names)


def test_a_start_waits_for_what_is_not_there_yet(client: Client) -> None:
    fill(client, early="1")
    late = threading.Timer(0.3, fill, [client], {"late": "2"})
    late.start()
    with Store(client, ["ours/early", "ours/late"], timeout=60, poll_interval=-1) as store:
        assert read(store, "ours/late") == "2"
    late.join()


def test_a_start_tries_again_less_and_less_often() -> None:
    found = [round(wait * 1000) for wait in itertools.islice(waits(), 14)]
    assert found == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 4096]


def test_polls_are_spread() -> None:
    found = [period(3600) for _ in range(1000)]
    assert 3240 <= min(found) < 3400 < 3800 < max(found) <= 3960


def test_who_reads_waits_for_no_disk(client: Client) -> None:
    writing, written = threading.Event(), threading.Event()

    class SlowCache(MemoryCache):
        def write(self, data: bytes) -> None:
            writing.set()
            assert written.wait(60)
            super().write(data)

    fill(client, quick="1", other="1")
    written.set()
    cache = SlowCache()
    with Store(
        client, ["ours/quick"], timeout=20, allow_lookup=True, poll_interval=-1, cache=cache
    ) as store:
        writing.clear()
        written.clear()
        looking = threading.Thread(target=store.lookup, args=["ours/other"])
        looking.start()
        assert writing.wait(60)
        assert read(store, "ours/quick") == "1"
        assert not written.is_set()
        written.set()
        looking.join()
    assert b"ours/other" in cache.read()


def test_a_start_gives_up_at_its_deadline() -> None:
    begun = time.monotonic()
    with pytest.raises(UnreachableError, match="ours/a"):
        Store(NOWHERE, ["ours/a"], timeout=0.3)
    assert time.monotonic() - begun >= 0.3


def test_a_refresh_brings_what_is_new(client: Client) -> None:
    fill(client, new="1")
    with Store(client, ["ours/new"], timeout=20, poll_interval=-1) as store:
        watcher = store.watcher("ours/new")
        fill(client, new="2")
        assert read(store, "ours/new") == "1"
        assert not watcher.wait(0)
        store.refresh()
        assert read(store, "ours/new") == "2"
        assert watcher.wait(0)
        assert not watcher.wait(0)
        assert watcher.get().reveal() == b"2"


def test_a_poll_comes_by_itself_and_outlives_a_failure(tmp_path: Path) -> None:
    cache = FileCache(tmp_path / "c/cache")
    with setecs.on_port(tmp_path / "d") as daemon:
        client = setecs.client(daemon)
        fill(client, polled="1")
        store = Store(client, ["ours/polled"], timeout=20, poll_interval=0.1, cache=cache)
        watcher = store.watcher("ours/polled")
        setecs.allow(daemon, "none")
        while not store.metrics()["counter_poll_errors"]:
            time.sleep(0.02)
        setecs.allow(daemon, *setecs.ALLOWED)
        fill(client, polled="2")
        assert watcher.wait(30)
        daemon.stop()
        failed = store.metrics()["counter_poll_errors"]
        while store.metrics()["counter_poll_errors"] == failed:
            time.sleep(0.02)
        assert read(store, "ours/polled") == "2"
        store.close()
    with Store(client, ["ours/polled"], cache=cache) as again:
        assert read(again, "ours/polled") == "2"


def test_what_could_be_had_is_taken_though_the_rest_failed(port: Daemon) -> None:
    client = setecs.client(port)
    fill(client, good="1", bad="1")
    names = ["ours/good", "ours/bad"]
    with Store(client, names, timeout=20, poll_interval=-1) as store:
        fill(client, good="2", bad="2")
        setecs.allow(port, "ours/good")
        try:
            with pytest.raises(RefreshError, match="partly") as caught:
                store.refresh()
        finally:
            setecs.allow(port, *setecs.ALLOWED)
        assert len(caught.value.errors) == 1
        assert read(store, "ours/good") + read(store, "ours/bad") == "21"


def test_other_secrets_can_be_looked_up(client: Client) -> None:
    fill(client, found="1")
    with Store(client, allow_lookup=True, poll_interval=-1) as store:
        with pytest.raises(UndeclaredError):
            store.secret("ours/found")
        assert store.lookup("ours/found").get().reveal() == b"1"
        assert read(store, "ours/found") == "1"
        with pytest.raises(NotFoundError):
            store.lookup("ours/absent")
        fill(client, found="2")
        store.refresh()
        assert read(store, "ours/found") == "2"


def test_who_looks_up_together_asks_once(port: Daemon) -> None:
    client = setecs.client(port)
    fill(client, shared="1")
    with Store(client, allow_lookup=True, poll_interval=-1) as store:
        handles = []
        threads = [
            threading.Thread(target=lambda: handles.append(store.lookup("ours/shared")))
            for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(set(map(id, handles))) == 1


def test_an_updater_makes_a_value_anew(client: Client) -> None:
    closed: list[str] = []

    class Made:
        def __init__(self, value: SecretValue) -> None:
            self.number = int(value.reveal())

        def close(self) -> None:
            closed.append(str(self.number))

    fill(client, number="1")
    with Store(client, ["ours/number"], timeout=20, poll_interval=-1) as store:
        updater = store.updater("ours/number", Made)
        first = updater.get()
        assert updater.get() is first
        fill(client, number="no number")
        store.refresh()
        assert updater.get() is first
        assert isinstance(updater.error, ValueError)
        fill(client, number="2")
        store.refresh()
        assert updater.get().number == 2
        assert updater.error is None
        assert closed == ["1"]
        with pytest.raises(ZeroDivisionError):
            store.updater("ours/number", lambda _: 1 // 0)


def test_a_keyring_keeps_versions(client: Client) -> None:
    fill(client, ring="1")
    client.create_version("ours/ring", 7, SecretValue(b"7"))
    cache = MemoryCache()
    with Store(client, allow_lookup=True, poll_interval=-1, cache=cache) as store:
        ring = store.keyring("ours/ring")
        assert ring.get(1).reveal() + ring.get(7).reveal() == b"17"
        assert ring.versions() == (1, 7)
        with pytest.raises(NotFoundError):
            ring.get(3)
        watcher = store.watcher("ours/ring")
        ring.create_version(9, SecretValue(b"9"))
        assert watcher.wait(0)
        assert read(store, "ours/ring") == "9"
        assert ring.get(0).reveal() == b"9"
        with pytest.raises(VersionClaimedError):
            ring.create_version(7, SecretValue(b"7"))
        client.delete_version("ours/ring", 7)
        store.refresh()
        assert ring.versions() == (1, 9)
    with Store(NOWHERE, allow_lookup=True, poll_interval=-1, cache=cache) as again:
        assert again.keyring("ours/ring").get(1).reveal() == b"1"


def test_a_keyring_needs_a_client_that_knows_versions(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("{}")
    with (
        Store(FileClient(tmp_path / "f"), allow_lookup=True, poll_interval=-1) as store,
        pytest.raises(UndeclaredError),
    ):
        store.keyring("a")


def test_a_complete_cache_needs_no_server(client: Client, tmp_path: Path) -> None:
    fill(client, kept="1")
    cache = FileCache(tmp_path / "cache")
    Store(client, ["ours/kept"], timeout=20, cache=cache, poll_interval=-1).close()
    with Store(NOWHERE, ["ours/kept"], cache=cache, poll_interval=-1) as store:
        assert read(store, "ours/kept") == "1"
        with pytest.raises(RefreshError, match="failed"):
            store.refresh()
        assert read(store, "ours/kept") == "1"
    with pytest.raises(UnreachableError, match="ours/more"):
        Store(NOWHERE, ["ours/kept", "ours/more"], cache=cache, timeout=0.05)


def test_what_nobody_accessed_expires(client: Client) -> None:
    fill(client, declared="1", old="1", held="1")
    clock = [1000.0]
    cache = MemoryCache()
    with Store(
        client,
        ["ours/declared"],
        timeout=20,
        allow_lookup=True,
        cache=cache,
        poll_interval=-1,
        expiry_age=60,
        now=lambda: clock[0],
    ) as store:
        store.lookup("ours/old")
        held = store.lookup("ours/held")
        clock[0] += 60
        store.refresh()
        assert read(store, "ours/old") == "1"
        clock[0] += 61
        store.refresh()
        assert held.get().reveal() == b"1"
        assert read(store, "ours/declared") == "1"
        with pytest.raises(UndeclaredError):
            store.secret("ours/old")
        assert b"ours/old" not in cache.read()


def test_a_cache_that_cannot_be_written_stops_nothing(client: Client, tmp_path: Path) -> None:
    fill(client, stuck="1")
    cache = FileCache(tmp_path / "cache")
    (tmp_path / "cache").mkdir()
    with Store(client, ["ours/stuck"], timeout=20, cache=cache, poll_interval=-1) as store:
        assert read(store, "ours/stuck") == "1"


def test_a_file_takes_a_servers_place(tmp_path: Path) -> None:
    path = tmp_path / "secrets.json"
    path.write_text(
        '{"a":{"secret":{"Value":"AP8=","Version":1}},"t":{"secret":{"TextValue":"x","Version":5}},'
        '"":{"secret":{"TextValue":"x","Version":5}},"n":null,"e":{"secret":{"Version":1}},'
        '"v":{"secret":{"TextValue":"x","Version":0}}}'
    )
    with Store(FileClient(path), ["a", "t"], poll_interval=-1) as store:
        assert store.secret("a").get().reveal() == b"\0\xff"
        assert read(store, "t") == "x"
        store.refresh()
    for name in ("n", "e", "v"):
        with pytest.raises(UnreachableError, match=name):
            Store(FileClient(path), ["a", name])


def test_values_that_never_change(tmp_path: Path) -> None:
    (tmp_path / "f").write_text(" x\n")
    assert StaticSecret(SecretValue(b"s")).get().reveal() == b"s"
    assert static_file(tmp_path / "f").get().reveal() == b" x\n"
    assert static_text_file(tmp_path / "f").get().reveal() == b"x"
    updater = StaticUpdater(3)
    assert (updater.get(), updater.error) == (3, None)
