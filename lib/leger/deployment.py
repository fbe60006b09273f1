"""A deployment: what the host says about one folder of quadlets in one repository."""

from __future__ import annotations

import os
import pwd
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Self

from leger import disk, yamlfile
from leger.backup.rules import Rules
from leger.errors import ConfigError
from leger.quantities import duration
from leger.scope import USERS, Scope
from leger.source import Address
from leger.trust import NOBODY, NOTHING, Auth, Verify
from leger.yamlfile import Node, Plain

FLEET = "fleet"
NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,46}[a-z0-9])?")
_REF = re.compile(r"(?!.*(?:\.\.|//|@\{|\.lock(?:/|$)|/\.|/$|\.$))[A-Za-z0-9_][\w.+@#%=,/-]*")
_PODMAN_SECRET = re.compile(r"[^,/=\0\s]{1,253}(?:/[-._A-Za-z0-9]{1,253})?")
_KEYS = (
    "source", "ref", "path", "scope", "values", "secrets", "on-secret-change", "verify", "update",
    "health", "exclude", "data", "fresh", "replaces", "auth", "backup",
)  # fmt: skip


@dataclass(frozen=True)
class Health:
    """How long a start may take and how long it must then stay quiet, in seconds."""

    timeout: float = 60.0
    quiet: float = 5.0

    @classmethod
    def parse(cls, node: Node) -> Self:
        """Read `health:`."""
        return cls(**{key: duration(value) for key, value in node.mapping(_HEALTH).items()})

    def plain(self) -> Plain:
        """As it stands in a file."""
        return {"timeout": f"{self.timeout:g}s", "quiet": f"{self.quiet:g}s"}


_HEALTH = ("timeout", "quiet")


@dataclass(frozen=True)
class Deployment:
    """One deployment as the host defines it.

    `source` is the address as given, `ref` "" the remote's default branch, `path` "" the
    repository's root. `secrets` maps a Podman secret's name (SECRET/KEY for a key of a Kubernetes
    Secret) to NAME or NAME:VERSION in legerd. `replaces` are unit names that exist on the host
    and that this deployment may take over. None says: what the author's file says.
    """

    name: str
    source: str
    ref: str = ""
    path: str = ""
    scope: str = "system"
    values: Mapping[str, Plain] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)
    on_secret_change: str | None = None
    verify: Verify = NOBODY
    update: str = "apply"
    health: Health | None = None
    exclude: tuple[str, ...] = ()
    data: tuple[str, ...] = ()
    fresh: bool = False
    replaces: tuple[str, ...] = ()
    auth: Auth = NOTHING
    backup: Rules | None = None

    @classmethod
    def parse(cls, raw: Node, *, name: str, scope: str = "system", of_fleet: bool = False) -> Self:
        """Read the deployment `name` from its file; the only place that sees untyped text.

        A file of a fleet may say `hosts:`. Raises ConfigError naming file and line.
        """
        if NAME.fullmatch(name) is None:
            raise ConfigError(
                f"{raw.source}: {name!r} is not a deployment's name",
                hint="lower case letters, digits and dashes, at most 48",
            )
        keys = dict(raw.mapping((*_KEYS, "hosts") if of_fleet else _KEYS))
        keys.pop("hosts", None)
        if "source" not in keys:
            raise raw.error("source is missing", hint="source: the repository's address")
        given = {key.replace("-", "_"): _READERS[key](node) for key, node in keys.items()}
        found = cls(name=name, **{"scope": scope, **given})
        if problem := found.auth.misfit(found.address.remote):
            raise keys["auth"].error(problem)
        return found

    @property
    def address(self) -> Address:
        """The source, understood."""
        return Address.parse(self.source)

    def secret(self, podman: str, prefix: str) -> str:
        """legerd's name (with :VERSION if pinned) of the Podman secret `podman`."""
        return self.secrets.get(podman) or f"{prefix}{self.name}/{podman}"


