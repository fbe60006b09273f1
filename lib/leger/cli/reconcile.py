"""What leger apply does: the host becomes what its definitions say, and what drifted is mended."""

from __future__ import annotations

import argparse

from leger import mending
from leger.cli import host, output, steps, sync, waiting
from leger.mending import Options, Result


def run(options: argparse.Namespace) -> int:
    """Apply what was fetched; 1 if anything failed, whatever else was done."""
    wanted = Options(options.start, options.retry, options.strict)
    with host.changing(user=options.user) as locked:
        result = mending.reconcile(locked, options.name, wanted)
    output.warnings(result.outcome.warnings)
    if options.json:
        output.document(_raw(result))
    else:
        _tell(result)
    output.failures(result.failed)
    return 1 if result.failed else 0


def _tell(result: Result) -> None:
    sync.tell_outcome(result.outcome)
    for changes in (result.restarted, result.refreshed):
        for line in steps.lines(changes):
            output.result(line)
    for unit, reason in result.started.items():
        output.result(f"start {unit}: {reason}")
    for bad in result.intent.waiting:
        output.result(waiting.line(bad, "apply"))
    touched = {*result.outcome.changes.why, *result.refreshed.why}
    touched |= {*result.restarted.why, *result.started}
    if not (result.outcome.moves or touched or result.failed):
        output.result("nothing to do")


def _raw(result: Result) -> dict[str, object]:
    outcome = result.outcome
    return {
        "generation": outcome.generation,
        "applied": {move.name: move.after for move in outcome.moves if move.after},
        "removed": [move.name for move in outcome.moves if not move.after],
        "left": list(outcome.left),
        "why": dict(outcome.changes.why),
        "mended": _mended(result),
        "refreshed": dict(result.refreshed.why),
        "waiting": {bad.deployment: [bad.commit, bad.reason] for bad in result.intent.waiting},
        "failed": {name: str(error) for name, error in result.failed.items()},
    }


def _mended(result: Result) -> dict[str, str]:
    changes = result.restarted
    restarted = {unit: f"{steps.verb(unit, changes)}: {why}" for unit, why in changes.why.items()}
    return restarted | {unit: f"start: {why}" for unit, why in result.started.items()}
