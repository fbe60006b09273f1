"""KEY=VALUE arguments."""

from __future__ import annotations

from collections.abc import Sequence

from leger import yamlfile
from leger.errors import ConfigError, UsageError


def pairs(given: Sequence[str], option: str) -> dict[str, yamlfile.Plain]:
    """KEY=VALUE arguments; a value is read as YAML would read it."""
    pairs: dict[str, yamlfile.Plain] = {}
    for text in given:
        key, equals, value = text.partition("=")
        if not key or not equals:
            raise UsageError(f"{option} {text}: KEY=VALUE is expected")
        pairs[key] = value if option != "--set" else _scalar(value)
    return pairs


def _scalar(text: str) -> yamlfile.Plain:
    try:
        node = yamlfile.parse(text.encode(), "--set")
    except ConfigError:
        return text
    plain = node.plain()
    return plain if isinstance(plain, (bool, int, float)) else text
