"""leger backup: create, list, info, restore, prune."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import datetime

from leger import applying, generation
from leger.backup import automatic, create, kept, restore, retention
from leger.backup.kept import Backup
from leger.cli import host, output, service
from leger.errors import LegerError, UsageError
from leger.scope import Scope
from leger.switch import Host

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def run(options: argparse.Namespace) -> int:
    """Run one of the backup commands."""
    return _COMMANDS[options.command](options)


def question(options: argparse.Namespace) -> str:
    """What `restore` asks, with all that it replaces.

    The backup that is asked about is the one that is restored, if there is a newer one by then.
    """
    backup = _chosen(host.scope(user=options.user), options, options.id)
    options.asked = backup.id
    options.confirmed = ["--asked", backup.id]
    wanted = ", ".join(one.label for one in restore.select(backup, options.only))
    return f"replace what {options.name} has now ({wanted}) by the backup of {_when(backup)}?"


def _create(options: argparse.Namespace) -> int:
    if bool(options.name) == options.all:
        raise UsageError("either a deployment's name or --all is needed")
    with host.changing(user=options.user) as locked:
        applying.settled(locked)
        current = generation.load_current(locked.scope)
        known = sorted(current.compiled.deployments) if current else []
        if options.name and options.name not in known:
            raise UsageError(f"there is no deployment {options.name}", hint="leger deploy list")
        made: list[Backup] = []
        code = 0
        for name in [options.name] if options.name else known:
            try:
                made += _create_one(locked, name, options.method)
            except LegerError as error:
                if options.name:
                    raise
                output.error(error)
                code = error.exit_code
    _show(made, as_json=options.json)
    return code


def _create_one(locked: Host, name: str, method: str | None) -> list[Backup]:
    rules = automatic.rules(locked.scope, name)
    used = replace(rules, method=method) if method else rules
    backup = create.create(locked, name, used, "by hand")
    if backup is None:
        output.progress(f"leger: {name} has neither volumes nor data to save")
        return []
    for text in backup.left_out:
        output.progress(f"leger: warning: {name}: not saved: {text}")
    for id_ in retention.prune(locked.scope, name, keep=rules.keep, days=rules.days):
        output.progress(f"leger: {name}: removed the backup {id_}, which is not to be kept longer")
    return [backup]


def _list(options: argparse.Namespace) -> int:
    service.authorise(user=options.user)
    scope = host.scope(user=options.user)
    found = []
    for name in [options.name] if options.name else kept.names(scope):
        for id_ in kept.ids(scope, name):
            try:
                found.append(Backup.load(scope, name, id_))
            except LegerError as error:
                output.error(error)
    if not found and not options.json:
        output.progress("no backups")
    _show(found, as_json=options.json)
    return 0


def _info(options: argparse.Namespace) -> int:
    service.authorise(user=options.user)
    scope = host.scope(user=options.user)
    backup = _chosen(scope, options, options.id)
    if options.verify:
        restore.verify(scope, backup, backup.archives, output.progress)
    if options.json:
        output.document(asdict(backup) | {"verified": options.verify})
        return 0
    rows = [
        ("deployment", backup.deployment),
        ("backup", backup.id),
        ("made", f"{_when(backup)} by {backup.who}, {backup.why}"),
        ("commit", backup.commit[:12]),
        ("folder", str(kept.folder(scope, backup.deployment) / backup.id)),
        *((one.label, f"{_size(one.content)}, {_size(one.size)} here") for one in backup.archives),
        *(("not saved", text) for text in backup.left_out),
    ]
    output.table([*rows, *([("verified", "all of it is whole")] if options.verify else [])])
    return 0


def _restore(options: argparse.Namespace) -> int:
    with host.changing(user=options.user) as locked:
        applying.settled(locked)
        backup = _chosen(locked.scope, options, options.asked or options.id)
        done = restore.restore(locked, backup, options.only)
    if options.json:
        labels = [one.label for one in done]
        output.document({"deployment": backup.deployment, "id": backup.id, "restored": labels})
    else:
        what = ", ".join(one.label for one in done)
        output.result(f"{backup.deployment}: restored {what} from {backup.id}")
    return 0


def _prune(options: argparse.Namespace) -> int:
    gone = []
    code = 0
    with host.changing(user=options.user) as locked:
        applying.settled(locked)
        for name in [options.name] if options.name else kept.names(locked.scope):
            try:
                ids = _prune_one(locked, name, options)
            except LegerError as error:
                output.error(error)
                code = error.exit_code
            else:
                gone += [{"deployment": name, "id": id_} for id_ in ids]
    if options.json:
        output.document({"removed": gone, "dry_run": options.dry_run})
        return code
    for one in gone:
        verb = "would be removed" if options.dry_run else "removed"
        output.result(f"{one['deployment']}: {one['id']} {verb}")
    if not gone and not code:
        output.progress("nothing to remove")
    return code


def _prune_one(locked: Host, name: str, options: argparse.Namespace) -> list[str]:
    rules = automatic.rules(locked.scope, name)
    return retention.prune(
        locked.scope,
        name,
        keep=options.keep or rules.keep,
        days=options.days or rules.days,
        dry_run=options.dry_run,
    )


def _chosen(scope: Scope, options: argparse.Namespace, id_: str) -> Backup:
    service.authorise(user=options.user)
    return Backup.load(scope, options.name, id_ or kept.newest(scope, options.name))


def _show(backups: Sequence[Backup], *, as_json: bool) -> None:
    if as_json:
        output.document([_row(backup) for backup in backups])
    elif backups:
        cells = [
            (one.deployment, one.id, _when(one), _size(one.size), _holds(one), one.why)
            for one in backups
        ]
        output.table([("NAME", "ID", "WHEN", "SIZE", "HOLDS", "WHY"), *cells])


def _row(backup: Backup) -> dict[str, object]:
    return {
        "deployment": backup.deployment,
        "id": backup.id,
        "created": _when(backup),
        "who": backup.who,
        "why": backup.why,
        "commit": backup.commit,
        "size": backup.size,
        "data": any(one.kind == "data" for one in backup.archives),
        "volumes": [one.name for one in backup.archives if one.kind == "volume"],
        "left_out": list(backup.left_out),
    }


def _holds(backup: Backup) -> str:
    volumes = sum(one.kind == "volume" for one in backup.archives)
    parts = ["data"] if volumes < len(backup.archives) else []
    parts += [f"{volumes} volume{'s' if volumes > 1 else ''}"] if volumes else []
    return ", ".join(parts)


def _when(backup: Backup) -> str:
    return datetime.fromtimestamp(backup.created).astimezone().isoformat(" ", "seconds")


def _size(count: float) -> str:
    for unit in _UNITS[:-1]:
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} {_UNITS[-1]}"


_COMMANDS = {
    "backup create": _create,
    "backup list": _list,
    "backup info": _info,
    "backup restore": _restore,
    "backup prune": _prune,
}
