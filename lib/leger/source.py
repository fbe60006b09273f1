"""The addresses of Git repositories in every form that people paste."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from urllib.parse import unquote, urlsplit

from leger.errors import ConfigError

_SCP = re.compile(r"(?:(?P<user>[A-Za-z0-9._-]+)@)?(?P<host>[A-Za-z0-9._-]+):(?P<path>[^:].*)")
_HINT = "use https://, ssh://, git@host:path or the path of a repository on this host"


@dataclass(frozen=True)
class Address:
    """Where a repository is: `remote` is what Git gets.

    `tree` is what a browser's address adds, BRANCH or BRANCH/PATH: where the branch ends, only
    the remote knows.
    """

    remote: str
    tree: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Understand `text`; raises ConfigError for other protocols and passwords in an address."""
        if not text or any(ord(char) < 33 or ord(char) == 127 for char in text):
            raise ConfigError(f"{text!r}: not an address of a repository", hint=_HINT)
        if "://" in text:
            return cls._url(text)
        if text.startswith(("/", "./", "../", "~/")):
            return cls(str(Path(text).expanduser().absolute()))
        match = _SCP.fullmatch(text)
        if match is None or text.startswith("-") or match["host"].startswith("-"):
            raise ConfigError(f"{text}: not an address of a repository", hint=_HINT)
        return cls(text)

    @classmethod
    def _url(cls, text: str) -> Self:
        parts = urlsplit(text)
        if parts.scheme not in ("https", "ssh", "file"):
            raise ConfigError(f"{shown(text)}: {parts.scheme}:// is not allowed", hint=_HINT)
        if parts.query or parts.fragment:
            raise ConfigError(f"{shown(text)}: no ? or # in an address", hint=_HINT)
        if parts.password is not None or (parts.scheme == "https" and parts.username):
            raise ConfigError(
                f"{shown(text)}: no user or password in an address",
                hint="give a token by a file; an address is shown and stored",
            )
        if parts.scheme == "file":
            return cls(str(Path(unquote(parts.path))))
        if not parts.hostname or parts.hostname.startswith("-"):
            raise ConfigError(f"{shown(text)}: no host in this address", hint=_HINT)
        if parts.scheme == "ssh":
            return cls(text)
        path, tree = _browsed(parts.path)
        return cls(f"https://{parts.netloc}{path}", tree)


def shown(text: str) -> str:
    """`text` without a password or token, for messages."""
    return re.sub(r"(?<=://)[^/@]*@", "", text)


def _browsed(path: str) -> tuple[str, str]:
    """The repository's path and the BRANCH/PATH behind it, from a browser's address."""
    path = path.rstrip("/")
    for mark in ("/-/tree/", "/-/blob/", "/src/branch/"):
        if mark in path:
            repository, _, tree = path.partition(mark)
            return repository, unquote(tree)
    match = re.fullmatch(r"(/[^/]+/[^/]+)/(?:tree|blob)/(.+)", path)
    return (match[1], unquote(match[2])) if match else (path, "")
