"""The vault: an immutable snapshot to read, durable mutations by setec's rules.

Mutations that wait together are decided one after the other and committed together: whoever finds
nobody at work does it for all that are queued. An answer is given when the commit AND the
sequence number (legerd.sequence) are on the disk. After a failed commit nothing is believed but
the disk, which is read again.
"""

from __future__ import annotations

import base64
import contextlib
import hmac
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol, Self

from legerd import changes, crypto
from legerd.backing import Backing
from legerd.changes import Change, Edit
from legerd.errors import LegerdError, NotSupported, Rejected, StoreUnavailable
from legerd.keys import KEK_SLOT, RECOVERY_SLOT, Kek, Slot, Unlocker
from legerd.records import DESCRIPTION, SECRET, VERSION, Key, new_id
from legerd.recovery import PublicKey
from legerd.snapshot import Snapshot
from legerd.values import NOTHING_SAID, Secret, SecretBytes, Version
from legerd.vault import Copy, Item, Vault

__all__ = ["Secret", "SecretBytes", "SecretStore", "Snapshot", "Store", "Version"]


class SecretStore(Protocol):
    """What the server needs of a store; setec's own file can stand behind it as well.

    Reads go to `snapshot`, which never changes once it was handed out. Every mutation returns when
    it is durable, and raises a LegerdError when nothing was changed; StoreUnavailable when the
    disk refused, after which another try may work.
    """

    @property
    def snapshot(self) -> Snapshot:
        """All secrets as of the last commit."""

    def put(self, name: str, value: bytes, creator: str) -> int:
        """Store `value` as the next version, active only if it is the first; its number.

        The number of the latest version, and nothing is written, if that has the same value.
        Raises Rejected: empty name, a name below _internal/, no number left.
        """

    def create_version(self, name: str, version: int, value: bytes, creator: str) -> None:
        """Store `value` under a number that was never used, and activate it.

        Raises Rejected (empty name), InvalidVersion (0), VersionClaimed.
        """

    def activate(self, name: str, version: int) -> None:
        """Make `version` the active one. Raises Rejected (name, version 0), NotFound."""

    def delete(self, name: str) -> None:
        """Delete all of a secret; fine if there is none. Raises Rejected below _internal/."""

    def delete_version(self, name: str, version: int) -> None:
        """Delete one version for good. Raises Rejected (the active one, 0), NotFound."""

    def describe(self, name: str, edit: Edit) -> None:
        """Say something of a secret. Raises NotFound, Rejected (name), NotSupported."""

    def tag(self, name: str, version: int, value: bytes) -> str:
        """A keyed MAC over name, version and value: 43 printable characters, no secret."""

    def close(self) -> None:
        """Give the files and the lock back; a second time does nothing."""


class _Ticket:
    """One mutation that waits; `settled` when its result or its failure is final."""

    def __init__(self, name: str, decide: Callable[[Secret | None], Change]) -> None:
        self.name = name
        self.decide = decide
        self.settled = False
        self.version = 0
        self.failure: LegerdError | None = None

    def result(self) -> int:
        if self.failure is not None:
            raise self.failure
        return self.version


