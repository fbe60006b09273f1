"""What legerd counts, as Prometheus reads it, and under the expvar names of setec's server.

Counts and times only: no name of a secret or of a caller is ever among them.
"""

from __future__ import annotations

import json
import os
import re
import threading
import time
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path

PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"
VARIABLES = "application/json; charset=utf-8"
#: Upper bounds of the classes of latencies, in seconds.
BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
#: setec's counters, and the statuses that they count (None: all).
_SETEC: Mapping[str, int | None] = {
    "api_bad_request": 400,
    "api_calls": None,
    "api_forbidden": 403,
    "api_internal_error": 500,
}
_SETECS = re.compile("/api/[^/]+")
_STARTED = time.time()


@dataclass
class Answers:
    """What was answered on one path: how often with each status, how fast, seconds in all."""

    statuses: dict[int, int] = field(default_factory=dict)
    classes: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS) + 1))
    seconds: float = 0.0

    def count(self, status: int | None) -> int:
        """How many had this status; all of them for None."""
        return sum(self.statuses.values()) if status is None else self.statuses.get(status, 0)


class Requests:
    """Counts answers; `add` stands on the way of each, so it does next to nothing."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._paths: dict[str, Answers] = {}

    def add(self, path: str, status: int, seconds: float) -> None:
        """One answer on `path`, one of the few that legerd knows."""
        place = bisect_left(BOUNDS, seconds)
        with self._lock:
            known = self._paths.get(path)
            if known is None:
                known = self._paths[path] = Answers()
            known.statuses[status] = known.statuses.get(status, 0) + 1
            known.classes[place] += 1
            known.seconds += seconds

    def paths(self) -> dict[str, Answers]:
        """A copy of what was counted so far, by path."""
        with self._lock:
            return {
                path: Answers(dict(known.statuses), list(known.classes), known.seconds)
                for path, known in sorted(self._paths.items())
            }


@dataclass(frozen=True)
class State:
    """How the vault and the audit log are; what is counted is counted since the start.

    Secrets that are `expired`, and those that are `expiring`: soon, but not yet.
    """

    secrets: int
    expired: int
    expiring: int
    watchers: int
    audit_lines: int
    audit_syncs: int
    audit_failures: int


@dataclass(frozen=True)
class Family:
    """One metric in Prometheus's sense.

    A sample is a number, and what is written between the name and it: labels, or (of a histogram)
    the end of the name and labels.
    """

    name: str
    kind: str
    help: str
    samples: tuple[tuple[str, float], ...]

    def __str__(self) -> str:
        lines = [f"# HELP {self.name} {self.help}", f"# TYPE {self.name} {self.kind}"]
        lines += [f"{self.name}{labels} {number!r}" for labels, number in self.samples]
        return "\n".join(lines) + "\n"


def prometheus(paths: Mapping[str, Answers], state: State) -> str:
    """All metrics in Prometheus's text format, version 0.0.4."""
    families = [*_requests(paths), *_setecs(paths), *_state(state), *_process()]
    return "".join(map(str, families))


def variables(paths: Mapping[str, Answers]) -> str:
    """setec's counters as Go's expvar shows them."""
    counted = {
        f"counter_{name}": {path: number for path, number in _counts(paths, status) if number}
        for name, status in _SETEC.items()
    }
    return f'{{\n"setec_server": {json.dumps(counted)}\n}}\n'


def _requests(paths: Mapping[str, Answers]) -> Iterator[Family]:
    statuses = tuple(
        (f'{{path="{path}",code="{status}"}}', number)
        for path, known in paths.items()
        for status, number in sorted(known.statuses.items())
    )
    yield Family("legerd_requests_total", "counter", "Requests that were answered.", statuses)
    seconds = tuple(sample for path, known in paths.items() for sample in _histogram(path, known))
    told = "How long an answer took, its record in the audit log included."
    yield Family("legerd_request_seconds", "histogram", told, seconds)


def _histogram(path: str, known: Answers) -> Iterator[tuple[str, float]]:
    sums = list(accumulate(known.classes))
    for bound, number in zip([*map(repr, BOUNDS), "+Inf"], sums, strict=True):
        yield f'_bucket{{path="{path}",le="{bound}"}}', number
    yield f'_sum{{path="{path}"}}', round(known.seconds, 9)
    yield f'_count{{path="{path}"}}', sums[-1]


def _setecs(paths: Mapping[str, Answers]) -> Iterator[Family]:
    for name, status in _SETEC.items():
        samples = tuple((f'{{method="{p}"}}', number) for p, number in _counts(paths, status))
        yield Family(f"setec_server_{name}", "counter", f"As setec counts {name}.", samples)


def _counts(paths: Mapping[str, Answers], status: int | None) -> list[tuple[str, int]]:
    own = {path: known for path, known in paths.items() if _SETECS.fullmatch(path)}
    return [(path, known.count(status)) for path, known in own.items()]


def _state(state: State) -> Iterator[Family]:
    yield _one("legerd_secrets", "gauge", "Secrets in the vault.", state.secrets)
    expired = "Secrets whose expiry date is over."
    yield _one("legerd_secrets_expired", "gauge", expired, state.expired)
    expiring = "Secrets that expire within 14 days."
    yield _one("legerd_secrets_expiring", "gauge", expiring, state.expiring)
    yield _one("legerd_watchers", "gauge", "Calls that wait for a change.", state.watchers)
    lines = "Lines that the audit log has taken."
    yield _one("legerd_audit_lines_total", "counter", lines, state.audit_lines)
    syncs = "Writes of the audit log, each made durable; one may hold many lines."
    yield _one("legerd_audit_syncs_total", "counter", syncs, state.audit_syncs)
    failures = "Writes of the audit log that failed; what they should have recorded was refused."
    yield _one("legerd_audit_failures_total", "counter", failures, state.audit_failures)


def _process() -> Iterator[Family]:
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    used = time.process_time()
    yield _one("process_start_time_seconds", "gauge", "Since the epoch.", _STARTED)
    yield _one("process_cpu_seconds_total", "counter", "User and system time.", used)
    yield _one("process_resident_memory_bytes", "gauge", "Memory in use.", resident)


def _one(name: str, kind: str, told: str, number: float) -> Family:
    return Family(name, kind, told, (("", number),))
