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
    for line in steps.lines(result.refreshed):
        output.result(line)
    for unit, (verb, reason) in result.jobs.items():
        output.result(f"{verb} {unit}: {reason}")
    for bad in result.intent.waiting:
        output.result(waiting.line(bad, "apply"))
    touched = {*result.outcome.changes.why, *result.refreshed.why, *result.jobs}
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
        "mended": {unit: f"{verb}: {why}" for unit, (verb, why) in result.jobs.items()},
        "refreshed": dict(result.refreshed.why),
        "waiting": {bad.deployment: [bad.commit, bad.reason] for bad in result.intent.waiting},
        "failed": {name: str(error) for name, error in result.failed.items()},
    }
