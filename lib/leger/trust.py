"""Whom the host trusts, and how it shows itself to a remote: `verify:` and `auth:`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

from leger.yamlfile import Node, Plain

_HELD = re.compile(r"/[^\0-\x1f\x7f\"\\]+|(?!\.)[A-Za-z0-9._-]{1,200}")
_USER = re.compile(r"[^:\0-\x20\x7f]+")


@dataclass(frozen=True)
class Auth:
    """How the host shows itself to a private repository.

    `ssh_key`, `known_hosts` and `token` are files of the host by their whole path, or systemd
    credentials by their name; `user` goes with the token.
    """

    ssh_key: str = ""
    known_hosts: str = ""
    token: str = ""
    user: str = ""

    @classmethod
    def parse(cls, node: Node) -> Self:
        """Read `auth:`."""
        keys = node.mapping(["ssh-key", "known-hosts", "token", "user"])
        if "user" in keys and "token" not in keys:
            raise keys["user"].error("user goes with a token", hint="auth: {user: ..., token: ...}")
        return cls(**{key.replace("-", "_"): _held(key, value) for key, value in keys.items()})

    def misfit(self, remote: str) -> str:
        """Why this is nothing for `remote`; "" if it fits."""
        is_web = remote.startswith("https://")
        if is_web and (self.ssh_key or self.known_hosts):
            return "an https address takes a token, not an ssh key"
        if not is_web and self.token:
            return "a token is for an https address"
        if remote.startswith("/") and self != NOTHING:
            return "a path on this host takes neither key nor token"
        return ""

    def plain(self) -> Plain:
        """As it stands in a file."""
        given = {
            "ssh-key": self.ssh_key,
            "known-hosts": self.known_hosts,
            "token": self.token,
            "user": self.user,
        }
        return {key: value for key, value in given.items() if value}


@dataclass(frozen=True)
class Verify:
    """Whose signatures count: files of the host with SSH signers and with GPG keys; "" is nobody.

    Without either, nothing need be signed.
    """

    allowed_signers: str = ""
    gpg_keys: str = ""

    @classmethod
    def parse(cls, node: Node) -> Self:
        """Read `verify:`."""
        keys = node.mapping(["allowed-signers", "gpg-keys"])
        if not keys:
            raise node.error("allowed-signers or gpg-keys is missing", hint="each names a file")
        for value in keys.values():
            if not value.text().startswith("/"):
                raise value.error(f"{value.text()!r}: the whole path of a file is expected")
        return cls(**{key.replace("-", "_"): value.text() for key, value in keys.items()})

    def plain(self) -> Plain:
        """As it stands in a file."""
        given = {"allowed-signers": self.allowed_signers, "gpg-keys": self.gpg_keys}
        return {key: value for key, value in given.items() if value}


NOTHING = Auth()
NOBODY = Verify()


def _held(key: str, node: Node) -> str:
    text = node.text()
    if (_USER if key == "user" else _HELD).fullmatch(text) is None:
        what = "a user's name" if key == "user" else "a file's whole path or a credential's name"
        raise node.error(f"{key}: {what} is expected")
    return text