@dataclass(frozen=True)
class Target:
    """A deployment and the commit (fetched before) that it is to be brought to."""

    deployment: Deployment
    commit: str

    @property
    def definition(self) -> str:
        """The text of the deployment's definition."""
        return dump(self.deployment).decode()


def load(scope: Scope, path: Path) -> Deployment:
    """The deployment that the file `path` defines, read once while the file stays.

    Raises ConfigError if it is another scope's.
    """
    identity = disk.identity(path)
    known = _loaded.get((scope.name, path))
    if known is None or not identity or known[0] != identity:
        known = _loaded[scope.name, path] = identity, _load(scope, path)
    return known[1]


_loaded: dict[tuple[str, Path], tuple[tuple[int, ...], Deployment]] = {}


def _load(scope: Scope, path: Path) -> Deployment:
    node = yamlfile.read(path)
    of_fleet = path.parent == _fleet_folder(scope)
    if of_fleet:
        chosen_hosts(node)
    return read(node, path.stem, scope.name, of_fleet=of_fleet)


def read(node: Node, name: str, scope: str, *, of_fleet: bool = False) -> Deployment:
    """The deployment `name` of `scope`, system or user. Raises ConfigError with file and line, also
    if it is another scope's.
    """
    found = Deployment.parse(node, name=name, scope=scope, of_fleet=of_fleet)
    if found.scope != scope and not (scope == "user" and found.scope == _user()):
        raise node.mapping()["scope"].error(
            f"scope: {found.scope} is not deployed from here",
            hint="a user's deployments lie in /etc/leger/users/NAME/deployments.d/",
        )
    return replace(found, scope=scope)


def definitions(scope: Scope) -> dict[str, Path]:
    """The file of each deployment: what stands later in the search order wins."""
    return of_others(scope) | _files(owned_folders(scope))


def of_others(scope: Scope) -> dict[str, Path]:
    """The definitions of the vendor and the fleet, which count where the host has none."""
    return _files([*_vendor_folder(scope), _fleet_folder(scope)])


def _files(folders: Iterable[Path]) -> dict[str, Path]:
    return {
        path.stem: path
        for folder in folders
        for path in sorted(folder.glob("*.yaml"))
        if not path.name.startswith(".")
    }


def is_defined_elsewhere(scope: Scope, name: str) -> bool:
    """Whether the definition is the vendor's, the fleet's or root's, and so not ours to write."""
    path = definitions(scope).get(name)
    return path is not None and path.parent != scope.deployments


def misnamed(scope: Scope) -> dict[str, Path]:
    """What people took for the definition NAME: NAME.yml, which is not read."""
    folders = owned_folders(scope)
    return {path.stem: path for folder in folders for path in sorted(folder.glob("[!.]*.yml"))}


def own(scope: Scope, names: Iterable[str]) -> tuple[str, ...]:
    """Those of `names` that are not defined elsewhere: ours to write."""
    places = definitions(scope)
    return tuple(
        name
        for name in sorted(names)
        if name not in places or places[name].parent == scope.deployments
    )


def is_roots(scope: Scope, name: str) -> bool:
    """Whether root defines this deployment of the user's."""
    path = definitions(scope).get(name)
    return scope.name == "user" and path is not None and path.parent == root_folder(_user())


def is_fleets(scope: Scope, name: str) -> bool:
    """Whether the fleet defines this deployment, and nobody on the host."""
    path = definitions(scope).get(name)
    return path is not None and path.parent == _fleet_folder(scope)


def is_vendors(scope: Scope, path: Path) -> bool:
    """Whether the file of a definition is the vendor's."""
    return path.parent in _vendor_folder(scope)


def _vendor_folder(scope: Scope) -> list[Path]:
    return [scope.vendor / "deployments.d"] if scope.vendor else []


def _fleet_folder(scope: Scope) -> Path:
    return scope.fleet / "deployments.d"


