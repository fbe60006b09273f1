"""A secret's value, as a type that does not show itself."""

from __future__ import annotations

from typing import Never


class SecretValue:
    """A value that must not be printed, logged or pickled; `reveal` hands it over."""

    __slots__ = ("_value",)

    def __init__(self, value: bytes) -> None:
        self._value = value

    def reveal(self) -> bytes:
        """The value itself; stands on the line that hands it over, and nowhere else."""
        return self._value

    def __len__(self) -> int:
        return len(self._value)

    def __repr__(self) -> str:
        return "SecretValue(...)"

    def __reduce__(self) -> Never:
        raise TypeError("a secret's value is not to be stored")
