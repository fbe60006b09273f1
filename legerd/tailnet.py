"""Callers from the tailnet: who they are is asked of tailscaled, for every request.

GET /localapi/v0/whois on tailscaled's unix socket tells node, user and capabilities of an ip:port.
"""

from __future__ import annotations

import http.client
import json
import socket
from pathlib import Path
from typing import Any
from urllib.parse import quote

from legerd.identity import Caller, IdentityError, Principal
from legerd.policy import Rule

CAPABILITIES = ("tailscale.com/cap/secrets", "https://tailscale.com/cap/secrets")
_HOST = "local-tailscaled.sock"
_SECONDS = 5.0
_MAX_ANSWER = 16 << 20


class TailnetCallers:
    """Identifies who calls on a TCP listener by WhoIs at the socket `tailscaled`."""

    def __init__(self, tailscaled: Path) -> None:
        self._tailscaled = tailscaled

    def __call__(self, environ: dict[str, Any]) -> Caller:
        """The caller of this request; IdentityError if tailscaled does not know it."""
        ip, port = environ["REMOTE_ADDR"], environ["REMOTE_PORT"]
        address = f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"
        return caller(self._ask(address), ip)

    def _ask(self, address: str) -> object:
        connection = _Connection(self._tailscaled)
        try:
            connection.request("GET", f"/localapi/v0/whois?addr={quote(address)}")
            answer = connection.getresponse()
            if answer.status != 200:
                raise IdentityError("tailscaled does not know the caller")
            return json.loads(answer.read(_MAX_ANSWER))
        except (OSError, http.client.HTTPException, ValueError, RecursionError) as error:
            raise IdentityError("tailscaled cannot be asked") from error
        finally:
            connection.close()


class _Connection(http.client.HTTPConnection):
    """HTTP over tailscaled's unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__(_HOST, timeout=_SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(_SECONDS)
        self.sock.connect(str(self._path))


def caller(whois: object, ip: str) -> Caller:
    """The caller that a WhoIs answer describes; IdentityError if it has neither tags nor user."""
    answer = _mapping(whois)
    node = _mapping(answer.get("Node"))
    tags = tuple(_texts(node.get("Tags")))
    user = "" if tags else _mapping(answer.get("UserProfile")).get("LoginName")
    if not isinstance(user, str) or not (tags or user):
        raise IdentityError("the caller has neither tags nor a user")
    name = node.get("Name")
    principal = Principal(name if isinstance(name, str) else "", ip, user, tags)
    return Caller(principal, _rules(_mapping(answer.get("CapMap"))))


def _rules(capabilities: dict[str, Any]) -> tuple[Rule, ...]:
    """The rules of the first of the two capabilities that has any; one bad rule spoils all."""
    if not all(entries is None or isinstance(entries, list) for entries in capabilities.values()):
        raise IdentityError("a capability of the wrong shape")
    for name in CAPABILITIES:
        if entries := capabilities.get(name):
            return tuple(map(_rule, entries))
    return ()


def _rule(entry: object) -> Rule:
    found: dict[str, list[str]] = {"action": [], "secret": []}
    for key, value in _mapping(entry).items():
        if key.lower() in found:
            found[key.lower()] = _texts(value)
    return Rule(frozenset(found["action"]), tuple(found["secret"]))


def _mapping(value: object) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise IdentityError("an answer of the wrong shape")
    return value


def _texts(value: object) -> list[str]:
    """A list of texts; null counts as empty, a null in it as an empty text, as in Go."""
    if value is None:
        return []
    if not isinstance(value, list):
        raise IdentityError("a list of the wrong shape")
    if not all(item is None or isinstance(item, str) for item in value):
        raise IdentityError("a list of the wrong shape")
    return [item or "" for item in value]