class Store:
    """The vault in a folder (SecretStore), open until close()."""

    def __init__(self, vault: Backing, clock: Callable[[], float] = time.time) -> None:
        self._vault = vault
        self._clock = clock
        self._queue: list[_Ticket] = []
        self._turn = threading.Condition()
        self._busy = False
        self._reserved = 0
        self._tags = crypto.derive(vault.tags_root, "legerd/1 tags")

    @classmethod
    def open(
        cls,
        directory: Path,
        key: Unlocker,
        *,
        accept_rollback: bool = False,
        create: bool = False,
    ) -> Self:
        """Open the vault in `directory` (0700), decrypting all of it into memory.

        `key` is a Kek, or a recovery key. With `create` a vault is made where there is none, which
        needs a Kek; legerd itself never does that, legerd.keygen does. `accept_rollback` takes a
        vault that is older than it was, or of which rows are missing.
        Raises KeyUnavailable, StoreLocked, StoreCorrupt (refused: nothing was written),
        StoreUnavailable.
        """
        if create and isinstance(key, Kek) and not Vault.exists(directory):
            Vault.create(directory, key)
        return cls(Vault.open(directory, key, accept_rollback=accept_rollback))

    @property
    def snapshot(self) -> Snapshot:
        """All secrets as of the last commit."""
        return self._vault.snapshot

    @property
    def slots(self) -> tuple[Slot, ...]:
        """For whom the data key is wrapped: what `leger doctor` and backups ask."""
        return self._vault.slots

    def put(self, name: str, value: bytes, creator: str) -> int:
        """See SecretStore."""
        new = Version(SecretBytes(value), self._clock(), creator)
        return self._submit(name, lambda secret: changes.put(secret, name, new))

    def create_version(self, name: str, version: int, value: bytes, creator: str) -> None:
        """See SecretStore."""
        new = Version(SecretBytes(value), self._clock(), creator)
        self._submit(name, lambda secret: changes.create_version(secret, name, version, new))

    def activate(self, name: str, version: int) -> None:
        """See SecretStore."""
        self._submit(name, lambda secret: changes.activate(secret, name, version))

    def delete(self, name: str) -> None:
        """See SecretStore."""
        self._submit(name, lambda secret: changes.delete(secret, name))

    def delete_version(self, name: str, version: int) -> None:
        """See SecretStore."""
        self._submit(name, lambda secret: changes.delete_version(secret, name, version))

    def describe(self, name: str, edit: Edit) -> None:
        """See SecretStore."""
        if not self._vault.describes:
            raise NotSupported(
                "setec's own file has no place for this", hint="legerd import makes a vault of it"
            )
        self._submit(name, lambda secret: changes.describe(secret, name, edit))

    def add(self, secrets: Iterable[Secret]) -> int:
        """Add whole secrets in one commit, or none of them; how many were not there yet.

        Raises Rejected if there is one of that name that is not the same; StoreUnavailable.
        """
        with self._alone():
            self._vault.ready()
            items, snapshot, count = _added(secrets, self._vault.snapshot)
            if count:
                self._vault.commit(items, snapshot)
        return count

    def tag(self, name: str, version: int, value: bytes) -> str:
        """See SecretStore."""
        place = name.encode("utf-8", "surrogatepass")
        data = b"".join((len(place).to_bytes(8), place, version.to_bytes(4), value))
        mac = hmac.digest(self._tags, data, "sha256")
        return base64.urlsafe_b64encode(mac).rstrip(b"=").decode()

    @property
    def recovery(self) -> str:
        """The name of the recovery key (8 hex digits), empty while there is none."""
        names = [PublicKey(slot.id).name for slot in self.slots if slot.kind == RECOVERY_SLOT]
        return ", ".join(names)

    def set_recovery(self, public: bytes) -> None:
        """Wrap the data key for the public half (32 bytes) of a recovery key.

        It takes the place of the recovery key before. Raises Rejected if it is no such key.
        """
        self._replace_slots(RECOVERY_SLOT, PublicKey.parse(public).wrap)

    @property
    def opened_with(self) -> str:
        """The id of the key-encryption key that opened it, in hex."""
        return self._vault.opened_with

    @property
    def keks(self) -> tuple[str, ...]:
        """The ids of all key-encryption keys that open it, in hex."""
        return tuple(slot.id.hex() for slot in self.slots if slot.kind == KEK_SLOT)

    def add_kek(self, kek: Kek) -> None:
        """Let `kek` open the vault as well. Raises NotSupported, StoreUnavailable."""
        with self._alone():
            self._vault.add_kek(kek)

    def renew(self, *, data_key: bool) -> None:
        """Encrypt everything afresh, with a new data key or the one before.

        Afterwards it is opened by the key that opened it and by the recovery key only, and what
        was wrapped or encrypted before is in no file. Tags stay. Raises NotSupported,
        StoreUnavailable.
        """
        with self._alone():
            self._vault.renew(data_key=data_key)

    def copy(self) -> Copy:
        """A whole vault as of now. Raises NotSupported, StoreUnavailable, StoreCorrupt."""
        with self._alone():
            return self._vault.copy()

    def verify(self) -> None:
        """Read every record from the disk again. Raises StoreCorrupt, StoreUnavailable."""
        with self._alone():
            self._vault.verify()

    def set_kek(self, kek: Kek) -> None:
        """Wrap the data key with `kek` only: from now on no other one opens the vault."""
        self._replace_slots(KEK_SLOT, kek.wrap)

    def close(self) -> None:
        """Give the files and the lock back; a second time does nothing."""
        with self._alone():
            self._vault.close()

    def _replace_slots(self, kind: int, wrap: Callable[[bytes, bytes], Slot]) -> None:
        with self._alone():
            self._vault.replace_slots(kind, wrap)

    def _submit(self, name: str, decide: Callable[[Secret | None], Change]) -> int:
        """Queue a mutation and wait; who finds nobody at work commits all that is queued."""
        ticket = _Ticket(name, decide)
        with self._turn:
            self._queue.append(ticket)
            while (self._busy or self._reserved) and not ticket.settled:
                self._turn.wait()
            if ticket.settled:
                return ticket.result()
            self._busy = True
            batch, self._queue = self._queue, []
        try:
            self._commit(batch)
        finally:
            self._give_turn()
        return ticket.result()

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """While nobody commits; whoever wants to meanwhile comes after this."""
        with self._turn:
            self._reserved += 1
            while self._busy:
                self._turn.wait()
            self._reserved -= 1
            self._busy = True
        try:
            yield
        finally:
            self._give_turn()

    def _give_turn(self) -> None:
        with self._turn:
            self._busy = False
            self._turn.notify_all()

    def _commit(self, batch: Sequence[_Ticket]) -> None:
        """Decide and commit what waits; every ticket is settled when this returns or raises."""
        try:
            self._vault.ready()
            snapshot, items = _decide(batch, self._vault.snapshot)
            if items:
                self._vault.commit(items, snapshot)
        except StoreUnavailable as error:
            for ticket in batch:
                ticket.failure = StoreUnavailable(str(error), hint=error.hint)
        except BaseException:
            for ticket in batch:
                ticket.failure = StoreUnavailable("the commit was broken off")
            raise
        finally:
            for ticket in batch:
                ticket.settled = True


