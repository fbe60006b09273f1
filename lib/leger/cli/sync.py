"""leger sync: what leger-sync.timer runs."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from leger import sync
from leger.accepted import Accept
from leger.cli import host, output, service, waiting
from leger.errors import LegerError
from leger.sync import Look, Options

if TYPE_CHECKING:
    from leger.applying import Outcome
    from leger.changes import Changes
    from leger.following import Report
    from leger.scope import Scope


def run(options: argparse.Namespace) -> int:
    """Follow the repositories; 1 if anything failed, whatever else was done.

    Whether there is anything new is found out here, at the price of one round trip; only what
    changes the host runs in a service of its own.
    """
    wanted = Options(options.retry, accepted(options.accept_rewind), options.strict)
    service.authorise(user=options.user)
    scope = host.scope(user=options.user)
    if not options.inside:
        if not scope.switch.exists() and not scope.backup_journal.exists():
            look = sync.look(scope, wanted)
            if look.todo.is_idle and not _has_rotated(scope):
                _notify(scope, look.outlook.failed)
                return _tell_idle(look, options)
        if service.is_possible():
            return service.run_inside(options.given, user=options.user)
    from leger import following

    with host.changing(user=options.user) as locked:
        report = following.follow(locked, wanted)
    return _tell(report, options)


def accepted(given: Sequence[Sequence[str]]) -> Accept:
    """For whom --accept-rewind was given; without names it is for all."""
    return True if [] in given else frozenset(name for names in given for name in names)


def _has_rotated(scope: Scope) -> bool:
    """Whether a unit has to restart for a secret; where none was ever asked for, that is cheap."""
    if not scope.started.is_dir():
        return False
    from leger import rotation, systemd

    return bool(rotation.due(scope, systemd.connect(scope), output.progress))


def _notify(scope: Scope, failed: Mapping[str, LegerError]) -> None:
    """Tell of what failed, or that nothing does any more; most often there is nothing to tell."""
    if failed or scope.notified.exists():
        from leger import telling

        telling.failed(telling.Watcher(scope, output.progress), "sync", failed)


def _tell_idle(look: Look, options: argparse.Namespace) -> int:
    if options.json:
        output.document(_raw(look))
    else:
        _tell_waiting(look)
        if not look.outlook.failed:
            output.result("nothing new")
    return _failures(look.outlook.failed)


def _tell(report: Report, options: argparse.Namespace) -> int:
    outcome = report.outcome
    if outcome:
        output.warnings(outcome.warnings)
    if options.json:
        output.document(_raw(report.look) | _done(report))
        return _failures(report.failed)
    if outcome:
        tell_outcome(outcome)
    _tell_units(report.refreshed)
    for name, commit in report.staged.items():
        output.result(f"{name}: staged at {commit[:12]}; leger staged apply {name} deploys it")
    _tell_waiting(report.look)
    return _failures(report.failed)


def tell_outcome(outcome: Outcome) -> None:
    """The units that were touched, and the deployments that are now another commit."""
    _tell_units(outcome.changes)
    for move in outcome.moves:
        what = f"deployed at {move.after[:12]}" if move.after else "removed"
        output.result(f"{move.name}: {what} as generation {outcome.generation}")
    for item in outcome.left:
        output.result(f"left: {item}")


def _tell_units(changes: Changes) -> None:
    from leger.cli import steps

    for line in steps.lines(changes):
        output.result(line)


def _tell_waiting(look: Look) -> None:
    todo = look.todo
    for bad in todo.waiting:
        output.result(waiting.line(bad, "sync"))
    for target in todo.manual:
        name = target.deployment.name
        output.result(f"{name}: {target.commit[:12]} is new: leger deploy update {name}")
    for name in sorted(look.outlook.kept):
        output.progress(f"leger: warning: {name}: stays, since no definition is left at all")


def _raw(look: Look) -> dict[str, object]:
    todo = look.todo
    return {
        "generation": 0,
        "applied": {},
        "removed": [],
        "left": [],
        "staged": {},
        "refreshed": {},
        "why": {},
        "manual": {item.deployment.name: item.commit for item in todo.manual},
        "waiting": {bad.deployment: [bad.commit, bad.reason] for bad in todo.waiting},
        "failed": {name: str(error) for name, error in look.outlook.failed.items()},
    }


def _done(report: Report) -> dict[str, object]:
    outcome = report.outcome
    done: dict[str, object] = {
        "staged": dict(report.staged),
        "refreshed": dict(report.refreshed.why),
        "failed": {name: str(error) for name, error in report.failed.items()},
    }
    if outcome:
        done |= {
            "generation": outcome.generation,
            "applied": {move.name: move.after for move in outcome.moves if move.after},
            "removed": [move.name for move in outcome.moves if not move.after],
            "left": list(outcome.left),
            "why": dict(outcome.changes.why),
        }
    return done


def _failures(failed: Mapping[str, LegerError]) -> int:
    output.failures(failed)
    return 1 if failed else 0
