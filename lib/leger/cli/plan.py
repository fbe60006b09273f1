"""leger plan: what leger apply would do, and why; nothing is changed."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

from leger import disk
from leger.cli import host, output, service, steps
from leger.cli.colour import Colour
from leger.errors import InvalidQuadletsError
from leger.switch import Host

if TYPE_CHECKING:
    from leger.intent import Intent
    from leger.planning import Plan
    from leger.preview import Difference, Preview

PENDING = 10


def run(options: argparse.Namespace) -> int:
    """Print the plan; with --exit-code 10 if there is something to do, 4 if something is faulty."""
    from leger import intent, planning, preview, systemd

    service.authorise(user=options.user)
    scope = host.scope(user=options.user)
    disk.make_folder(scope.state)
    disk.make_folder(scope.store, 0o755)
    with disk.lock(scope.store / ".lock", shared=True):
        acting = Host(scope, systemd.connect(scope), output.progress)
        wanted = intent.read(scope, options.name, retry=options.retry)
        plan = planning.make(acting, wanted.wish)
        shown = list(preview.previews(scope, plan))
        mends = intent.mends(acting, plan, start=False)
    if options.json:
        output.document(_raw(wanted, plan, shown, mends))
    else:
        _tell(wanted, plan, shown, mends)
    faulty = bool(plan.refused) or bool(wanted.outlook.failed)
    if faulty:
        return InvalidQuadletsError.exit_code
    return PENDING if options.exit_code and (not plan.is_same or mends) else 0
