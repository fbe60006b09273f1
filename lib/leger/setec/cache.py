"""What a store keeps over its end: setec's cache file, read and written as the Go client does.

{"NAME":{"secret":{"Value":BASE64,"Version":1},"versions":{"7":BASE64},"lastAccess":"SECONDS"}}:
compact JSON, the keys sorted, "versions" only where a keyring has some, seconds of Unix as text.
"""

from __future__ import annotations

import base64
import json
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from leger import disk
from leger.secretvalue import SecretValue
from leger.setec.errors import SetecError
from leger.setec.values import Value

_ESCAPES = {ord(char): f"\\u{ord(char):04x}" for char in "<>&\u2028\u2029"}  # as Go does


@dataclass(frozen=True)
class Cached:
    """One secret of a cache: its active version (None: only versions are known), others."""

    secret: Value | None
    versions: Mapping[int, SecretValue] = field(default_factory=dict)
    last_access: int = 0


class Cache(Protocol):
    """Keeps one piece of data; losing it is no harm."""

    def read(self) -> bytes:
        """What was written last, b"" if there is nothing; SetecError."""

    def write(self, data: bytes) -> None:
        """Keep `data`; LegerError."""


class MemoryCache:
    """A cache of this process."""

    def __init__(self, data: bytes = b"") -> None:
        self._data = data

    def read(self) -> bytes:
        """What was written last."""
        return self._data

    def write(self, data: bytes) -> None:
        """Keep `data`."""
        self._data = data


class FileCache:
    """A file (0600; its folder is made 0700) that is replaced as a whole; never anything else.

    It holds the secrets in plain text, as setec's does: best below /run.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        disk.make_folder(self.path.parent)
        self._refuse_others()

    def read(self) -> bytes:
        """The file's content, b"" if there is none."""
        try:
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            with open(os.open(self.path, flags), "rb") as file:
                if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    raise self._no_file()
                return file.read()
        except FileNotFoundError:
            return b""
        except OSError as error:
            raise SetecError(f"{self.path}: cannot be read: {error.strerror}") from error

    def write(self, data: bytes) -> None:
        """Replace the file."""
        self._refuse_others()
        disk.write_file(self.path, data, 0o600)

    def _refuse_others(self) -> None:
        try:
            if not stat.S_ISREG(self.path.lstat().st_mode):
                raise self._no_file()
        except FileNotFoundError:
            pass

    def _no_file(self) -> SetecError:
        return SetecError(f"{self.path}: exists and is no regular file")


def encode(secrets: Mapping[str, Cached]) -> bytes:
    """The cache's bytes."""
    entries = {name: _entry(secrets[name]) for name in sorted(secrets, key=_bytes)}
    text = json.dumps(entries, ensure_ascii=False, separators=(",", ":"))
    return _bytes(text.translate(_ESCAPES))


def decode(data: bytes) -> dict[str, Cached]:
    """Read what `encode` or the Go client wrote; SetecError for anything else."""
    try:
        return {_name(name): _cached(entry) for name, entry in json.loads(data).items()}
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError):
        # What was read may hold a value: the error that shows it is not told.
        raise SetecError("the cache is not setec's") from None


def _entry(cached: Cached) -> dict[str, Any]:
    secret = cached.secret
    entry: dict[str, Any] = {
        "secret": None
        if secret is None
        else {"Value": _text(secret.value), "Version": secret.version}
    }
    if cached.versions:
        keyring = {str(version): _text(value) for version, value in cached.versions.items()}
        entry["versions"] = dict(sorted(keyring.items()))
    return {**entry, "lastAccess": str(cached.last_access)}


def _cached(entry: Any) -> Cached:
    secret = entry.get("secret")
    versions = entry.get("versions") or {}
    if secret is None and not versions:
        raise ValueError
    active = None
    if secret is not None:
        active = Value(_value(secret.get("Value")), _number(secret.get("Version", 0)))
    keyring = {int(number): _value(text) for number, text in versions.items()}
    return Cached(active, keyring, int(_text_of(entry.get("lastAccess", "0"))))


def _name(raw: str) -> str:
    if not raw:
        raise ValueError
    return raw


def _number(raw: Any) -> int:
    if isinstance(raw, bool) or not isinstance(raw, int):
        raise TypeError
    return raw


def _text_of(raw: Any) -> str:
    if not isinstance(raw, str):
        raise TypeError
    return raw


def _text(value: SecretValue) -> str:
    return base64.b64encode(value.reveal()).decode()


def _value(text: str | None) -> SecretValue:
    return SecretValue(base64.b64decode(text or "", validate=True))


def _bytes(text: str) -> bytes:
    """UTF-8; what is no text (a lone surrogate) becomes a question mark."""
    return text.encode(errors="replace")
