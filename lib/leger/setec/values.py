"""Secrets as setec's API gives them, and what a store needs of a client."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from leger.secretvalue import SecretValue


@dataclass(frozen=True)
class Value:
    """The value of a secret and the number of its version."""

    value: SecretValue
    version: int


@dataclass(frozen=True)
class Info:
    """What a server tells of a secret besides its values; versions ascend."""

    name: str
    versions: tuple[int, ...]
    active: int


class StoreClient(Protocol):
    """What a store asks for; a `timeout` (seconds) shortens the client's own."""

    def get(self, name: str, *, timeout: float | None = None) -> Value:
        """The active version."""

    def get_if_changed(self, name: str, old_version: int, *, timeout: float | None = None) -> Value:
        """The active version; ValueNotChangedError if that is `old_version`."""


class VersioningClient(StoreClient, Protocol):
    """What a keyring asks for, too."""

    def info(self, name: str, *, timeout: float | None = None) -> Info:
        """The versions of a secret."""

    def get_version(self, name: str, version: int, *, timeout: float | None = None) -> Value:
        """One version, the active one for 0."""

    def create_version(
        self, name: str, version: int, value: SecretValue, *, timeout: float | None = None
    ) -> None:
        """Store `value` as `version` and activate it."""
