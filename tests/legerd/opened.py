"""A vault on the disk, as the tests of the store open it."""

from __future__ import annotations

from pathlib import Path

from legerd.keys import Kek
from legerd.store import Store

KEK = Kek.of(bytes(range(32)))


def reopened(store: Store, folder: Path) -> Store:
    """Close the store and open its folder again."""
    store.close()
    return Store.open(folder, KEK)


def value(store: Store, name: str, version: int = 0) -> bytes:
    """A version's value; 0 is the active one."""
    secret = store.snapshot[name]
    return secret.versions[version or secret.active].value.reveal()