def chosen_hosts(node: Node) -> tuple[str, ...] | None:
    """The patterns of `hosts:` in a fleet's definition; None where it is for all."""
    keys = node.mapping()
    if "hosts" not in keys:
        return None
    patterns = keys["hosts"].texts()
    for pattern in patterns:
        if not pattern.strip():
            raise keys["hosts"].error("a pattern of hosts: is empty")
    return patterns


def owned_folders(scope: Scope) -> tuple[Path, ...]:
    """Where people define the scope's deployments: the user, and root, whose word counts."""
    if scope.name == "user":
        return (scope.deployments, root_folder(_user()))
    return (scope.deployments,)


def root_folder(user: str) -> Path:
    """Where root defines deployments of `user`; they win over the user's own."""
    return USERS / user / "deployments.d"


def _user() -> str:
    return pwd.getpwuid(os.getuid()).pw_name


def dump(deployment: Deployment) -> bytes:
    """The text of deployments.d/NAME.yaml: what differs from the defaults."""
    raw: dict[str, Plain] = {}
    for item in fields(deployment):
        value = getattr(deployment, item.name)
        if item.name not in ("name", "scope") and value != item.default and value:
            raw[item.name.replace("_", "-")] = "required" if value is True else _plain(value)
    return yamlfile.dump(raw)


def _plain(value: object) -> Plain:
    if isinstance(value, (Auth, Verify, Health, Rules)):
        return value.plain()
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    assert value is None or isinstance(value, (bool, int, float, str))
    return value


def relative_path(node: Node) -> str:
    """A folder of the repository, normalised; "" is its root. It cannot leave it."""
    parts = [part for part in node.text().split("/") if part not in ("", ".")]
    if ".." in parts or any(part.lower() == ".git" for part in parts):
        raise node.error(f"{node.text()!r} leaves the repository")
    return "/".join(parts)


def _ref(node: Node) -> str:
    if _REF.fullmatch(node.text()) is None:
        raise node.error(f"{node.text()!r} is not the name of a branch, tag or commit")
    return node.text()


def _source(node: Node) -> str:
    try:
        Address.parse(node.text())
    except ConfigError as error:
        raise node.error(str(error), hint=error.hint) from error
    if node.text().startswith("."):
        raise node.error(f"{node.text()!r} depends on the current folder", "give the whole path")
    return node.text()


def _secrets(node: Node) -> dict[str, str]:
    bound: dict[str, str] = {}
    for name, value in node.mapping().items():
        if _PODMAN_SECRET.fullmatch(name) is None:
            raise value.error(f"{name!r} is not the name of a Podman secret")
        bound[name] = secret_name(value)
    return bound


def secret_name(node: Node) -> str:
    """A name in legerd, with :VERSION or without."""
    text = node.text()
    if (not text.rpartition(":")[0] and ":" in text) or any(
        ord(c) < 33 or ord(c) == 127 for c in text
    ):
        raise node.error(f"{text!r} is not a secret's name")
    if not text:
        raise node.error("a secret's name is empty")
    return text


def _values(node: Node) -> dict[str, Plain]:
    return {key: value.plain() for key, value in node.mapping().items()}


def _paths(node: Node) -> tuple[str, ...]:
    return tuple(relative_path(item) for item in node.sequence())


_READERS = {
    "source": _source,
    "ref": _ref,
    "path": relative_path,
    "scope": Node.text,
    "values": _values,
    "secrets": _secrets,
    "on-secret-change": lambda node: node.choice(("restart", "reload", "none")),
    "update": lambda node: node.choice(("apply", "stage", "manual")),
    "health": Health.parse,
    "exclude": Node.texts,
    "data": _paths,
    "verify": Verify.parse,
    "fresh": lambda node: node.choice(("required", "preferred")) == "required",
    "replaces": Node.texts,
    "auth": Auth.parse,
    "backup": Rules.parse,
}
