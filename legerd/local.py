"""Callers on the unix sockets: the kernel's word about the peer, judged by policy.yaml."""

from __future__ import annotations

from typing import Any

from legerd.identity import Caller, IdentityError, Peer, Principal
from legerd.policy import PolicyFile


class LocalCallers:
    """Identifies who calls on a unix socket; `host` is this host's name in the audit log."""

    def __init__(self, policy: PolicyFile, host: str) -> None:
        self._policy = policy
        self._host = host

    def __call__(self, environ: dict[str, Any]) -> Caller:
        """The caller of this request; IdentityError if the kernel did not tell who it is."""
        peer = environ.get("legerd.peer")
        if not isinstance(peer, Peer):
            raise IdentityError("no peer credentials")
        subject = peer.subject
        rules = self._policy.current().rules_for(subject)
        return Caller(
            principal=Principal(self._host, user=f"unix:{subject.user}({subject.uid})"),
            rules=rules,
            barred=subject.contained and not rules,
            root=subject.uid == 0 and not subject.contained,
        )
