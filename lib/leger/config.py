"""/etc/leger/config.yaml: defaults that hold for all deployments of a host."""

from __future__ import annotations

import hashlib
import os
import socket
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

from leger import yamlfile
from leger.deployment import FLEET, Deployment
from leger.notify import Notify
from leger.quantities import duration, size
from leger.scope import Scope
from leger.yamlfile import Node

HOSTNAME = Path("/etc/hostname")
_SHARED = ("host", "secrets", "limits", "keep")


@dataclass(frozen=True)
class Limits:
    """What a source may cost: seconds for one fetch, bytes and files of what it brings."""

    fetch_seconds: float = 300.0
    fetch_bytes: int = 1 << 30
    tree_bytes: int = 512 << 20
    file_bytes: int = 128 << 20
    files: int = 50_000

    @classmethod
    def parse(cls, node: Node) -> Self:
        """Read `limits:`; what is not given keeps its default."""
        known = {
            "fetch-time": "fetch_seconds",
            "fetch-size": "fetch_bytes",
            "tree-size": "tree_bytes",
            "file-size": "file_bytes",
            "files": "files",
        }
        given = {}
        for key, value in node.mapping(known).items():
            given[known[key]] = duration(value) if key == "fetch-time" else size(value)
        return cls(**given)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Keep:
    """`keep:` of config.yaml: at most so many generations, replaced at most so many days ago."""

    generations: int = 10
    days: int = 30

    @classmethod
    def parse(cls, node: Node) -> Self:
        """Read `keep:`; what is not given keeps its default."""
        return cls(
            **{
                key: _positive(value)
                for key, value in node.mapping(["generations", "days"]).items()
            }
        )


@dataclass(frozen=True)
class Config:
    """A scope's config.yaml; `secrets_prefix` is "" or ends in a slash.

    `fleet` is the repository in which many hosts' deployments are defined, None without one.
    `is_named` says that `host_name` was given by somebody, not by DHCP, say.
    """

    host_name: str
    host_tags: tuple[str, ...] = ()
    secrets_prefix: str = ""
    limits: Limits = field(default_factory=Limits)
    keep: Keep = field(default_factory=Keep)
    notify: Notify = field(default_factory=Notify)
    fleet: Deployment | None = None
    is_named: bool = True

    @property
    def rendering(self) -> str:
        """A checksum of all that templates and the names of secrets take from here.

        "" as long as nobody has given the host a name: it may be about to get another.
        """
        if not self.is_named:
            return ""
        parts = (self.host_name, self.host_tags, self.secrets_prefix)
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]

    @classmethod
    def parse(cls, node: Node) -> Self:
        """Read a whole config.yaml."""
        keys = node.mapping(["host", "secrets", "limits", "fleet", "notify", "keep"])
        empty = Node(None, node.source, node.line)
        host = keys.get("host", empty).mapping(["name", "tags"])
        secrets = keys.get("secrets", empty).mapping(["prefix"])
        prefix = secrets["prefix"].text().strip("/") if "prefix" in secrets else ""
        return cls(
            host_name=host["name"].text() if "name" in host else _host_name(),
            is_named="name" in host or _host_name() == _static_name(),
            host_tags=host["tags"].texts() if "tags" in host else (),
            secrets_prefix=f"{prefix}/" if prefix else "",
            limits=Limits.parse(keys.get("limits", empty)),
            keep=Keep.parse(keys.get("keep", empty)),
            notify=Notify.parse(keys.get("notify", empty)),
            fleet=_fleet(keys["fleet"]) if "fleet" in keys else None,
        )


def load(scope: Scope) -> Config:
    """The scope's configuration; without a file, the defaults. Raises ConfigError.

    What a user's own does not say of the host, secrets, limits and keep, the host's says, if the
    user may read it.
    """
    own = Node(None, str(scope.config), 1)
    if scope.config.exists():
        own = yamlfile.read(scope.config)
    if scope.host_config and os.access(scope.host_config, os.R_OK):
        hosts = yamlfile.read(scope.host_config).mapping()
        shared = {key: hosts[key] for key in _SHARED if key in hosts}
        own = replace(own, value={**shared, **own.mapping()})
    return Config.parse(own)


def _fleet(node: Node) -> Deployment:
    """The fleet's repository: what a deployment says of its own."""
    node.mapping(["source", "ref", "path", "verify", "auth"])
    return Deployment.parse(node, name=FLEET)


def _host_name() -> str:
    return socket.gethostname().partition(".")[0]


def _static_name() -> str:
    """What hostname(5) says; "" without it."""
    try:
        lines = HOSTNAME.read_text(errors="replace").splitlines()
    except OSError:
        return ""
    named = (line.strip() for line in lines if not line.startswith("#"))
    return next(filter(None, named), "").partition(".")[0]


def _positive(node: Node) -> int:
    if not 0 < node.integer() < 1_000_000:
        raise node.error("a number from 1 to 999999 is expected")
    return node.integer()
