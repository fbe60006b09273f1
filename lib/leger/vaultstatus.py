"""What an administrator has to know of legerd's vault, as legerd tells root."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Self

_AT_MOST = 10


@dataclass(frozen=True)
class VaultStatus:
    """The recovery key's name ("" without one), what expires (name, RFC 3339), how many keys."""

    recovery: str
    expiring: tuple[tuple[str, str], ...] = ()
    keys: int = 1

    @classmethod
    def parse(cls, raw: Mapping[str, Any]) -> Self:
        """Read the answer of /api/leger/status."""
        expiring = tuple((str(one["Name"]), str(one["Expires"])) for one in raw["Expiring"])
        return cls(str(raw["Recovery"]), expiring, len(raw["Keys"]))

    def problems(self, now: float | None = None) -> Iterator[str]:
        """A line for each thing to do; `now` is in seconds since the epoch."""
        if not self.recovery:
            yield "there is no recovery key for legerd's secrets: legerd recovery-key makes one"
        if self.keys > 1:
            yield f"legerd's vault is opened by {self.keys} keys: legerd rekey leaves one"
        today = datetime.fromtimestamp(time.time() if now is None else now, UTC)
        for name, moment in self.expiring[:_AT_MOST]:
            over = datetime.fromisoformat(moment) <= today
            word = "has expired" if over else "expires"
            yield f"secret {name} {word} on {moment[:10]}: leger secrets set {name} - renews it"
        if len(self.expiring) > _AT_MOST:
            more = len(self.expiring) - _AT_MOST
            yield f"{more} more secrets have expired or expire soon"
