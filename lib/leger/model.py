"""What a compile yields and a switch takes: frozen values that the library's parts share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Fault:
    """Why something cannot be deployed.

    `file` is relative to the deployment's tree, `line` counts from 1 (0: the whole file).
    """

    deployment: str
    message: str
    file: str = ""
    line: int = 0
    hint: str = ""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return ": ".join(part for part in (self.deployment, place, self.message) if part)


@dataclass(frozen=True)
class Binding:
    """A Podman secret and where its value comes from.

    `podman` is the Podman secret's name, or SECRET/KEY for a key of a .kube's Kubernetes Secret;
    `version` 0 means the active one. `units` are the services whose start needs it.
    """

    podman: str
    legerd: str
    version: int = 0
    units: tuple[str, ...] = ()
    required: bool = True


@dataclass(frozen=True)
class Tree:
    """An immutable checked-out and rendered tree: store/NAME-DIGEST/.

    `files` maps each relative path to (mode, SHA-256 in hex).
    """

    path: Path
    digest: str
    files: Mapping[str, tuple[int, str]]


@dataclass(frozen=True)
class Unit:
    """One systemd unit of a deployment as the host's quadlet made it (or a plain unit of the tree).

    `name` is the unit's name (web.service; templates end in @.service); `kind` is the quadlet's
    suffix ("container", "pod", ..., or "plain"); `source` its file in the tree; `inputs` the
    tree's files and folders that it reads (EnvironmentFile, mounts, Yaml); `depends` the units
    of ours that its quadlet refers to; `resource` the Podman name that it owns (container, pod,
    network, volume name); `normal` is the text with store paths normalised, by which two
    generations are compared; `wanted` says that a boot would start it ([Install]);
    `images` are those that a .kube's YAML names; `oneshot` is Type=oneshot of a container that a
    change must not run again;
    `on_secret_change` is what its own [X-Leger] says ("": what the deployment says).
    """

    name: str
    deployment: str
    kind: str
    source: str
    text: str
    normal: str
    inputs: tuple[str, ...] = ()
    depends: tuple[str, ...] = ()
    resource: str = ""
    wanted: bool = False
    oneshot: bool = False
    image: str = ""
    images: tuple[str, ...] = ()
    instances: tuple[str, ...] = ()
    pod: str = ""
    on_secret_change: str = ""


@dataclass(frozen=True)
class Built:
    """One deployment, compiled: its tree, the commit it came from, its units and secrets.

    `adopted` are the host's own quadlet files that it took the place of, whenever that was;
    `settings` is the checksum of what of config.yaml it was made with ("": not known).
    """

    name: str
    commit: str
    source: str
    tree: Tree
    units: Mapping[str, Unit]
    bindings: tuple[Binding, ...]
    on_secret_change: str = "restart"  # noqa: S105
    adopted: tuple[Path, ...] = ()
    refers: frozenset[str] = field(default_factory=frozenset)
    settings: str = ""


@dataclass(frozen=True)
class Compiled:
    """All deployments of a scope, compiled together.

    `files` and `links` are units.json's (RELPATH -> entry, RELPATH -> target); `faults` is empty
    when it may be switched to.
    """

    deployments: Mapping[str, Built]
    files: Mapping[str, Mapping[str, object]]
    links: Mapping[str, str]
    search: tuple[str, ...]
    quadlet: Mapping[str, object]
    faults: tuple[Fault, ...] = ()
    warnings: tuple[Fault, ...] = ()


def split_version(text: str) -> tuple[str, int]:
    """NAME:VERSION as a pair; version 0 is the active one."""
    name, colon, version = text.rpartition(":")
    if colon and name and version.isascii() and version.isdigit():
        return name, int(version)
    return text, 0


@dataclass(frozen=True)
class Move:
    """A deployment on its way from one commit to another ("" before the first, or removed)."""

    name: str
    before: str
    after: str
