"""What a Store commits to: a vault, or setec's own file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from legerd.keys import Kek, Slot
from legerd.records import Key
from legerd.snapshot import Snapshot
from legerd.vault import Copy, Item


class Backing(Protocol):
    """legerd.vault.Vault or legerd.setec_vault.SetecVault."""

    @property
    def snapshot(self) -> Snapshot:
        """All secrets as of the last commit."""

    @property
    def slots(self) -> tuple[Slot, ...]:
        """For whom the data key is wrapped."""

    @property
    def tags_root(self) -> bytes:
        """What the key of tags is derived from."""

    @property
    def describes(self) -> bool:
        """Whether there is a place for descriptions."""

    def ready(self) -> None:
        """Return if commits can be tried; StoreUnavailable while they cannot."""

    def commit(self, items: Mapping[Key, Item], snapshot: Snapshot) -> None:
        """Make `snapshot` durable, which `items` turn the current one into.

        Raises StoreUnavailable if the disk refuses; then `snapshot` is what the disk says.
        """

    def replace_slots(self, kind: int, wrap: Callable[[bytes, bytes], Slot]) -> None:
        """Wrap the data key anew for holders of `kind`."""

    @property
    def opened_with(self) -> str:
        """The id of the key-encryption key that opened it, in hex."""

    def add_kek(self, kek: Kek) -> None:
        """Wrap the data key with another key as well."""

    def renew(self, *, data_key: bool) -> None:
        """Write everything afresh, for the key that opened it and the recovery key only."""

    def copy(self) -> Copy:
        """All of it as of now."""

    def verify(self) -> None:
        """Read the disk again; StoreCorrupt if it is not what is known."""

    def close(self) -> None:
        """Give everything back; a second time does nothing."""
