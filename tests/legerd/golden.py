"""Database files that setec's server wrote under --dev, and what is in them."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path

from legerd.values import Secret

FOLDER = Path(__file__).parents[1] / "data" / "setec-golden"
NAMES = ("empty", "versions", "bytes")

Content = Mapping[str, tuple[int, Mapping[int, bytes]]]
"""Of each secret its active version, and the value of each version."""


def path_of(name: str) -> Path:
    """The database file."""
    return FOLDER / f"{name}.database"


def content_of(name: str) -> Content:
    """What setec's server said is in it."""
    listing = json.loads((FOLDER / f"{name}.json").read_text())
    return {
        secret: (
            known["active"],
            {int(number): base64.b64decode(text) for number, text in known["versions"].items()},
        )
        for secret, known in listing.items()
    }


def told(secrets: Mapping[str, Secret]) -> Content:
    """The same of secrets that legerd has."""
    return {
        name: (
            secret.active,
            {number: version.value.reveal() for number, version in secret.versions.items()},
        )
        for name, secret in secrets.items()
    }
