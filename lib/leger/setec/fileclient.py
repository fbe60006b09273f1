"""Secrets from a file instead of a server: for development, and to start without one."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

from leger.secretvalue import SecretValue
from leger.setec.errors import NotFoundError, SetecError, ValueNotChangedError
from leger.setec.values import Value


class FileClient:
    """The secrets of a JSON file, which is read once; SetecError if that cannot be done.

    Its form is that of the cache file, where a value may be plain text, too:
    {"NAME": {"secret": {"Value": BASE64, "Version": 1}},
     "OTHER": {"secret": {"TextValue": TEXT, "Version": 2}}}.
    As in setec, entries without a value or with a version below 1 are passed over.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        try:
            entries = json.loads(self.path.read_bytes())
            found = {name: _parse(entry) for name, entry in entries.items() if name}
        except OSError as error:
            raise SetecError(f"{path}: cannot be read: {error.strerror}") from error
        except (ValueError, TypeError, AttributeError, RecursionError):
            # What was read may hold a value: the error that shows it is not told.
            raise SetecError(f"{path}: is no file of secrets") from None
        self._secrets = {name: value for name, value in found.items() if value is not None}

    def get(self, name: str, *, timeout: float | None = None) -> Value:
        """The secret; NotFoundError."""
        try:
            return self._secrets[name]
        except KeyError:
            raise NotFoundError(f"{self.path}: no such secret: {name}") from None

    def get_if_changed(self, name: str, old_version: int, *, timeout: float | None = None) -> Value:
        """The secret; ValueNotChangedError if it is `old_version`, NotFoundError."""
        found = self.get(name, timeout=timeout)
        if found.version == old_version:
            raise ValueNotChangedError(f"{self.path}: {name} has not changed")
        return found


def _parse(entry: Any) -> Value | None:
    secret = None if entry is None else entry.get("secret")
    if secret is None:
        return None
    version, text = secret.get("Version", 0), secret.get("TextValue") or ""
    if not isinstance(version, int) or not isinstance(text, str):
        raise TypeError
    value = text.encode() or base64.b64decode(secret.get("Value") or "", validate=True)
    return Value(SecretValue(value), version) if value and version > 0 else None
