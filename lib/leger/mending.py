"""leger apply: the host becomes what the definitions say, at the commits that were fetched.

What drifted is mended on the way: trees that were changed are put right before anything is
compiled, units that fell over are started again after the switch, and are not held against it.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from leger import (
    applying,
    changes,
    comparing,
    disk,
    drift,
    generation,
    health,
    intent,
    judge,
    owed,
    refreshing,
    renewal,
)
from leger.applying import Outcome
from leger.changes import Changes
from leger.deployed import Deployed
from leger.drift import Drift, Repair
from leger.errors import LegerError
from leger.generation import Generation
from leger.intent import Intent
from leger.judge import InterruptedSwitchError
from leger.switch import Host, NotHealthyError

ASIDE = ".replaced-by-leger"


@dataclass(frozen=True)
class Options:
    """What the command line may ask for.

    `start` starts units too that somebody stopped, `retry` tries commits again that were given up,
    `strict` deploys nothing as long as anything is wrong.
    """

    start: bool = False
    retry: bool = False
    strict: bool = False


@dataclass(frozen=True)
class Result:
    """What was done: `restarted` and `started` are the units that were mended and why, `refreshed`
    those that got another value of a secret, `failed` says what went wrong by deployment or unit.
    """

    intent: Intent
    outcome: Outcome
    restarted: Changes = field(default_factory=Changes)
    started: Mapping[str, str] = field(default_factory=dict)
    failed: Mapping[str, LegerError] = field(default_factory=dict)
    refreshed: Changes = field(default_factory=Changes)


def reconcile(host: Host, names: Collection[str], options: Options) -> Result:
    """Bring `names` (or all) to what their definitions say, and mend what drifted.

    What went back is in `failed`. Raises InterruptedSwitchError when the host shuts down, with
    `strict` any LegerError before anything was switched.
    """
    applying.settled(host)
    wanted = intent.read(host.scope, names, fetch=False, retry=options.retry)
    failed = dict(wanted.outlook.failed)
    if options.strict and failed:
        raise next(iter(failed.values()))
    applying.look_at_images(host, wanted.wish)  # podman takes its time, beside what follows
    drifts = read_drift(host, names)
    unmended = _mend_files(host, drifts)
    failed |= unmended
    outcome = applying.bring(host, wanted.wish, "apply", strict=options.strict)
    failed |= outcome.refused
    touched = outcome.changes.why
    due = intent.restarts(item for item in drifts if item.deployment not in unmended)
    restarted, bad = _restart(host, _without(due, touched))
    touched = {**touched, **restarted.why}
    started = _without(intent.starts(drifts, asked=options.start), touched)
    failed |= bad | _start(host, started)
    refreshed = refreshing.bring(host, refreshing.due(host, names))
    failed |= refreshed.failed
    return Result(wanted, outcome, restarted, started, failed, refreshed.changes)


def _without(due: Mapping[str, str], touched: Collection[str]) -> dict[str, str]:
    return {unit: why for unit, why in due.items() if unit not in touched}


def read_drift(host: Host, names: Collection[str]) -> tuple[Drift, ...]:
    """How the deployments `names` (or all) differ from what the generation says."""
    current = generation.load_current(host.scope)
    if current is None:
        return ()
    found = drift.read(host.scope, host.manager, current, thorough=True)
    return tuple(item for item in found if not names or item.deployment in {"", *names})


def _mend_files(host: Host, drifts: Collection[Drift]) -> dict[str, LegerError]:
    """Put trees right and take away files that win over ours; what cannot be mended."""
    failed: dict[str, LegerError] = {}
    aside: set[str] = set()
    current = generation.load_current(host.scope)
    files = [item for item in drifts if item.repair in (Repair.TREE, Repair.ASIDE)]
    owed.note(host.scope, intent.restarts(files))
    for item in files if current else ():
        try:
            if item.repair is Repair.TREE and current:
                mend_tree(host, current, item.deployment)
            elif item.repair is Repair.ASIDE and item.file not in aside:
                aside.add(item.file)  # one of a template wins over each instance
                _put_aside(host, Path(item.file))
        except LegerError as error:
            failed[item.deployment] = error
    if any(item.repair in (Repair.EMIT, Repair.ASIDE) for item in drifts):
        host.manager.reload()
    return failed


def mend_tree(host: Host, current: Generation, name: str) -> None:
    """Put the tree of the deployment `name` right. Raises LegerError if it cannot be as it was."""
    made = Deployed(host.scope, current).made_again(name)
    host.report(f"{name}: {made.tree.path} is as commit {made.commit[:12]} says again")


def _put_aside(host: Host, file: Path) -> None:
    """A file that wins over a unit of ours gets a name that systemd does not read."""
    aside, numbers = file.with_name(f"{file.name}{ASIDE}"), itertools.count(2)
    while os.path.lexists(aside):
        aside = file.with_name(f"{file.name}{ASIDE}-{next(numbers)}")
    try:
        file.rename(aside)
        disk.sync_folder(file.parent)
    except OSError as error:
        raise LegerError(f"{file}: cannot be moved aside: {error.strerror}") from error
    host.report(f"{file} is now {aside}")


def _restart(host: Host, due: Mapping[str, str]) -> tuple[Changes, dict[str, LegerError]]:
    """Restart those of the units `due` that run, as they are, with all that has to stop and start
    with them. What was done, and what failed.
    """
    current = generation.load_current(host.scope) if due else None
    if current is None:
        return Changes(), {}
    planned = comparing.decide(host.manager, current.compiled, current.compiled, due=due)
    if not planned.why:
        return planned, {}
    try:
        renewal.renew(host, current, planned, f"apply: {_told(due, planned)}")
    except NotHealthyError as error:
        return planned, _failed(error.bad)
    except InterruptedSwitchError:
        raise
    except LegerError as error:
        return Changes(), {next(iter(planned.why)): error}
    return planned, {}


def _told(due: Mapping[str, str], planned: Changes) -> str:
    return "; ".join(f"{unit}: {why}" for unit, why in planned.why.items() if why in due.values())


def _start(host: Host, due: Mapping[str, str]) -> dict[str, LegerError]:
    """Start the units `due`; those that did not come up."""
    current = generation.load_current(host.scope) if due else None
    if current is None:
        return {}
    for name in due:
        host.report(f"start {name}")
    compiled = current.compiled
    host.manager.reset_failed(changes.started_with(compiled.deployments.values(), due))
    health_ = renewal.patience(host.scope, current, due)
    probes = health.probes(compiled, due)
    watch = judge.Watch(host.manager, probes, timeout=health_.timeout, quiet=health_.quiet)
    return _failed(watch.start([("start", name) for name in due], tell=host.progress))


def _failed(bad: Mapping[str, str]) -> dict[str, LegerError]:
    return {
        name: LegerError(f"{name} {reason}", hint=f"journalctl -b -u {name}")
        for name, reason in bad.items()
    }
