"""A fleet: one repository that says what many hosts have, and what this host makes of it.

    deployments.d/NAME.yaml   as on a host, and `hosts:` chooses (all, without it)
    groups.yaml               GROUP: patterns as in `hosts:`
    values/all.yaml, values/group-GROUP.yaml, values/host-NAME.yaml

A pattern is a host's name (`web-*`) or a tag (`tag:web`). What a host gets of it is written as
plain definitions below sources/fleet/, where they lie as good as the host's own and are there
without a network too.
"""

from __future__ import annotations

import fnmatch
import json
import re
import secrets
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

from leger import config, disk, yamlfile
from leger.accepted import Accept
from leger.config import Config, Limits
from leger.deployment import FLEET, Deployment, chosen_hosts, dump, read
from leger.errors import ConfigError, LegerError, contained
from leger.scope import Scope
from leger.source import shown
from leger.yamlfile import Node, Plain

if TYPE_CHECKING:
    from leger import git

_FILES = re.compile(r"deployments\.d/[^/.][^/]*\.yaml|values/[^/]+\.yaml|groups\.yaml")
_LIKE_ONE = re.compile(r"(?:deployments\.d|values)/(?:[^/.][^/]*/)*[^/.][^/]*\.ya?ml|groups\.yml")
_GROUP = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_STAMP = "stamp.json"


@dataclass(frozen=True)
class Member:
    """A host as a fleet sees it: its name and its tags, without "tag:"."""

    name: str
    tags: frozenset[str] = frozenset()

    @classmethod
    def of(cls, name: str, tags: Iterable[str]) -> Self:
        """A host whose tags may be spelt with "tag:"."""
        return cls(name, frozenset(tag.removeprefix("tag:") for tag in tags))

    def is_one_of(self, patterns: Sequence[str]) -> bool:
        """Whether one of the patterns of a `hosts:` means this host."""
        return any(self._matches(pattern) for pattern in patterns)

    def _matches(self, pattern: str) -> bool:
        if pattern.startswith("tag:"):
            return any(fnmatch.fnmatchcase(tag, pattern[4:]) for tag in self.tags)
        return fnmatch.fnmatchcase(self.name, pattern)


@dataclass(frozen=True)
class Share:
    """What one host gets: its deployments, and those that cannot be read, by name."""

    deployments: Mapping[str, Deployment]
    failed: Mapping[str, LegerError]


def share(
    files: Mapping[str, bytes], member: Member, place: str = "", scope: str = "system"
) -> Share:
    """What `member` gets of a fleet's `files`; `place` stands before their names in messages.

    What names another `scope` than this one is refused, as on the host itself.

    Values are taken from values/all.yaml, the deployment, the member's groups in the order of
    groups.yaml, values/host-NAME.yaml; the latter wins. Raises ConfigError for groups and values.
    """
    layers = _layers(files, member, place)
    deployments: dict[str, Deployment] = {}
    failed: dict[str, LegerError] = {}
    for path in sorted(path for path in files if path.startswith("deployments.d/")):
        name = path.removeprefix("deployments.d/").removesuffix(".yaml")
        try:
            with contained(name):
                found = _read(files[path], f"{place}{path}", name, member, scope)
        except LegerError as error:
            failed[name] = error
        else:
            if found is not None:
                deployments[name] = _with_values(found, layers)
    return Share(deployments, failed)


def _with_values(found: Deployment, layers: Sequence[Mapping[str, Plain]]) -> Deployment:
    values = {**layers[0], **found.values}
    for layer in layers[1:]:
        values |= layer
    return replace(found, values=values)


def of_folder(folder: Path) -> dict[str, bytes]:
    """The files of a fleet that lie in a folder."""
    paths = [*folder.glob("deployments.d/**/*"), *folder.glob("values/**/*"), *folder.glob("*.y*")]
    named = {str(path.relative_to(folder)): path for path in paths}
    _refuse_none(named, f"{folder}:")
    return {
        name: disk.read_file(path, yamlfile.MAX_BYTES)
        for name, path in sorted(named.items())
        if path.is_file() and _is_read(name, f"{folder}/")
    }


def _is_read(path: str, place: str) -> bool:
    """Whether the file `path` counts. Raises ConfigError for one that only looks as if it did."""
    if _FILES.fullmatch(path):
        return True
    if _LIKE_ONE.fullmatch(path):
        raise ConfigError(
            f"{place}{path}: is not read",
            hint="there are groups.yaml, deployments.d/NAME.yaml and values/NAME.yaml",
        )
    return False


def _refuse_none(paths: Iterable[str], place: str) -> None:
    """Raise ConfigError without a folder of definitions: that it moved removes nothing."""
    if not any(path.startswith("deployments.d/") for path in paths):
        raise ConfigError(
            f"{place} there is nothing in deployments.d",
            hint="path: names the folder that it is in; .gitkeep in it makes an empty fleet",
        )


def refresh(scope: Scope, *, accept_rewind: Accept = False) -> None:
    """Fetch the fleet of config.yaml and write what this host gets of it; without one, forget it.

    Raises LegerError when it cannot be fetched or understood; then what was there stays.
    """
    settings = config.load(scope)
    if settings.fleet is None:
        if is_lost(scope):
            raise ConfigError(
                f"{scope.config} is gone: what the fleet has here stays as it was",
                hint="write it again; without fleet: in it, this host leaves its fleet",
            )
        _forget(scope, "")
        return
    with disk.lock(scope.sources / f"{FLEET}.lock"):
        _refresh(scope, settings, settings.fleet, accept_rewind=accept_rewind)


