"""leger history and leger rollback: what was deployed, and the way back to it."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime

from leger import history, rollback
from leger.applying import Outcome
from leger.cli import host, output, steps
from leger.history import Change, Entry


def run(options: argparse.Namespace) -> int:
    """Run one of the two."""
    if options.command == "history":
        entries = history.read(host.scope(user=options.user))
        _show(entries, as_json=options.json)
        return 0
    with host.changing(user=options.user) as locked:
        outcome = rollback.roll_back(
            locked, options.number, options.deployment, dry_run=options.dry_run
        )
    _tell(outcome, options)
    output.failures(outcome.refused)
    return 1 if outcome.refused else 0


def _tell(outcome: Outcome, options: argparse.Namespace) -> None:
    output.warnings(outcome.warnings)
    if options.json:
        output.document(
            {
                "generation": outcome.generation,
                "deployments": {
                    move.name: {"before": move.before, "after": move.after}
                    for move in outcome.moves
                },
                "units": steps.raw(outcome.changes),
                "failed": {name: str(error) for name, error in outcome.refused.items()},
                "dry_run": options.dry_run,
            }
        )
        return
    if not (outcome.moves or outcome.changes.why or outcome.refused):
        output.result(f"nothing to roll back: it is what runs, as generation {outcome.generation}")
        return
    for line in steps.lines(outcome.changes):
        output.result(line)
    would = "would be " if options.dry_run else ""
    for move in outcome.moves:
        to = f"rolled back to {move.after[:12]}" if move.after else "removed"
        output.result(f"{move.name}: {would}{to}{_from(move.before)}")
    if not options.dry_run:
        output.result(f"generation {outcome.generation} runs")


def _from(commit: str) -> str:
    return f", from {commit[:12]}" if commit else ""


def _show(entries: list[Entry], *, as_json: bool) -> None:
    if as_json:
        output.document([_raw(entry) for entry in entries])
    elif not entries:
        output.progress("no generations")
    else:
        output.table(
            [("N", "WHEN", "WHO", "WHAT"), *(row for one in entries for row in _rows(one))]
        )


def _raw(entry: Entry) -> dict[str, object]:
    return {
        "generation": entry.number,
        "current": entry.is_current,
        "created": _when(entry),
        "who": entry.who,
        "why": entry.why,
        "bad": entry.bad,
        "commits": dict(entry.commits),
        "changes": [asdict(change) for change in entry.changes],
    }


def _rows(entry: Entry) -> Iterator[tuple[str, str, str, str]]:
    """The generation in one line, and one for each deployment that it changed."""
    number = f"{entry.number}{'*' if entry.is_current else ''}"
    yield number, _when(entry), entry.who, entry.why
    if entry.bad:
        yield "", "", "", f"  bad: {entry.bad}"
    for change in entry.changes:
        yield "", "", "", f"  {_changed(change)}"


def _changed(change: Change) -> str:
    if not change.after:
        return f"{change.deployment}: removed, was at {change.before[:12]}"
    span = f"{change.before[:12]} -> " if change.before else ""
    return f"{change.deployment}: {span}{change.after[:12]} {change.subject}".rstrip()


def _when(entry: Entry) -> str:
    return datetime.fromtimestamp(entry.created).astimezone().isoformat("T", "seconds")
