"""leger secrets refresh and prune: what of legerd has got into Podman and into the units."""

from __future__ import annotations

import argparse

from leger import applying, generation, podman, refreshing, removal
from leger.cli import host, output, steps


def run(options: argparse.Namespace) -> int:
    """Run one of the two."""
    return _refresh(options) if options.command == "secrets refresh" else _prune(options)


def _refresh(options: argparse.Namespace) -> int:
    """Restart or reload what has a value of before; 1 if anything failed."""
    with host.changing(user=options.user) as locked:
        if not options.dry_run:
            applying.settled(locked)
        names = (options.deployment,) if options.deployment else ()
        due = refreshing.due(locked, names)
        chosen = [one for one in due if options.name in (None, one.legerd)]
        if options.dry_run:
            done = refreshing.Refreshed(refreshing.foresee(locked, chosen))
        else:
            done = refreshing.bring(locked, chosen)
    if options.json:
        failed = {name: str(error) for name, error in done.failed.items()}
        output.document({"refreshed": dict(done.changes.why), "failed": failed})
    elif not done.changes.why and not done.failed:
        output.result("every unit has the values that legerd would hand out now")
    else:
        for line in steps.lines(done.changes):
            output.result(line)
    output.failures(done.failed)
    return 1 if done.failed else 0


def _prune(options: argparse.Namespace) -> int:
    """Remove the Podman secrets that Leger made and that no deployment binds any more."""
    with host.changing(user=options.user) as locked:
        current = generation.load_current(locked.scope)
        unused = removal.unused(locked.scope, current.compiled if current else None)
        if not options.dry_run:
            podman.remove_secrets(unused)
    if options.json:
        output.document({"removed": unused})
    elif not unused:
        output.result("nothing to remove")
    for name in [] if options.json else unused:
        output.result(f"{name}: {'would be removed' if options.dry_run else 'removed'}")
    return 0
