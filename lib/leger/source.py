"""The addresses of Git repositories in every form that people paste."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from urllib.parse import SplitResult, unquote, urlsplit

from leger.errors import ConfigError

_SCP = re.compile(r"(?:(?P<user>[A-Za-z0-9._-]+)@)?(?P<host>[A-Za-z0-9._-]+):(?P<path>[^:].*)")
_BARE = re.compile(r"(?:[A-Za-z0-9-]+\.)+[A-Za-z]{2,}(?::[0-9]+)?(?:/[^/]+){2,}/?")
_HINT = "use https://, ssh://, git@host:path or the path of a repository on this host"
_BY_FILE = "give a token by a file (auth: {token: FILE}); an address is shown and stored"
#: What browsers show of a folder, a file, a commit or a tag; one line for a kind of host.
_BROWSED = (
    r"(?P<repository>.+?)/-/(?:tree|commits?|tags)/(?P<tree>.+)",
    r"(?P<repository>.+?)/-/(?:blob|raw|blame|edit)/(?P<file>.+)",
    r"(?P<repository>.+?/[^/]+)/src/(?:branch|tag|commit)/(?P<tree>.+)",
    r"(?P<repository>/[^/]+/[^/]+)/(?:tree|commits?|releases/tag)/(?P<tree>.+)",
    r"(?P<repository>/[^/]+/[^/]+)/(?:blob|raw|blame|edit)/(?P<file>.+)",
)
_BITBUCKET = (r"(?P<repository>/[^/]+/[^/]+)/(?:src|branch|commits)/(?P<tree>.+)",)
#: What browsers add behind a ? and what says nothing about the repository.
_SAYS_NOTHING = frozenset({"tab", "ref_type", "plain", "display", "inline"})


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
        if text.startswith(("/", "./", "../", "~")):
            return cls(_path(text))
        if _BARE.fullmatch(text):
            return cls._url(f"https://{text}")
        match = _SCP.fullmatch(text)
        if match is None or text.startswith("-") or match["host"].startswith("-"):
            raise ConfigError(f"{_masked(text)}: not an address of a repository", hint=_HINT)
        if match["user"] is None and "@" in match["path"]:
            raise ConfigError(f"{_masked(text)}: no user or password in an address", hint=_BY_FILE)
        return cls(text)

    @classmethod
    def _url(cls, text: str) -> Self:
        parts = _split(text)
        scheme = parts.scheme.removeprefix("git+")
        if scheme == "file":
            return cls(_path(unquote(parts.path)))
        if not parts.hostname or parts.hostname.startswith("-"):
            raise ConfigError(f"{shown(text)}: no host in this address", hint=_HINT)
        if scheme == "ssh":
            return cls(f"ssh://{parts.netloc}{parts.path}")
        path, tree = _browsed(parts.hostname, parts.path)
        return cls(f"https://{parts.netloc}{path}", tree)


def _split(text: str) -> SplitResult:
    """The parts of a URL that may be one; raises ConfigError for any other."""
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError as error:
        # What cannot be taken apart may have a password anywhere, so that nothing of it is shown.
        scheme = text.partition("://")[0]
        raise ConfigError(
            f"{scheme}://...: not an address: no host and port", hint=_HINT
        ) from error
    scheme = parts.scheme.removeprefix("git+")
    if scheme not in ("https", "ssh", "file"):
        raise ConfigError(f"{shown(text)}: {scheme}:// is not allowed", hint=_HINT)
    keys = {pair.partition("=")[0] for pair in parts.query.split("&") if pair}
    if keys - _SAYS_NOTHING:
        raise ConfigError(f"{shown(text)}: no ? in an address", hint=_HINT)
    if parts.password is not None or (scheme == "https" and parts.username is not None):
        raise ConfigError(
            f"{shown(text)}: no user or password in an address",
            hint=_BY_FILE,
        )
    return parts


def shown(text: str) -> str:
    """`text` without a password or token in its addresses, for messages."""
    return re.sub(
        r"(://[^\s'\"?#]{0,2000})[?#][^\s'\"]*", r"\1", re.sub(r"(?<=://)[^/\s]*@", "", text)
    )


def _masked(text: str) -> str:
    """`text` without what stands between : and @, which may be USER:TOKEN@HOST/PATH."""
    return re.sub(r".*:.*@", "...@", text)


def _path(text: str) -> str:
    """A path of this host, whole."""
    try:
        return str(Path(text).expanduser().absolute())
    except RuntimeError as error:
        raise ConfigError(f"{text}: nobody here has that home folder", hint=_HINT) from error


def _browsed(host: str, path: str) -> tuple[str, str]:
    """The repository's path and the BRANCH/PATH behind it, from a browser's address.

    For a file that is its folder.
    """
    path = path.rstrip("/")
    forms = _BITBUCKET if host == "bitbucket.org" else _BROWSED
    for match in filter(None, (re.fullmatch(form, path) for form in forms)):
        found = match.groupdict()
        tree = found.get("tree") or found["file"].rpartition("/")[0]
        return found["repository"], unquote(tree)
    return path, ""
