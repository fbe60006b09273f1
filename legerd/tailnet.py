"""Callers from the tailnet: who they are is asked of tailscaled, for every request."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from legerd.identity import Caller, IdentityError, Principal
from legerd.localapi import LocalApi, LocalApiError, mapping, texts
from legerd.policy import Rule

CAPABILITIES = ("tailscale.com/cap/secrets", "https://tailscale.com/cap/secrets")


def is_local(ip: str) -> bool:
    """Whether `ip` is an address of this host: one that a socket can be bound to."""
    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((ip, 0))
        except OSError:
            return False
    return True


class TailnetCallers:
    """Identifies who calls on a TCP listener by WhoIs at the socket `tailscaled`.

    Addresses for which `refused` says yes are nobody. On the tailnet that is `is_local`: a process
    of this host that connects to the node's own address would be taken for the node, and so walk
    round policy.yaml.
    """

    def __init__(self, tailscaled: Path, refused: Callable[[str], bool] | None = None) -> None:
        self._tailscaled = LocalApi(tailscaled)
        self._refused = refused

    def __call__(self, environ: dict[str, Any]) -> Caller:
        """The caller of this request; IdentityError if tailscaled does not know it."""
        ip, port = environ["REMOTE_ADDR"], environ["REMOTE_PORT"]
        if self._refused and self._refused(ip):
            raise IdentityError("the caller is on this host")
        address = f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"
        try:
            return caller(self._tailscaled.whois(address), ip)
        except LocalApiError as error:
            raise IdentityError(str(error)) from error


def caller(whois: object, ip: str) -> Caller:
    """The caller that a WhoIs answer describes; IdentityError if it has neither tags nor user.

    Raises LocalApiError if the answer is of another shape.
    """
    answer = mapping(whois)
    node = mapping(answer.get("Node"))
    tags = tuple(texts(node.get("Tags")))
    user = "" if tags else mapping(answer.get("UserProfile")).get("LoginName")
    if not isinstance(user, str) or not (tags or user):
        raise IdentityError("the caller has neither tags nor a user")
    name = node.get("Name")
    principal = Principal(name if isinstance(name, str) else "", ip, user, tags)
    return Caller(principal, _rules(mapping(answer.get("CapMap"))))


def _rules(capabilities: dict[str, Any]) -> tuple[Rule, ...]:
    """The rules of the first of the two capabilities that has any; one bad rule spoils all."""
    if not all(entries is None or isinstance(entries, list) for entries in capabilities.values()):
        raise LocalApiError("a capability of the wrong shape")
    for name in CAPABILITIES:
        if entries := capabilities.get(name):
            return tuple(map(_rule, entries))
    return ()


def _rule(entry: object) -> Rule:
    found: dict[str, list[str]] = {"action": [], "secret": []}
    for key, value in mapping(entry).items():
        if key.lower() in found:
            found[key.lower()] = texts(value)
    return Rule(frozenset(found["action"]), tuple(found["secret"]))
