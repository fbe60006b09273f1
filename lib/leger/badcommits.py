"""Commits that were switched to and given up, so that no timer tries them again and again.

badcommits.json remembers the last one of each deployment, together with the definition that it was
deployed with: a new commit, another definition, or --retry is a new try. It is a memory only: where
it cannot be read, nothing is known to be bad.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Self

from leger import disk
from leger.errors import LegerError
from leger.scope import Scope

FORMAT = 1
_MAX_BYTES = 16 << 20


@dataclass(frozen=True)
class Bad:
    """A commit of a deployment that was given up.

    `definition` is the digest of its definition, `reason` what happened, `when` Unix time in
    seconds. `others` maps the deployments that it went back with, and whose fault it was, to their
    commits: with another one of these it may be tried again.
    """

    deployment: str
    commit: str
    definition: str
    reason: str
    when: float = 0.0
    others: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, raw: Any) -> Self:
        """Read one entry; ValueError, KeyError or TypeError if it is none."""
        texts = {key: str(raw[key]) for key in ("deployment", "commit", "definition", "reason")}
        others = {str(name): str(commit) for name, commit in dict(raw["others"]).items()}
        return cls(**texts, when=float(raw["when"]), others=others)

    def holds(self, commit: str, definition: str, commits: Mapping[str, str]) -> bool:
        """Whether this is about `commit` with the text `definition`, `commits` being wanted."""
        return (
            self.commit == commit
            and self.definition == digest(definition)
            and all(commits.get(name, "") == other for name, other in self.others.items())
        )


def digest(definition: str) -> str:
    """What tells one definition's text from another."""
    return hashlib.sha256(definition.encode()).hexdigest()[:16]


def load(scope: Scope) -> dict[str, Bad]:
    """What is known to be bad, by deployment; entries that cannot be understood are none."""
    try:
        raw = json.loads(disk.read_file(scope.bad_commits, _MAX_BYTES))
        entries = raw["bad"] if raw["format"] == FORMAT else ()
        return {bad.deployment: bad for bad in _understood(entries)}
    except (LegerError, ValueError, KeyError, TypeError, RecursionError):
        return {}


def remember(scope: Scope, found: Iterable[Bad]) -> None:
    """Add what was given up, durably; the caller holds the lock."""
    new = {bad.deployment: bad for bad in found}
    if new:
        _save(scope, load(scope) | new)


def forget(scope: Scope, names: Iterable[str]) -> None:
    """Deployments that run well, or that exist no longer, have no bad commit."""
    known = load(scope)
    gone = known.keys() & set(names)
    if gone:
        _save(scope, {name: bad for name, bad in known.items() if name not in gone})


def now(deployment: str, commit: str, definition: str, reason: str) -> Bad:
    """A commit that is given up at this moment; `definition` is the text."""
    return Bad(deployment, commit, digest(definition), reason, time.time())


def _understood(entries: Iterable[Any]) -> Iterator[Bad]:
    for entry in entries:
        with contextlib.suppress(ValueError, KeyError, TypeError):
            yield Bad.parse(entry)


def _save(scope: Scope, known: Mapping[str, Bad]) -> None:
    entries = [
        {item.name: getattr(bad, item.name) for item in fields(bad)}
        for _, bad in sorted(known.items())
    ]
    data = json.dumps({"format": FORMAT, "bad": entries}, indent=1, ensure_ascii=False)
    disk.make_folder(scope.state)
    disk.write_file(scope.bad_commits, data.encode(errors="replace") + b"\n", 0o600)
