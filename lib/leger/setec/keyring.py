"""Several versions of one secret, kept by a store: setec's VersionedSecret."""

from __future__ import annotations

from typing import TYPE_CHECKING

from leger.secretvalue import SecretValue
from leger.setec.values import Value, VersioningClient

if TYPE_CHECKING:
    from leger.setec.store import Store


class Keyring:
    """The versions of a secret, each asked for once and then kept.

    Versions that were deleted on the server are forgotten by the store's next poll.
    """

    def __init__(self, store: Store, client: VersioningClient, name: str) -> None:
        self._store = store
        self._client = client
        self.name = name

    def versions(self) -> tuple[int, ...]:
        """Those that the store keeps, ascending."""
        return tuple(sorted(self._store.kept(self.name)))

    def get(self, version: int, *, timeout: float | None = None) -> SecretValue:
        """The value of a version; NotFoundError. For 0 the server is asked which is active."""
        kept = self._store.kept(self.name).get(version)
        if kept is not None:
            return kept

        def fetch() -> SecretValue:
            found = self._client.get_version(self.name, version, timeout=timeout)
            self._store.keep(self.name, found, active=version == 0)
            return found.value

        return self._store.single.call(f"get {version} {self.name}", fetch, timeout)

    def create_version(
        self, version: int, value: SecretValue, *, timeout: float | None = None
    ) -> None:
        """Store a version on the server, where it is active at once; VersionClaimedError."""
        self._client.create_version(self.name, version, value, timeout=timeout)
        self._store.keep(self.name, Value(value, version), active=True)
