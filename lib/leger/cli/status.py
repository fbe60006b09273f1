"""leger status: what is deployed, and how it runs."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from leger.cli import host, output

if TYPE_CHECKING:
    from leger.status import DeploymentStatus


def run(options: argparse.Namespace) -> int:
    """Print each deployment with its units, and what is not as it should be."""
    from leger import status

    found = status.read(host.scope(user=options.user))
    if options.json:
        output.document(found.raw())
        return 0
    if found.generation == 0:
        output.progress("nothing is deployed; leger deploy install NAME SOURCE begins")
    else:
        confirmed = "" if found.confirmed else ", not confirmed yet"
        output.result(f"generation {found.generation}{confirmed}")
    for deployment in found.deployments:
        output.result("")
        tell(deployment)
    for problem in found.problems:
        output.progress(f"leger: warning: {problem}")
    return 0


def tell(deployment: DeploymentStatus) -> None:
    """Print one deployment with its units."""
    output.result(f"{deployment.name}  {deployment.commit[:12]}  {deployment.source}")
    output.table(
        [("  " + unit.name, unit.active, unit.sub, unit.note) for unit in deployment.units]
        or [("  no units", "", "", "")]
    )
