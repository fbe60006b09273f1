"""A store: the secrets that a program needs, in memory, kept up to date in the background."""

from __future__ import annotations

import random
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Self, TypeVar
from weakref import WeakSet, WeakValueDictionary

from leger.errors import LegerError
from leger.secretvalue import SecretValue
from leger.setec import cache as cachefile
from leger.setec.cache import Cache
from leger.setec.errors import RefreshError, SetecError, UndeclaredError, UnreachableError
from leger.setec.fileclient import FileClient
from leger.setec.keyring import Keyring
from leger.setec.single import Single
from leger.setec.tracked import Tracked, Update, ask, versioning
from leger.setec.values import StoreClient, Value
from leger.setec.watcher import LOG, Secret, Updater, Watcher

HOUR = 3600.0
_Made = TypeVar("_Made")


def waits() -> Iterator[float]:
    """How long (seconds) to wait before each new try at start, without end."""
    wait = 0.001
    while True:
        yield wait
        wait = wait * 2 if wait < 4 else wait


def period(interval: float) -> float:
    """An interval between polls, up to a tenth off, so that not all programs ask together."""
    return interval * random.uniform(0.9, 1.1)  # noqa: S311 - no secret


class Store:
    """The secrets `names`, there as soon as the constructor returns, and from then on.

    What the cache has is taken as it is; the rest is fetched, and fetched again until all is
    there or `timeout` seconds are over (UnreachableError; None: for ever). Every `poll_interval`
    seconds (0: an hour; below 0: never; up to a tenth earlier or later, chosen once) the server is
    asked for changes; what it does not answer stays as it was. With `allow_lookup` other secrets
    can be had, too; those that nobody accessed for `expiry_age` seconds are dropped (0: never).

    All methods may be called from several threads. `now` gives the time as Unix has it.
    """

    def __init__(
        self,
        client: StoreClient,
        names: Iterable[str] = (),
        *,
        timeout: float | None = None,
        allow_lookup: bool = False,
        cache: Cache | None = None,
        poll_interval: float = HOUR,
        expiry_age: float = 0.0,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.single = Single()
        self._client = client
        self._allow_lookup = allow_lookup
        self._cache = cache
        self._expiry_age = expiry_age
        self._now = now
        self._lock = threading.RLock()
        self._saving = threading.Lock()  # taken before the other: who reads waits for no disk
        self._handles: WeakValueDictionary[str, Secret] = WeakValueDictionary()
        self._watchers: defaultdict[str, WeakSet[Watcher]] = defaultdict(WeakSet)
        self._metrics = dict.fromkeys(
            ("counter_poll_initiated", "counter_poll_errors", "counter_secret_fetch"), 0.0
        )
        self._tracked = self._load()
        self._declare(sorted(set(names)), timeout)
        self._closing = threading.Event()
        self._poller = self._start(poll_interval or HOUR)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop polling; waits for a poll that is under way. What is there can still be read."""
        self._closing.set()
        if self._poller is not None:
            self._poller.join()

    def secret(self, name: str) -> Secret:
        """The handle of a secret that the store has; UndeclaredError if it has not."""
        with self._lock:
            tracked = self._tracked.get(name)
            if tracked is None or tracked.secret is None:
                raise UndeclaredError(f"{name}: not among the secrets that this store was told of")
            handle = self._handles.get(name)
            if handle is None:
                handle = self._handles[name] = Secret(name, self._read)
            return handle

    def lookup(self, name: str, *, timeout: float | None = None) -> Secret:
        """The handle of any secret, fetched if need be; UndeclaredError if that is not allowed."""
        try:
            return self.secret(name)
        except UndeclaredError:
            if not self._allow_lookup:
                raise
        return self.single.call(f"lookup {name}", lambda: self._fetch(name, timeout), timeout)

    def watcher(self, name: str, *, timeout: float | None = None) -> Watcher:
        """A watcher of a secret, which is looked up if need be."""
        watcher = Watcher(self.lookup(name, timeout=timeout))
        with self._lock:
            self._watchers[name].add(watcher)
        return watcher

    def updater(
        self,
        name: str,
        make: Callable[[SecretValue], _Made],
        *,
        timeout: float | None = None,
    ) -> Updater[_Made]:
        """Keeps what `make` makes of a secret; raises what `make` raises for the first value."""
        return Updater(self.watcher(name, timeout=timeout), make)

    def keyring(self, name: str) -> Keyring:
        """The versions of a secret, for a store with `allow_lookup`."""
        client = versioning(self._client)
        if not self._allow_lookup or client is None:
            raise UndeclaredError(
                f"{name}: its versions cannot be looked up by this store",
                hint="a keyring needs allow_lookup and a client that knows versions",
            )
        return Keyring(self, client, name)

    def refresh(self, *, timeout: float | None = None) -> None:
        """Ask the server for changes now; RefreshError, after all that came was taken over.

        Who calls while another does waits for that one, `timeout` seconds at most.
        """
        self.single.call("refresh", self._refresh, timeout)

    def metrics(self) -> dict[str, float]:
        """How often was polled and read, and when last (Unix time), under setec's names."""
        with self._lock:
            return dict(self._metrics)

    def kept(self, name: str) -> Mapping[int, SecretValue]:
        """The versions of a keyring that the store has; a read counts as an access."""
        with self._lock:
            tracked = self._tracked.get(name)
            if tracked is None:
                return {}
            tracked.last_access = int(self._now())
            return dict(tracked.versions)

    def keep(self, name: str, value: Value, *, active: bool) -> None:
        """Add a version to a keyring; `active` if it is known to be the active one now."""
        with self._lock:
            tracked = self._tracked.setdefault(name, Tracked())
            tracked.versions[value.version] = value.value
            tracked.last_access = int(self._now())
            if active and (tracked.secret is None or tracked.secret.version != value.version):
                tracked.secret = value
                self._notify(name)
        self._flush()

    def _read(self, name: str) -> SecretValue:
        with self._lock:
            tracked = self._tracked[name]
            assert tracked.secret is not None
            tracked.last_access = int(self._now())
            self._metrics["counter_secret_fetch"] += 1
            return tracked.secret.value

    def _fetch(self, name: str, timeout: float | None) -> Secret:
        value = self._client.get(name, timeout=timeout)
        with self._lock:
            tracked = self._tracked.setdefault(name, Tracked())
            tracked.secret, tracked.last_access = value, int(self._now())
            handle = self.secret(name)
        self._flush()
        return handle

    def _load(self) -> dict[str, Tracked]:
        """What the cache has; one that cannot be read is empty."""
        if self._cache is None:
            return {}
        try:
            data = self._cache.read()
            cached = cachefile.decode(data) if data else {}
        except LegerError as error:
            LOG.warning("the cache is passed over: %s", error)
            return {}
        return {
            name: Tracked(found.secret, dict(found.versions), found.last_access)
            for name, found in cached.items()
        }

    def _declare(self, names: list[str], timeout: float | None) -> None:
        if "" in names or not (names or self._allow_lookup):
            raise UndeclaredError("a store needs names of secrets, or allow_lookup")
        missing = []
        for name in names:
            tracked = self._tracked.setdefault(name, Tracked())
            tracked.declared = True
            if tracked.secret is None:
                missing.append(name)
        if missing:
            self._fetch_all(missing, timeout)
            self._flush()

    def _fetch_all(self, names: list[str], timeout: float | None) -> None:
        deadline = None if timeout is None else time.monotonic() + timeout
        pauses = waits()
        while errors := self._try(names, deadline):
            names = list(errors)
            left = None if deadline is None else deadline - time.monotonic()
            if isinstance(self._client, FileClient) or (left is not None and left <= 0):
                raise UnreachableError(
                    f"cannot get {', '.join(names)}: {next(iter(errors.values()))}"
                )
            wait = next(pauses)
            time.sleep(wait if left is None else min(wait, left))

    def _try(self, names: list[str], deadline: float | None) -> dict[str, SetecError]:
        errors: dict[str, SetecError] = {}
        for name in names:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            try:
                value = self._client.get(name, timeout=left)
            except SetecError as error:
                LOG.warning("%s: not there yet: %s", name, error)
                errors[name] = error
            else:
                tracked = self._tracked[name]
                tracked.secret, tracked.last_access = value, int(self._now())
        return errors

    def _start(self, interval: float) -> threading.Thread | None:
        if interval < 0:
            return None
        poller = threading.Thread(
            target=self._poll, args=(period(interval),), name="leger.setec", daemon=True
        )
        poller.start()
        return poller

    def _poll(self, every: float) -> None:
        due = time.monotonic() + every
        while not self._closing.wait(max(0.0, due - time.monotonic())):
            due = max(due + every, time.monotonic())
            try:
                self.refresh()
            except LegerError as error:
                LOG.warning("%s", error)
        self._flush()

    def _refresh(self) -> None:
        with self._lock:
            self._metrics["counter_poll_initiated"] += 1
            self._metrics["timestamp_latest_poll"] = self._now()
            known = dict(self._tracked)
        updates: dict[str, Update] = {}
        errors: list[SetecError] = []
        for name, tracked in known.items():
            if self._closing.is_set():
                break
            with self._lock:
                dropped = self._dropped(name, tracked)
                copy = tracked.cached()
            if not dropped:
                updates[name], failed = ask(self._client, name, copy)
                errors += failed
        applied = self._apply(updates, dropped=len(updates) < len(known))
        if errors:
            self._metrics["counter_poll_errors"] += 1
            how = "partly failed" if applied else "failed"
            raise RefreshError(f"asking for changes {how}: {errors[0]}", tuple(errors))

    def _dropped(self, name: str, tracked: Tracked) -> bool:
        """Forget an expired secret, if no handle of it is left."""
        if not tracked.expired(self._expiry_age, self._now()) or name in self._handles:
            return False
        del self._tracked[name]
        self._watchers.pop(name, None)
        return True

    def _apply(self, updates: Mapping[str, Update], *, dropped: bool) -> bool:
        """Take updates over; whether there were any."""
        found = {name: new for name, new in updates.items() if new.secret or new.gone}
        with self._lock:
            for name, update in found.items():
                if update.apply(self._tracked[name]):
                    self._notify(name)
        if found or dropped:
            self._save()
        return bool(found)

    def _notify(self, name: str) -> None:
        for watcher in self._watchers.get(name, ()):
            watcher.notify()

    def _save(self) -> None:
        if self._cache is None:
            return
        with self._saving:
            with self._lock:
                found = {name: tracked.cached() for name, tracked in self._tracked.items()}
            self._cache.write(cachefile.encode(found))

    def _flush(self) -> None:
        """Write the cache; what fails there is no reason to stop."""
        try:
            self._save()
        except LegerError as error:
            LOG.warning("the cache is not written: %s", error)
