"""leger backup restore: verified, unpacked beside what is in use, then exchanged folder by folder.

Nothing is replaced before all of it has been read, checked and made durable. A volume or data/NAME
is exchanged by one rename, so that it holds the old or the restored content at every moment. Once
the journal has the pairs, an interrupted restore is finished by the next command or boot.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from leger import disk, generation, podman, processes
from leger.backup import archive, exchange, inside, journal, quiet, what
from leger.backup.inside import Inside
from leger.backup.journal import Pair, Work
from leger.backup.kept import Archive, Backup
from leger.backup.what import Users
from leger.errors import LegerError, UsageError
from leger.generation import EMPTY
from leger.podman import Volume
from leger.scope import Scope
from leger.switch import Host, unbroken
from leger.switchfile import boot_id

LABEL = "io.leger.restore"


def restore(host: Host, backup: Backup, only: Collection[str] = ()) -> tuple[Archive, ...]:
    """Put back what `backup` holds, or of it what `only` names ("data", or volumes).

    Raises DamagedError or LegerError before anything is replaced, and LegerError when units did
    not come back.
    """
    scope = host.scope
    journal.insist(scope)
    wanted = select(backup, only)
    verify(scope, backup, wanted, host.report)
    there = podman.volumes()
    _refuse_elsewhere(wanted, there)
    _users(host, backup.deployment, wanted)  # whom it would have to stop and cannot
    temporary = [_temporary(scope, backup, one) for one in wanted]
    work = Work.begin(backup.deployment, temporary)
    work.save(scope)
    try:
        pairs = [
            _prepared(host, backup, one, name, there)
            for one, name in zip(wanted, temporary, strict=True)
        ]
        users = _users(host, backup.deployment, wanted)
        with unbroken(), quiet.still(host, work, users, "stop") as running:
            quiet.insist(_users(host, backup.deployment, wanted))
            committed = replace(running, pairs=tuple(pairs))
            committed.save(scope)
            exchange.carry_out(scope, committed)
    finally:
        quiet.clean(host)
    return wanted


def recover(host: Host, *, again: bool = False) -> list[str]:
    """Take up an interrupted backup or restore; says line by line what was done.

    A restore that could not be finished is tried once in each boot, and when it is asked for
    `again`: each try stops what uses the data. Raises LegerError when it cannot be finished yet.
    """
    work = Work.load(host.scope)
    if work is None:
        return []
    if work.boot != boot_id():  # whatever was stopped or paused, the boot has started again
        work = replace(work, boot=boot_id(), start=(), paused=())
    if work.is_given_up and not again:
        raise LegerError(
            f"{work.deployment}: the interrupted restore is not finished", hint="leger settle"
        )
    try:
        if work.pairs:
            return _finish(host, work)
        bad = quiet.resume(host, work)
        journal.settle(host.scope, work)
    finally:
        quiet.clean(host)
    done = [f"{work.deployment}: took back an interrupted backup or restore"]
    return done + [f"{name} did not come back: {reason}" for name, reason in bad.items()]


def _finish(host: Host, work: Work) -> list[str]:
    names = {pair.volume for pair in work.pairs} - {""}
    data = any(not pair.volume for pair in work.pairs)
    try:
        users = _using(host, work.deployment, names, data=data)
        work = replace(work, tried=boot_id())
        with unbroken(), quiet.still(host, work, users, "stop") as running:
            quiet.insist(_using(host, work.deployment, names, data=data))
            exchange.carry_out(host.scope, running)
    except LegerError as error:
        raise LegerError(
            f"{work.deployment}: the interrupted restore: {error}", hint=error.hint
        ) from error
    return [f"{work.deployment}: finished the interrupted restore"]


def select(backup: Backup, only: Collection[str]) -> tuple[Archive, ...]:
    """The archives that `only` names, all without it. Raises UsageError for what is not there."""
    known = {one.name or "data": one for one in backup.archives}
    for name in only:
        if name not in known:
            raise UsageError(f"backup {backup.id} has no {name}", hint=f"it has {', '.join(known)}")
    return tuple(one for name, one in known.items() if not only or name in only)


def verify(
    scope: Scope, backup: Backup, archives: Iterable[Archive], report: Callable[[str], None]
) -> None:
    """Read these archives to their end. Raises DamagedError for the first that is not whole."""
    for one in archives:
        report(f"verify {one.label}")
        archive.verify(scope, backup, one)


def _refuse_elsewhere(wanted: Iterable[Archive], there: Mapping[str, Volume]) -> None:
    for one in wanted:
        if one.kind == "volume" and one.name in there and there[one.name].is_elsewhere:
            raise LegerError(
                f"volume {one.name} has its content elsewhere now, by its options",
                hint=f"podman volume inspect {one.name}",
            )


def _users(host: Host, deployment: str, wanted: Iterable[Archive]) -> Users:
    """Who has to be stopped. Raises LegerError where that is not Leger's to do."""
    names = {one.name for one in wanted if one.kind == "volume"}
    return _using(host, deployment, names, data=any(one.kind == "data" for one in wanted))


def _using(host: Host, deployment: str, names: Collection[str], *, data: bool) -> Users:
    current = generation.load_current(host.scope)
    compiled = current.compiled if current else EMPTY
    active = quiet.active(host, current)
    users = what.users(host.scope, compiled, names, deployment if data else "", active)
    if users.strangers:
        raise LegerError(
            f"{', '.join(users.strangers)} uses what is to be replaced, and is no unit of Leger's",
            hint=f"podman stop {users.strangers[0]}",
        )
    return users


def _temporary(scope: Scope, backup: Backup, one: Archive) -> str:
    """The name of the volume, or the folder, that an archive is unpacked to."""
    if one.kind == "volume":
        return f"leger-restore-{secrets.token_hex(4)}"
    return str(journal.temporary_folder(scope, backup.deployment))


def _prepared(
    host: Host, backup: Backup, one: Archive, temporary: str, there: Mapping[str, Volume]
) -> Pair:
    """Unpack an archive beside what is in use, durably: it may be needed after a power cut."""
    host.report(f"unpack {one.label}")
    chunks = archive.read(host.scope, backup, one)
    steps = Inside.of(host.scope)
    if one.kind == "data":
        restored, used = Path(temporary), host.scope.data / backup.deployment
        for folder, mode in ((host.scope.state, 0o700), (host.scope.data, 0o755), (used, 0o755)):
            disk.make_folder(folder, mode)
        steps.remove(restored)
        disk.make_folder(restored)
        steps.probe(restored, used)
        steps.remove(restored)
        steps.unpack(chunks, restored)
    else:
        made = podman.create_volume(temporary, one.options, {LABEL: one.name})
        target = there.get(one.name) or podman.create_volume(one.name, one.options, one.labels)
        steps.probe(made.folder, target.folder)
        _import(made, chunks, one.label)
        steps.sync(made.folder)
        restored, used = made.folder, target.folder
    (status,) = steps.status([used])
    if status is None:
        raise LegerError(f"{used} is not there")
    return Pair(str(restored), str(used), status.inode, one.name, one.owner)


def _import(volume: Volume, chunks: Iterable[bytes], label: str) -> None:
    command = ["podman", "volume", "import", volume.name, "-"]
    done = processes.stream(command, stall=inside.STALL, chunks=chunks)
    if done.code != 0:
        message = done.message.removeprefix("Error: ")
        raise LegerError(f"{label} cannot be unpacked: {message}", hint="check free space")
