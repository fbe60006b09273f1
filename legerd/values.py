"""What the vault holds: secrets, their versions, and the bytes that nobody prints."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field

MAX_VERSION = 0xFFFFFFFF


class SecretBytes:
    """A secret value. It shows itself only where somebody writes reveal()."""

    __slots__ = ("_value",)
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, value: bytes) -> None:
        self._value = value

    def reveal(self) -> bytes:
        """The value, for the line that hands it over."""
        return self._value

    def __eq__(self, other: object) -> bool:
        """Compare in constant time."""
        if not isinstance(other, SecretBytes):
            return NotImplemented
        return hmac.compare_digest(self._value, other._value)

    def __repr__(self) -> str:
        return "SecretBytes(...)"

    def __reduce__(self) -> str:
        raise TypeError("a secret value is not pickled")


@dataclass(frozen=True, slots=True)
class Version:
    """One version: its value, when it was made (seconds since the epoch) and by whom."""

    value: SecretBytes
    created: float
    creator: str


@dataclass(frozen=True, slots=True)
class Description:
    """What somebody said of a secret; `expires` is in seconds since the epoch, 0 for never."""

    text: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    expires: float = 0.0


NOTHING_SAID = Description()


@dataclass(frozen=True, slots=True)
class Secret:
    """One secret as of one moment; a change makes a new one.

    `latest` is the highest number ever given, `deleted` holds the numbers that are gone for good,
    `id` (16 random bytes) is its place in the database.
    """

    name: str
    versions: Mapping[int, Version]
    active: int
    latest: int
    deleted: frozenset[int] = frozenset()
    id: bytes = field(default=b"", repr=False)
    about: Description = NOTHING_SAID
