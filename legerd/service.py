"""The gate before the vault: decide, record, act. Every call of setec's API, and fetch.

The order of the checks is setec's: what is refused before the access decision is not recorded.
"""

from __future__ import annotations

import contextlib
import hmac
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from legerd import calls, descriptions, metrics, wire
from legerd.audit import AuditLog, AuditUnavailable, Entry, Promise
from legerd.errors import (
    AccessDenied,
    InvalidVersion,
    NotFound,
    Rejected,
    ValueUnchanged,
)
from legerd.identity import Caller
from legerd.upkeep import Upkeep, UpkeepStore
from legerd.values import Secret
from legerd.watch import Parked, Watchers

#: Which right a call needs that is not setec's.
_RIGHTS = {"describe": "put"}
MAX_FETCH = 1024
MAX_FETCH_BYTES = 64 << 20
MAX_WATCH = 300
WATCH_SECONDS = 60


@dataclass(frozen=True)
class Info:
    """What list and info tell of a secret."""

    name: str
    versions: tuple[int, ...]
    active: int


@dataclass(frozen=True)
class Watched:
    """A secret that is not as the watcher has it; `status` is 200, 403 or 404."""

    name: str
    status: int
    version: int = 0


@dataclass(frozen=True)
class Fetched:
    """One answer of a fetch; `status` is 200, 304, 403 or 404."""

    name: str
    status: int
    version: int = 0
    value: bytes = b""
    tag: str = ""


class Service:
    """The eight calls of setec and Leger's own, for callers that are already identified."""

    def __init__(self, store: UpkeepStore, audit: AuditLog) -> None:
        self._store = store
        self._audit = audit
        self.upkeep = Upkeep(store, audit)
        self.watchers = Watchers(lambda: store.snapshot.sequence)
        self.requests = metrics.Requests()

    def promising(self) -> contextlib.AbstractContextManager[Promise]:
        """In here a call that changes nothing returns before it is recorded; see AuditLog."""
        return self._audit.promising()

    def list(self, caller: Caller) -> Sequence[Info]:
        """Every secret that the caller may see the info of, by name."""
        return [_info(secret) for secret in self.visible(caller)]

    def visible(self, caller: Caller) -> Sequence[Secret]:
        """The same with all that may be told of them; both are recorded as setec records list."""
        self._record(caller, "info", not caller.barred)
        if caller.barred:
            raise AccessDenied("access denied")
        snapshot = self._store.snapshot
        return [snapshot[name] for name in snapshot if caller.may("info", name)]

    def get(self, caller: Caller, name: str, version: int) -> tuple[bytes, int]:
        """Value and number of `version` of a secret, of the active one for 0."""
        self._decide(caller, "get", name, version)
        return _value(self._secret(name), version)

    def get_changed(self, caller: Caller, name: str, version: int) -> tuple[bytes, int]:
        """Value and number of the active version; ValueUnchanged if it is `version`.

        Recorded only if a value is handed over, or if it is denied.
        """
        if not caller.may("get", name):
            self._decide(caller, "get", name)
        secret = self._secret(name)
        if secret.active == version:
            raise ValueUnchanged("value unchanged")
        self._decide(caller, "get", name)
        return _value(secret, 0)

    def info(self, caller: Caller, name: str) -> Info:
        """The versions of a secret."""
        self._decide(caller, "info", name)
        return _info(self._secret(name))

    def put(self, caller: Caller, name: str, value: bytes) -> int:
        """Store `value` as the next version; the number of the version that has it."""
        _named(name)
        self._decide(caller, "put", name)
        with self._changing(name):
            return self._store.put(name, value, _creator(caller))

    def create_version(self, caller: Caller, name: str, version: int, value: bytes) -> None:
        """Store `value` under a number of the caller's choice and activate it."""
        _named(name)
        if version == 0:
            raise InvalidVersion("invalid version, please specify a version > 0")
        self._decide(caller, "create-version", name, version)
        with self._changing(name):
            self._store.create_version(name, version, value, _creator(caller))

    def activate(self, caller: Caller, name: str, version: int) -> None:
        """Make `version` the active one."""
        _named(name)
        self._decide(caller, "activate", name, version)
        with self._changing(name):
            self._store.activate(name, version)

    def delete(self, caller: Caller, name: str) -> None:
        """Delete a secret with all its versions; one that is not there is fine."""
        self._decide(caller, "delete", name)
        with self._changing(name):
            self._store.delete(name)

    def delete_version(self, caller: Caller, name: str, version: int) -> None:
        """Delete one version, which must not be the active one, for ever."""
        self._decide(caller, "delete", name, version)
        with self._changing(name):
            self._store.delete_version(name, version)

    def fetch(self, caller: Caller, request: calls.FetchRequest) -> Sequence[Fetched]:
        """Many secrets at once, from one snapshot and with one sync of the audit log.

        Recorded as get: what is handed over and what is denied, not what is unchanged or absent.
        """
        if len(request.Secrets) > MAX_FETCH:
            raise wire.BadRequestError
        answers = list(self._answers(caller, request))
        self._audit.record(
            [
                Entry(caller.principal, "get", answer.status == 200, item.Name, item.Version)
                for item, answer in zip(request.Secrets, answers, strict=True)
                if answer.status in (200, 403)
            ]
        )
        return answers

    def watch(
        self, caller: Caller, request: calls.WatchRequest, until: float | None
    ) -> Sequence[Watched]:
        """Which of the secrets have another active version than given; raises Parked while none.

        Empty when time is up. It needs the right to get or info; changes that are told are
        recorded as info, denials too. `until` (monotonic seconds) is None at the first look.
        """
        if len(request.Secrets) > MAX_FETCH or request.Seconds > MAX_WATCH:
            raise wire.BadRequestError
        snapshot = self._store.snapshot
        found = [_watched(caller, snapshot, item) for item in request.Secrets]
        told = [each for each in found if each is not None]
        if until is None:
            until = time.monotonic() + (request.Seconds or WATCH_SECONDS)
        over = time.monotonic() >= until or self.watchers.closed
        if not told and request.Secrets and not over:
            names = frozenset(item.Name for item in request.Secrets)
            raise Parked(self.watchers, names, snapshot.sequence, until)
        self._audit.record(
            [Entry(caller.principal, "info", each.status != 403, each.name) for each in told]
        )
        return told

    def history(self, caller: Caller, name: str) -> Secret:
        """Who made which version of a secret and when, and what is said of it; needs info."""
        self._decide(caller, "info", name)
        return self._secret(name)

    def describe(self, caller: Caller, request: calls.DescribeRequest) -> None:
        """Say something of a secret; whoever may put may do that. Raises InvalidDescription."""
        _named(request.Name)
        edit = descriptions.edit(request)
        self._decide(caller, "describe", request.Name)
        self._store.describe(request.Name, edit)

    def state(self, caller: Caller) -> metrics.State:
        """How vault and audit log are, for who has any rule; only a denial is recorded."""
        if caller.barred or not caller.rules:
            self._audit.record([Entry(caller.principal, "metrics", False)])
            raise AccessDenied("access denied")
        audit, snapshot, now = self._audit, self._store.snapshot, time.time()
        ends = [each.about.expires for each in descriptions.expiring(snapshot.values(), now)]
        return metrics.State(
            secrets=len(snapshot),
            expired=sum(end <= now for end in ends),
            expiring=sum(end > now for end in ends),
            watchers=len(self.watchers),
            audit_lines=audit.lines,
            audit_syncs=audit.syncs,
            audit_failures=audit.failures,
        )

    def _answers(self, caller: Caller, request: calls.FetchRequest) -> Iterator[Fetched]:
        snapshot = self._store.snapshot
        room = MAX_FETCH_BYTES
        for item in request.Secrets:
            answer = self._answer(caller, snapshot, request.Key, item)
            room -= len(answer.value)
            if room < 0:
                raise Rejected("too much for one fetch")
            yield answer

    def _answer(
        self, caller: Caller, snapshot: Mapping[str, Secret], key: bytes, item: calls.FetchItem
    ) -> Fetched:
        if not caller.may("get", item.Name):
            return Fetched(item.Name, 403)
        try:
            value, version = _value(_secret(snapshot, item.Name), item.Version)
        except NotFound:
            return Fetched(item.Name, 404)
        tag = self._store.tag(item.Name, version, value)
        if _unchanged(key, item, tag, value):
            return Fetched(item.Name, 304, version, tag=tag)
        return Fetched(item.Name, 200, version, value, tag)

    @contextlib.contextmanager
    def _changing(self, name: str) -> Iterator[None]:
        """Whatever is done to `name` in here, its watchers look at it afterwards."""
        try:
            yield
        finally:
            self.watchers.changed(name)

    def _secret(self, name: str) -> Secret:
        return _secret(self._store.snapshot, name)

    def _decide(self, caller: Caller, action: str, name: str, version: int = 0) -> None:
        """Record the decision, then refuse or return; denied stays denied, recorded or not."""
        if caller.may(_RIGHTS.get(action, action), name):
            self._record(caller, action, True, name, version)
            return
        with contextlib.suppress(AuditUnavailable):
            self._record(caller, action, False, name, version)
        raise AccessDenied("access denied")

    def _record(
        self, caller: Caller, action: str, authorized: bool, name: str = "", version: int = 0
    ) -> None:
        self._audit.record([Entry(caller.principal, action, authorized, name, version)])


