"""leger why: why a unit is not loaded, does not run, or will be restarted."""

from __future__ import annotations

import argparse

from leger.cli import host, output, service
from leger.cli.colour import plain


def run(options: argparse.Namespace) -> int:
    """Print what was found, and last the command that mends it."""
    service.authorise(user=options.user)
    from leger import why

    answer = why.explain(host.scope(user=options.user), options.unit)
    if options.json:
        output.document(answer.raw())
        return 0
    where = f"  {answer.deployment}: {answer.source}" if answer.deployment else ""
    output.result(f"{answer.unit}  {answer.state}{where}")
    for found in answer.findings:
        output.result(f"  {plain(found.text)}")
    if not answer.findings:
        output.result("  nothing is wrong with it, and nothing is to change")
    if answer.mend:
        output.result(f"to mend it: {plain(answer.mend)}")
    return 0
