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
    deployed,
    disk,
    drift,
    generation,
    intent,
    judge,
    prepare,
    refreshing,
)
from leger.applying import Outcome
from leger.changes import Changes
from leger.drift import Drift, Repair
from leger.errors import LegerError
from leger.generation import Generation
from leger.intent import Intent
from leger.switch import Host

_SECONDS = 60.0
_QUIET = 5.0
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
    """What was done: `jobs` maps the units that were mended to (verb, reason), `refreshed` are the
    units that got another value of a secret, `failed` says what went wrong by deployment or unit.
    """

    intent: Intent
    outcome: Outcome
    jobs: Mapping[str, tuple[str, str]] = field(default_factory=dict)
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
    drifts = read_drift(host, names)
    failed |= _mend_files(host, drifts)
    outcome = applying.bring(host, wanted.wish, "apply", strict=options.strict)
    jobs = intent.jobs(drifts, outcome.changes, start=options.start)
    jobs = {name: job for name, job in jobs.items() if _is_due(host, name, job[0])}
    failed |= outcome.refused
    failed |= _run(host, jobs)
    refreshed = refreshing.bring(host, refreshing.due(host, names))
    failed |= refreshed.failed
    return Result(wanted, outcome, jobs, failed, refreshed.changes)


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
    for item in drifts if current else ():
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
    from leger import git

    built = current.compiled.deployments[name]
    defined = deployed.definition(host.scope, current, name)
    commit = git.fetch(host.scope, deployed.pinned(defined, built.commit))
    made = prepare.prepare(host.scope, defined, commit, mend=True, verified=True)
    host.report(f"{name}: {made.tree.path} is as commit {commit[:12]} says again")
    if made.tree.path != built.tree.path:
        raise LegerError(
            f"{name}: {built.tree.path} cannot be made again as it was",
            hint=f"leger apply {name}",
        )


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


def _is_due(host: Host, name: str, verb: str) -> bool:
    """A unit that is only to be restarted is, if it runs."""
    return verb == "start" or host.manager.states([name])[name].live


def _run(host: Host, jobs: Mapping[str, tuple[str, str]]) -> dict[str, LegerError]:
    if not jobs:
        return {}
    for name, (verb, _) in jobs.items():
        host.report(f"{verb} {name}")
    steps = [(verb, name) for name, (verb, _) in jobs.items()]
    current = generation.load_current(host.scope)
    built = current.compiled.deployments.values() if current else ()
    host.manager.reset_failed(changes.started_with(built, jobs))
    watch = judge.Watch(host.manager, timeout=_SECONDS, quiet=_QUIET)
    bad = watch.start(steps, tell=host.progress)
    return {
        name: LegerError(f"{name} {reason}", hint=f"journalctl -b -u {name}")
        for name, reason in bad.items()
    }
