"""leger history and leger rollback: what was deployed, and the way back to it."""

from __future__ import annotations

import argparse
from datetime import datetime

from leger import generation, rollback
from leger.cli import deploy, host, output
from leger.generation import Current
from leger.scope import Scope


def run(options: argparse.Namespace) -> int:
    """Run one of the two."""
    if options.command == "history":
        return _history(host.scope(user=options.user), as_json=options.json)
    with host.changing(user=options.user) as locked:
        outcome = rollback.roll_back(locked, options.number, dry_run=options.dry_run)
    deploy.tell(outcome, sorted(outcome.commits), options)
    return 0


def _history(scope: Scope, *, as_json: bool) -> int:
    current = Current.read(scope)
    rows = [
        {
            "generation": one.number,
            "current": current is not None and current.point == one.point,
            "created": datetime.fromtimestamp(one.created).astimezone().isoformat("T", "seconds"),
            "who": one.who,
            "why": one.why,
            "bad": one.bad,
            "commits": {name: b.commit for name, b in one.compiled.deployments.items()},
        }
        for one in (generation.load(scope, number) for number in generation.numbers(scope))
    ]
    if as_json:
        output.document(rows)
    elif not rows:
        output.progress("no generations")
    else:
        cells = [
            (
                f"{row['generation']}{'*' if row['current'] else ''}",
                str(row["created"]),
                str(row["who"]),
                f"{row['why']}{': bad: ' if row['bad'] else ''}{row['bad']}",
            )
            for row in rows
        ]
        output.table([("N", "WHEN", "WHO", "WHY"), *cells])
    return 0
