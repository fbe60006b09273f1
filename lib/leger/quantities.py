"""Durations, sizes, names: the small grammars that configuration files share."""

from __future__ import annotations

import re

from leger.yamlfile import Node

DAY = 86400.0
_DURATION = re.compile(r"([0-9]{1,6}(?:\.[0-9]{1,3})?)(ms|s|min|m|h|d)?")
_SECONDS = {"ms": 0.001, "s": 1.0, "min": 60.0, "m": 60.0, "h": 3600.0, "d": DAY}
_SIZE = re.compile(r"([0-9]{1,9})([KMGT]?)(?:i?B)?", re.IGNORECASE)
_BYTES = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


def duration(node: Node) -> float:
    """Seconds from 60, "60s", "5min", "1.5h"."""
    match = _DURATION.fullmatch(node.text().strip())
    if match is None:
        raise node.error(f"{node.text()!r} is not a duration", hint="write 30s, 5min or 1h")
    return float(match[1]) * _SECONDS[match[2] or "s"]


def size(node: Node) -> int:
    """Bytes from 4096, "64M", "1GiB" (powers of 1024)."""
    match = _SIZE.fullmatch(node.text().strip())
    if match is None:
        raise node.error(f"{node.text()!r} is not a size", hint="write 500M or 2GiB")
    return int(match[1]) * _BYTES[match[2].lower()]
