"""What a benchmark yields: figures, each with its unit and, where there is one, its limit."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Figure:
    """One measured number.

    `group` is the part ("generator"), `name` what was measured, `unit` ms, MiB, 1/s or a ratio.
    `limit` is what the number must not exceed (None: it is only told); with `at_least` it must
    not fall below. `note` names what it was measured against.
    """

    group: str
    name: str
    value: float
    unit: str = "ms"
    limit: float | None = None
    at_least: bool = False
    note: str = ""

    @property
    def kept(self) -> bool:
        """Whether the limit holds; true where there is none."""
        if self.limit is None:
            return True
        return self.value >= self.limit if self.at_least else self.value <= self.limit


def milliseconds(call: Callable[[], object], rounds: int = 5) -> float:
    """The median time of `call` over `rounds` runs, in milliseconds."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        call()
        times.append((time.perf_counter() - start) * 1000)
    return statistics.median(times)


def machine() -> dict[str, str | int]:
    """What the figures were measured on."""
    return {
        "processor": _field("/proc/cpuinfo", "model name"),
        "cores": os.cpu_count() or 1,
        "memory": _field("/proc/meminfo", "MemTotal"),
        "kernel": platform.release(),
        "python": platform.python_version(),
    }


def _field(path: str, name: str) -> str:
    for line in Path(path).read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return "unknown"