def _named(name: str) -> None:
    if not name:
        raise Rejected("a secret needs a name")


def _secret(snapshot: Mapping[str, Secret], name: str) -> Secret:
    try:
        return snapshot[name]
    except KeyError:
        raise NotFound("not found") from None


def _value(secret: Secret, version: int) -> tuple[bytes, int]:
    number = version or secret.active
    try:
        return secret.versions[number].value.reveal(), number
    except KeyError:
        raise NotFound("not found") from None


def _watched(
    caller: Caller, snapshot: Mapping[str, Secret], item: calls.FetchItem
) -> Watched | None:
    """What a watcher has to be told of one secret, if anything; version 0 means it has none."""
    if not (caller.may("info", item.Name) or caller.may("get", item.Name)):
        return Watched(item.Name, 403)
    secret = snapshot.get(item.Name)
    if secret is None:
        return Watched(item.Name, 404) if item.Version else None
    return None if secret.active == item.Version else Watched(item.Name, 200, secret.active)


def _info(secret: Secret) -> Info:
    return Info(secret.name, tuple(sorted(secret.versions)), secret.active)


def _creator(caller: Caller) -> str:
    return caller.principal.user or ",".join(caller.principal.tags)


def _unchanged(key: bytes, item: calls.FetchItem, tag: str, value: bytes) -> bool:
    """Whether the caller has `value`: shown by a mac over it, else by the tag that it holds."""
    if item.Mac:
        return hmac.compare_digest(hmac.digest(key, value, "sha256"), item.Mac)
    return bool(item.Have) and hmac.compare_digest(item.Have.encode(), tag.encode())
