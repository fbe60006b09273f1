"""What a store knows of its secrets, and what a poll makes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from leger.secretvalue import SecretValue
from leger.setec.cache import Cached
from leger.setec.errors import SetecError, ValueNotChangedError
from leger.setec.values import StoreClient, Value, VersioningClient


@dataclass
class Tracked:
    """One secret: its active version, if that was asked for, and those of a keyring."""

    secret: Value | None = None
    versions: dict[int, SecretValue] = field(default_factory=dict)
    last_access: int = 0
    declared: bool = False

    def cached(self) -> Cached:
        """A copy, as it is kept in the cache."""
        return Cached(self.secret, dict(self.versions), self.last_access)

    def expired(self, age: float, now: float) -> bool:
        """Whether nobody accessed it for `age` seconds; what is declared never expires."""
        return not self.declared and age > 0 and now - self.last_access > age


@dataclass(frozen=True)
class Update:
    """What is new about a secret: its active version, and versions that are gone."""

    before: Value | None
    secret: Value | None = None
    gone: frozenset[int] = frozenset()

    def apply(self, tracked: Tracked) -> bool:
        """Bring `tracked` up to date; whether its active version is another one now.

        What was changed here while the server was asked is newer than its answer.
        """
        for version in self.gone:
            tracked.versions.pop(version, None)
        if self.secret is None or tracked.secret is not self.before:
            return False
        tracked.secret = self.secret
        return True


def ask(client: StoreClient, name: str, known: Cached) -> tuple[Update, list[SetecError]]:
    """What the server says about a secret that is `known`, and what went wrong."""
    errors: list[SetecError] = []
    secret, gone = None, frozenset[int]()
    try:
        secret = _newer(client, name, known.secret)
    except SetecError as error:
        errors.append(error)
    try:
        gone = _gone(client, name, known.versions)
    except SetecError as error:
        errors.append(error)
    return Update(known.secret, secret, gone), errors


def _newer(client: StoreClient, name: str, known: Value | None) -> Value | None:
    if known is None:
        return None
    try:
        found = client.get_if_changed(name, known.version)
    except ValueNotChangedError:
        return None
    return found if found.version != known.version else None


def _gone(client: StoreClient, name: str, versions: Mapping[int, SecretValue]) -> frozenset[int]:
    asked = versioning(client)
    if not versions or asked is None:
        return frozenset()
    return frozenset(versions) - frozenset(asked.info(name).versions)


def versioning(client: StoreClient) -> VersioningClient | None:
    """The client, if it knows the calls that a keyring makes."""
    calls = ("info", "get_version", "create_version")
    return client if all(hasattr(client, call) for call in calls) else None  # type: ignore[return-value]
