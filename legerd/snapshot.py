"""An immutable map of all secrets, of which a changed copy costs the same however many there are.

Two levels: a list of buckets, each a small dict; neither is changed once it is in a snapshot. A
change copies the list and one bucket: with 10,000 secrets 256 pointers and about 40 entries.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from legerd.values import Secret

_BUCKETS = 256


class Snapshot(Mapping[str, Secret]):
    """The vault as of one sequence number: name to Secret, iterated in setec's order (bytes)."""

    __slots__ = ("_buckets", "_names", "_size", "sequence")

    def __init__(self, secrets: Mapping[str, Secret], sequence: int) -> None:
        buckets: list[dict[str, Secret]] = [{} for _ in range(_BUCKETS)]
        for name, secret in secrets.items():
            buckets[hash(name) % _BUCKETS][name] = secret
        self._buckets = buckets
        self._size = len(secrets)
        self._names: tuple[str, ...] | None = None
        self.sequence = sequence

    def __getitem__(self, name: str) -> Secret:
        return self._buckets[hash(name) % _BUCKETS][name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return self._size

    def __repr__(self) -> str:
        return f"Snapshot({self._size} secrets, sequence {self.sequence})"

    @property
    def names(self) -> tuple[str, ...]:
        """All names, sorted once per set of names (code points sort as their UTF-8 bytes do)."""
        if self._names is None:
            self._names = tuple(sorted(name for bucket in self._buckets for name in bucket))
        return self._names

    def replaced(self, name: str, secret: Secret | None, sequence: int) -> Snapshot:
        """A copy in which `name` is `secret`, or is gone if that is None."""
        place = hash(name) % _BUCKETS
        bucket = dict(self._buckets[place])
        known = bucket.pop(name, None) is not None
        if secret is not None:
            bucket[name] = secret
        copy = self.numbered(sequence)
        copy._buckets = self._buckets.copy()
        copy._buckets[place] = bucket
        if known != (secret is not None):
            copy._size += 1 - 2 * known
            copy._names = None
        return copy

    def numbered(self, sequence: int) -> Snapshot:
        """The same secrets under another sequence number."""
        copy = Snapshot.__new__(Snapshot)
        copy._buckets = self._buckets
        copy._size = self._size
        copy._names = self._names
        copy.sequence = sequence
        return copy