def _decide(batch: Sequence[_Ticket], snapshot: Snapshot) -> tuple[Snapshot, dict[Key, Item]]:
    """What all of `batch` together make of `snapshot`; a refused one changes nothing."""
    items: dict[Key, Item] = {}
    sequence = snapshot.sequence + 1
    for ticket in batch:
        try:
            change = ticket.decide(snapshot.get(ticket.name))
        except LegerdError as error:
            ticket.failure = error
            continue
        ticket.version = change.version
        if change.written:
            after = change.after
            if after is not None and not after.id:
                after = replace(after, id=new_id())
            items.update(_items(change, after))
            snapshot = snapshot.replaced(ticket.name, after, sequence)
    return snapshot, items


def _added(secrets: Iterable[Secret], snapshot: Snapshot) -> tuple[dict[Key, Item], Snapshot, int]:
    """What adding `secrets` makes of `snapshot`; those that are there already are left out."""
    items: dict[Key, Item] = {}
    count, sequence = 0, snapshot.sequence + 1
    for secret in secrets:
        known = snapshot.get(secret.name)
        if known is None:
            after = replace(secret, id=new_id())
            items.update(_items(Change(secret.name, None, after, added=(*after.versions,)), after))
            snapshot = snapshot.replaced(secret.name, after, sequence)
            count += 1
        elif _content(known) != _content(secret):
            raise Rejected(
                f"{secret.name!r} is there already, and is not the same",
                hint="nothing was changed; delete it first, or take it out of what you add",
            )
    return items, snapshot, count


def _content(secret: Secret) -> object:
    """What makes two secrets the same: not when and by whom their versions were made."""
    values = {number: version.value for number, version in secret.versions.items()}
    return values, secret.active, secret.latest, secret.deleted


def _items(change: Change, after: Secret | None) -> dict[Key, Item]:
    """The rows that a change makes (what is to be in them) and unmakes (None)."""
    items: dict[Key, Item] = {}
    before = change.before
    if before is not None:
        for number in change.removed:
            items[Key(VERSION, before.id, number)] = None
    items.update(_said(before, after))
    if after is None:
        return items if before is None else {**items, Key(SECRET, before.id): None}
    if before is None or (before.active, before.deleted) != (after.active, after.deleted):
        items[Key(SECRET, after.id)] = after
    for number in change.added:
        items[Key(VERSION, after.id, number)] = after.versions[number]
    return items


def _said(before: Secret | None, after: Secret | None) -> dict[Key, Item]:
    """The row of what is said of a secret, if that changes."""
    secret = after or before
    about = after.about if after else NOTHING_SAID
    if secret is None or about == (before.about if before else NOTHING_SAID):
        return {}
    return {Key(DESCRIPTION, secret.id): None if about == NOTHING_SAID else about}