def _refresh(scope: Scope, settings: Config, wanted: Deployment, *, accept_rewind: Accept) -> None:
    from leger import git, signature

    commit = git.fetch(scope, wanted, settings.limits, accept_rewind=accept_rewind)
    before = _stamp(scope)
    tags = _tags(before)
    stamp = {
        "commit": commit,
        "fleet": dump(wanted).decode(),
        "host": settings.host_name,
        "tags": list(settings.host_tags),
        "tailnet": tags,
    }
    if stamp == before:
        return
    mirror = git.Mirror.of(scope, wanted)
    signature.check(mirror, wanted, commit)
    with git.Commit(mirror, commit) as source:
        files = _of_commit(source, git.folder(scope, wanted), settings.limits)
    member = Member.of(settings.host_name, (*settings.host_tags, *tags))
    found = share(files, member, f"{shown(wanted.source)}: ", scope.name)
    _write(scope, files, found, stamp)


def _tags(before: Mapping[str, object]) -> list[str]:
    """This node's tags on its tailnet; while nobody can tell, those of before."""
    from leger import tailnet  # http.client, which a sync without a fleet does not need

    found = tailnet.tags()
    if found is not None:
        return list(found)
    known = before.get("tailnet")
    return [str(tag) for tag in known] if isinstance(known, list) else []


def is_lost(scope: Scope) -> bool:
    """Whether the host had a fleet and nothing says any more that it has, or has not."""
    return scope.fleet.exists() and not scope.config.exists()


def is_current(scope: Scope, fleet: Deployment) -> bool:
    """Whether what was written of a fleet is of this one."""
    return bool(_stamp(scope).get("fleet") == dump(fleet).decode())


def _stamp(scope: Scope) -> dict[str, object]:
    try:
        raw = json.loads((scope.fleet / _STAMP).read_bytes())
    except (OSError, ValueError):
        return {}
    return raw if isinstance(raw, dict) else {}


def _of_commit(source: git.Commit, folder: str, limits: Limits) -> dict[str, bytes]:
    from leger import git

    files: dict[str, bytes] = {}
    paths: set[str] = set()
    for entry in source.entries(folder, limits.files):
        paths.add(entry.path)
        if not _is_read(entry.path, "fleet: "):
            continue
        if entry.mode == git.LINK or source.size(entry) > yamlfile.MAX_BYTES:
            raise ConfigError(f"fleet: {entry.path}: must be a file, of at most 1 MiB")
        files[entry.path] = source.read(entry)
    _refuse_none(paths, "fleet:")
    return files


def _layers(files: Mapping[str, bytes], member: Member, place: str) -> list[dict[str, Plain]]:
    """The values for all, for each of the member's groups, and for itself."""
    shared = [path for path in sorted(files) if not path.startswith("deployments.d/")]
    read = {path: yamlfile.parse(files[path], f"{place}{path}") for path in shared}
    groups = _groups(read["groups.yaml"], member) if "groups.yaml" in read else {}
    known = {"groups.yaml", "values/all.yaml", *(f"values/group-{name}.yaml" for name in groups)}
    for path in read:
        if path not in known and not path.startswith("values/host-"):
            raise ConfigError(
                f"{place}{path}: belongs to no group of groups.yaml",
                hint="there are values/all.yaml, values/group-GROUP.yaml and values/host-NAME.yaml",
            )
    chosen = [f"values/group-{name}.yaml" for name, is_in in groups.items() if is_in]
    paths = ["values/all.yaml", *chosen, f"values/host-{member.name}.yaml"]
    return [_values(read[path]) if path in read else {} for path in paths]


def _groups(node: Node, member: Member) -> dict[str, bool]:
    """Every group, and whether the member is in it."""
    for name, patterns in node.mapping().items():
        if _GROUP.fullmatch(name) is None:
            raise patterns.error(f"a group cannot be called {name!r}")
    return {name: member.is_one_of(item.texts()) for name, item in node.mapping().items()}


def _values(node: Node) -> dict[str, Plain]:
    return {key: value.plain() for key, value in node.mapping().items()}


def _read(data: bytes, source: str, name: str, member: Member, scope: str) -> Deployment | None:
    node = yamlfile.parse(data, source)
    patterns = chosen_hosts(node)
    if patterns is not None and not member.is_one_of(patterns):
        return None
    return read(node, name, scope, of_fleet=True)


def _write(
    scope: Scope, files: Mapping[str, bytes], found: Share, stamp: Mapping[str, object]
) -> None:
    """Replace fleet/ as a whole: it is a link to a folder that is complete before it is named."""
    folder = scope.sources / f"{FLEET}-{secrets.token_hex(4)}"
    disk.make_folder(folder / "deployments.d")
    for name, item in found.deployments.items():
        disk.write_file(folder / f"deployments.d/{name}.yaml", dump(item))
    for name in found.failed:
        disk.write_file(folder / f"deployments.d/{name}.yaml", files[f"deployments.d/{name}.yaml"])
    disk.write_file(folder / _STAMP, json.dumps(stamp, indent=1).encode())
    link = scope.sources / f".{FLEET}-{secrets.token_hex(4)}"
    link.symlink_to(folder.name)
    link.replace(scope.fleet)
    disk.sync_folder(scope.sources)
    _forget(scope, folder.name)


def _forget(scope: Scope, kept: str) -> None:
    """Remove what was written of other fleets or commits."""
    if not kept:
        scope.fleet.unlink(missing_ok=True)
    for path in (*scope.sources.glob(f"{FLEET}-*"), *scope.sources.glob(f".{FLEET}-*")):
        if path.is_symlink():
            path.unlink()
        elif path.is_dir() and path.name != kept:
            shutil.rmtree(path, ignore_errors=True)
