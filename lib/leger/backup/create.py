"""leger backup create: what containers wrote, as archives, whole or not at all."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from leger import disk, generation, processes
from leger.backup import archive, inside, journal, kept, quiet, what
from leger.backup.inside import Inside
from leger.backup.journal import Work
from leger.backup.kept import Archive, Backup
from leger.backup.rules import Rules
from leger.backup.what import Users
from leger.errors import LegerError
from leger.generation import Generation
from leger.podman import Volume
from leger.scope import Scope
from leger.switch import Host


@dataclass(frozen=True)
class _Content:
    """What one backup saves, and what it cannot."""

    volumes: tuple[Volume, ...]
    data: bool
    left_out: tuple[str, ...]


def create(host: Host, name: str, rules: Rules, why: str) -> Backup | None:
    """Back up the deployment `name`; None if it has neither data nor volumes.

    Its units are stopped or paused for the time, as `rules` say, and run again whatever happens.
    Raises LegerError; then there is no new backup, and the others are untouched.
    """
    scope = host.scope
    journal.insist(scope)
    current = generation.load_current(scope)
    if current is None or name not in current.compiled.deployments:
        raise LegerError(f"there is no deployment {name}", hint="leger deploy list")
    content = _content(host, current, name, rules)
    if not content.volumes and not content.data:
        return None
    users = _users(host, current, content, name)
    if rules.method != "run" and users.strangers:
        host.report(f"warning: {', '.join(users.strangers)} is no unit of Leger's and runs on")
    id_ = kept.new_id(scope, name, time.time())
    with _whole_or_not(host, name, id_) as folder:
        work = Work.begin(name, [str(folder)])
        with quiet.still(host, work, users, rules.method):
            archives, left = _write(host, folder, content, name, rules)
            if rules.method == "stop":
                quiet.insist(_users(host, current, content, name))
        left = (*content.left_out, *(f"data: {path}" for path in left))
        backup = Backup(
            archives=archives, left_out=left, **_origin(current, name) | {"id": id_, "why": why}
        )
        disk.write_file(folder / kept.MANIFEST, backup.encoded(), 0o600)
    return backup


@contextlib.contextmanager
def _whole_or_not(host: Host, name: str, id_: str) -> Iterator[Path]:
    """A folder that gets its name when the block ends well, and is removed when it does not."""
    folder = kept.folder(host.scope, name) / f".{id_}"
    try:
        Work.begin(name, [str(folder)]).save(host.scope)
        disk.make_folder(folder)
        yield folder
        folder.rename(folder.with_name(id_))
        disk.sync_folder(folder.parent)
    except OSError as error:
        raise LegerError(
            f"{error.filename or folder}: {error.strerror}",
            hint="check free space, permissions and mounts",
        ) from error
    finally:
        quiet.clean(host)


def _origin(current: Generation, name: str) -> dict[str, Any]:
    """What the deployment is at this time, and who saves it."""
    return {
        "deployment": name,
        "created": time.time(),
        "who": generation.caller(),
        "generation": current.number,
        "commit": current.compiled.deployments[name].commit,
        "definition": current.definitions.get(name, ""),
    }


def _content(host: Host, current: Generation, name: str, rules: Rules) -> _Content:
    active = quiet.active(host, current)
    volumes, left = what.chosen(host.scope, current.compiled, name, rules, active)
    return _Content(tuple(volumes), _has_data(host.scope, name), tuple(left))


def _users(host: Host, current: Generation, content: _Content, name: str) -> Users:
    names = [volume.name for volume in content.volumes]
    data = name if content.data else ""
    return what.users(host.scope, current.compiled, names, data, quiet.active(host, current))


def _has_data(scope: Scope, name: str) -> bool:
    folder = scope.data / name
    return folder.is_dir() and not folder.is_symlink() and bool(os.listdir(folder))


def _write(
    host: Host, folder: Path, content: _Content, name: str, rules: Rules
) -> tuple[tuple[Archive, ...], tuple[str, ...]]:
    """Make the archives; what of data could not be kept."""
    steps = Inside.of(host.scope)
    archives: list[Archive] = []
    left: list[str] = []
    if content.data:
        host.report(f"save {host.scope.data / name}")

        def fill(sink: Callable[[bytes], object]) -> None:
            left.extend(steps.pack(host.scope.data / name, rules.exclude, sink))

        written = archive.write(folder / kept.file_name("data", ""), fill)
        archives.append(Archive("data", "", **vars(written)))
    owners = steps.status(volume.folder for volume in content.volumes)
    for volume, status in zip(content.volumes, owners, strict=True):
        host.report(f"save volume {volume.name}")
        written = archive.write(folder / kept.file_name("volume", volume.name), _exported(volume))
        archives.append(
            Archive(
                "volume",
                volume.name,
                **vars(written),
                owner=status.owner if status else None,
                options=volume.options,
                labels=volume.labels,
            )
        )
    return tuple(archives), tuple(left)


def _exported(volume: Volume) -> Callable[[Callable[[bytes], object]], None]:
    def fill(sink: Callable[[bytes], object]) -> None:
        command = ["podman", "volume", "export", volume.name]
        done = processes.stream(command, stall=inside.STALL, sink=sink)
        if done.code != 0:
            raise LegerError(f"volume {volume.name}: {done.message.removeprefix('Error: ')}")

    return fill
