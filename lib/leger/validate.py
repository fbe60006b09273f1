"""`leger validate`: what a folder of quadlets, or a fleet, would be, without the host for it."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from leger import author as authors
from leger import checkout, disk, fetching, fleet, prepare, yamlfile
from leger import compile as compiling
from leger.config import Config
from leger.deployment import Deployment
from leger.errors import LegerError
from leger.faults import FaultsError
from leger.fleet import Member
from leger.model import Fault
from leger.prepare import Prepared
from leger.scope import Scope
from leger.tree import File
from leger.trust import NOBODY
from leger.yamlfile import Plain

_COMMIT = "0" * 40


def validate_folder(
    folder: Path, quadlet: Path | None, values: Mapping[str, Plain] | None = None
) -> tuple[list[Fault], list[Fault]]:
    """The faults and the warnings of `folder`; `values` stand for those that a host would give.

    With a `quadlet` binary everything is checked that a deploy checks on the content; without
    one (None), only what Leger itself knows. Nothing outside a temporary folder is written.
    """
    name = re.sub(r"[^a-z0-9-]+", "-", folder.resolve().name.lower()).strip("-")[:48] or "here"
    deployment = Deployment(name, str(folder), values=dict(values or {}))
    with tempfile.TemporaryDirectory(prefix="leger-validate-") as temporary:
        scope = Scope.system(Path(temporary))
        try:
            author = prepare.read_author(deployment, _authors_file(folder))
            files = checkout.from_folder(folder, name, author.exclude)
            settings = Config(host_name="localhost")
            prepared = prepare.finish(scope, settings, deployment, _COMMIT, files, author=author)
        except FaultsError as error:
            return _unnamed(error.faults), []
        found = {name: prepared}
        inside = compiling.read(found)
        done = compiling.Compiler(found, inside).compiled(quadlet)
    return _unnamed(done.faults), _unnamed(done.warnings)


def _authors_file(folder: Path) -> dict[str, File]:
    path = folder / authors.FILE
    return {authors.FILE: checkout.on_disk(path)} if path.is_file() or path.is_symlink() else {}


@dataclass(frozen=True)
class HostCheck:
    """What a host would get of a fleet: its deployments by name, and what is wrong with them.

    `commits` are those that were looked at; a deployment that has none in it could not be fetched
    from here, which is a warning. `failed` are definitions that cannot be read.
    """

    deployments: Mapping[str, Deployment]
    commits: Mapping[str, str]
    failed: Mapping[str, LegerError]
    faults: tuple[Fault, ...]
    warnings: tuple[Fault, ...]

    @property
    def is_good(self) -> bool:
        """Whether all that could be looked at can be deployed."""
        return not self.failed and not self.faults


def validate_host(
    folder: Path, member: Member, quadlet: Path | None, tags: Sequence[str] = ()
) -> HostCheck:
    """What `member` would get of the fleet in `folder`, fetched and checked as a whole.

    `tags` are those that its config.yaml would name, which templates see; a tailnet's they do not.
    Signatures are not asked for: who may sign, the host's own files say. Raises ConfigError for
    the fleet's groups and values.
    """
    share = fleet.share(fleet.of_folder(folder), member, f"{folder}/")
    with tempfile.TemporaryDirectory(prefix="leger-validate-") as temporary:
        scope = Scope.system(Path(temporary))
        _write_config(scope, member.name, tags)
        commits: dict[str, str] = {}
        faults: list[Fault] = []
        warnings: list[Fault] = []
        prepared: dict[str, Prepared] = {}
        for name, found in fetching.fetch_all(scope, share.deployments.values()).items():
            if isinstance(found, LegerError):
                warnings.append(Fault(name, f"not checked: {found}", hint=found.hint))
                continue
            commits[name] = found
            try:
                unsigned = replace(share.deployments[name], verify=NOBODY)
                prepared[name] = prepare.prepare(scope, unsigned, found)
            except FaultsError as error:
                faults += error.faults
            except LegerError as error:
                faults.append(Fault(name, str(error), hint=error.hint))
        done = compiling.Compiler(prepared, compiling.read(prepared)).compiled(quadlet)
    faults += done.faults
    warnings += done.warnings
    return HostCheck(share.deployments, commits, share.failed, tuple(faults), tuple(warnings))


def _write_config(scope: Scope, name: str, tags: Sequence[str]) -> None:
    """What templates see of the host."""
    disk.make_folder(scope.etc)
    disk.write_file(scope.config, yamlfile.dump({"host": {"name": name, "tags": [*tags]}}))


def _unnamed(faults: tuple[Fault, ...]) -> list[Fault]:
    """Without a deployment's name, which the folder has not."""
    return [replace(fault, deployment="") for fault in faults]
