"""leger staged: deployments that were fetched and checked, and wait for somebody's word."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from datetime import datetime

from leger import applying, disk, planning, preview, staging, systemd
from leger.cli import host, output, plan, service, sync
from leger.errors import InvalidQuadletsError, LegerError, UsageError
from leger.intent import Intent
from leger.outlook import Outlook
from leger.planning import Wish
from leger.scope import Scope
from leger.switch import Host


def run(options: argparse.Namespace) -> int:
    """Run one of list, diff, apply and discard."""
    service.authorise(user=options.user)
    if options.command == "staged list":
        return _list(host.scope(user=options.user), as_json=options.json)
    if options.command == "staged diff":
        return _diff(options)
    return _apply(options) if options.command == "staged apply" else _discard(options)


def _list(scope: Scope, *, as_json: bool) -> int:
    found, broken = staging.read(scope)
    rows = [
        {
            "name": item.name,
            "commit": item.commit,
            "who": item.who,
            "when": datetime.fromtimestamp(item.when).astimezone().isoformat("T", "seconds"),
        }
        for item in found.values()
    ]
    if as_json:
        output.document(rows)
    elif not rows and not broken:
        output.progress("nothing is staged")
    elif rows:
        cells = [(r["name"], r["commit"][:12], r["when"], r["who"]) for r in rows]
        output.table([("NAME", "COMMIT", "STAGED", "BY"), *cells])
    for error in broken.values():
        output.error(error)
    return 1 if broken else 0


def _diff(options: argparse.Namespace) -> int:
    scope = host.scope(user=options.user)
    everything = options.all or not options.name
    chosen, broken = staging.choose(scope, options.name, everything=everything)
    acting = Host(scope, systemd.connect(scope), output.progress)
    wish = Wish(tuple(item.target(scope) for item in chosen.values()))
    with disk.lock_folder(scope.store, shared=True):
        made = planning.make(acting, wish)
        shown = tuple(preview.previews(scope, made))
    nothing = Intent(Outlook({}, broken, {}, {}), wish)
    seen = plan.Seen(nothing, made, shown, reread=preview.reread(made))
    if options.json:
        output.document(plan.raw(seen))
    else:
        plan.tell(seen)
    return InvalidQuadletsError.exit_code if seen.is_faulty else 0


def _apply(options: argparse.Namespace) -> int:
    with host.changing(user=options.user) as locked:
        applying.settled(locked)
        chosen, refused = staging.choose(locked.scope, options.name, everything=options.all)
        targets = {}
        for name, item in chosen.items():
            try:
                targets[name] = staging.approved(locked.scope, item)
            except LegerError as error:
                refused[name] = error
        if refused and (options.strict or not targets):
            output.failures(refused)
            return _code(refused)
        why = f"staged: {', '.join(targets)}"
        wish = Wish(tuple(targets.values()))
        outcome = applying.bring(locked, wish, why, strict=options.strict)
    refused |= outcome.refused
    output.warnings(outcome.warnings)
    if options.json:
        output.document(
            {
                "generation": outcome.generation,
                "applied": {move.name: move.after for move in outcome.moves},
                "why": dict(outcome.changes.why),
                "failed": {name: str(error) for name, error in refused.items()},
            }
        )
    else:
        sync.tell_outcome(outcome)
    output.failures(refused)
    return _code(refused)


def _code(refused: Mapping[str, LegerError]) -> int:
    return max((error.exit_code for error in refused.values()), default=0)


def _discard(options: argparse.Namespace) -> int:
    scope = host.scope(user=options.user)
    if bool(options.name) == options.all:
        raise UsageError("either names or --all is needed", hint="leger staged list")
    with disk.lock(scope.lock):
        found, broken = staging.read(scope)
        names = [*found, *broken] if options.all else options.name
        if unknown := [name for name in names if name not in found and name not in broken]:
            raise UsageError(f"{unknown[0]} is not staged", hint="leger staged list")
        for name in names:
            staging.discard(scope, name)
    if options.json:
        output.document({"discarded": names})
    else:
        for name in names:
            output.result(f"{name}: no longer staged")
    return 0
