"""A vault in memory for tests of the server: setec's rules as legerd.changes has them, no disk."""

from __future__ import annotations

import hashlib
import hmac
import threading
import time

from legerd import changes
from legerd.errors import StoreCorrupt, StoreUnavailable
from legerd.keys import Kek
from legerd.recovery import PublicKey
from legerd.snapshot import Snapshot
from legerd.values import SecretBytes, Version
from legerd.vault import Copy


class MemoryVault:
    """Forgets everything; `broken` makes every mutation fail as a full disk does."""

    def __init__(self) -> None:
        self.snapshot = Snapshot({}, 0)
        self.broken = False
        self.recovery = self.opened_with = ""
        self.keks: tuple[str, ...] = ()
        self._lock = threading.Lock()

    def put(self, name: str, value: bytes, creator: str) -> int:
        with self._lock:
            new = _version(value, creator)
            return self._apply(changes.put(self.snapshot.get(name), name, new))

    def create_version(self, name: str, version: int, value: bytes, creator: str) -> None:
        with self._lock:
            new = _version(value, creator)
            self._apply(changes.create_version(self.snapshot.get(name), name, version, new))

    def activate(self, name: str, version: int) -> None:
        with self._lock:
            self._apply(changes.activate(self.snapshot.get(name), name, version))

    def delete(self, name: str) -> None:
        with self._lock:
            self._apply(changes.delete(self.snapshot.get(name), name))

    def delete_version(self, name: str, version: int) -> None:
        with self._lock:
            self._apply(changes.delete_version(self.snapshot.get(name), name, version))

    def describe(self, name: str, edit: changes.Edit) -> None:
        with self._lock:
            self._apply(changes.describe(self.snapshot.get(name), name, edit))

    def tag(self, name: str, version: int, value: bytes) -> str:
        return hmac.new(
            b"tags", f"{name}\0{version}\0".encode() + value, hashlib.sha256
        ).hexdigest()

    def set_recovery(self, public: bytes) -> None:
        self.recovery = PublicKey.parse(public).name

    def add_kek(self, kek: Kek) -> None:
        self.keks = (*self.keks, kek.id.hex())

    def renew(self, *, data_key: bool) -> None:
        self.keks = ()

    def copy(self) -> Copy:
        return Copy(b"database", b"sequence", self.snapshot.sequence)

    def verify(self) -> None:
        if self.broken:
            raise StoreCorrupt("a record is not authentic")

    def close(self) -> None:
        """Nothing to give back."""

    def _apply(self, change: changes.Change) -> int:
        if change.written:
            if self.broken:
                raise StoreUnavailable("no space left on device")
            sequence = self.snapshot.sequence + 1
            self.snapshot = self.snapshot.replaced(change.name, change.after, sequence)
        return change.version


def _version(value: bytes, creator: str) -> Version:
    return Version(SecretBytes(value), time.time(), creator)
