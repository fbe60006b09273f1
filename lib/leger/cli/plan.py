"""leger plan: what leger apply would do, and why; nothing but sources/ and store/ is written."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field

from leger import disk, intent, mending, planning, preview, refreshing, systemd
from leger.changes import Changes
from leger.cli import host, output, service, steps, waiting
from leger.cli.colour import Colour, plain
from leger.drift import Drift
from leger.errors import InvalidQuadletsError
from leger.intent import Intent
from leger.planning import Plan
from leger.preview import Difference, Preview
from leger.switch import Host

PENDING = 10
PAINTS = {"start": "green", "restart": "yellow", "reload": "cyan", "stop": "red"}


@dataclass(frozen=True)
class Seen:
    """All that a plan shows."""

    intent: Intent
    plan: Plan
    previews: tuple[Preview, ...]
    drifts: tuple[Drift, ...] = ()
    reread: tuple[str, ...] = ()
    refresh: Changes = field(default_factory=Changes)

    @property
    def is_pending(self) -> bool:
        """Whether leger apply would do anything."""
        drifted = any(item.is_mended for item in self.drifts)
        return drifted or bool(self.refresh.why) or not self.plan.is_same

    @property
    def is_faulty(self) -> bool:
        """Whether something that is wanted cannot be had."""
        return bool(self.plan.refused or self.intent.outlook.failed)


def run(options: argparse.Namespace) -> int:
    """Print the plan; 4 if something is faulty, with --exit-code 10 if there is something to do."""
    service.authorise(user=options.user)
    scope = host.scope(user=options.user)
    acting = Host(scope, systemd.connect(scope), output.progress)
    wanted = intent.read(scope, options.name, fetch=True, retry=options.retry)
    disk.make_folder(scope.state)
    with disk.lock_folder(scope.store, shared=True):
        plan = planning.make(acting, wanted.wish)
        shown = tuple(preview.previews(scope, plan))
        drifts = mending.read_drift(acting, options.name)
    due = refreshing.due(acting, options.name)
    refresh = refreshing.foresee(acting, [one for one in due if one.unit not in plan.changes.why])
    seen = Seen(wanted, plan, shown, drifts, preview.reread(plan), refresh)
    if options.json:
        output.document(raw(seen))
    else:
        tell(seen)
    if seen.is_faulty:
        return InvalidQuadletsError.exit_code
    return PENDING if options.exit_code and seen.is_pending else 0


def tell(seen: Seen) -> None:
    """For people: the deployments one by one, then the units, then what is wrong."""
    colour = Colour.of_stdout()
    for item in seen.previews:
        for line in _deployment(item, colour):
            output.result(line)
    _tell_units(seen, colour)
    for bad in seen.intent.waiting:
        output.result(waiting.line(bad, "apply"))
    output.warnings(seen.plan.warnings)
    for text in seen.plan.changes.warnings:
        output.progress(f"leger: warning: {text}")
    output.failures({**seen.intent.outlook.failed, **seen.plan.refused})
    if not seen.is_pending and not seen.is_faulty:
        output.result("nothing to do")


def _tell_units(seen: Seen, colour: Colour) -> None:
    for changes in (seen.plan.changes, seen.refresh):
        for unit, reason in changes.why.items():
            verb = steps.verb(unit, changes)
            output.result(f"{colour.paint(verb, PAINTS[verb])} {unit}: {plain(reason)}")
    if seen.reread:
        names = ", ".join(seen.reread[:5])
        more = f" and {len(seen.reread) - 5} more" if len(seen.reread) > 5 else ""
        output.result(
            f"{colour.paint('reread', 'cyan')} {names}{more}: another text for systemd, no restart"
        )
    for drift in seen.drifts:
        what = drift.unit or drift.deployment
        lead = colour.paint("mend" if drift.is_mended else "drift", "yellow")
        hint = "" if drift.is_mended else f" ({drift.mend})"
        output.result(f"{lead} {what}{': ' if what else ''}{plain(drift.message)}{hint}")


def _deployment(item: Preview, colour: Colour) -> Iterator[str]:
    yield colour.paint(f"{item.name}: {_move(item)}", "bold")
    for commit in item.commits:
        yield f"  {commit.commit[:12]} {plain(commit.author)}: {plain(commit.subject)}"
    for title, differences in (("file", item.files), ("unit", item.units)):
        for one in differences:
            yield from _difference(title, one, colour)
    yield ""


def _move(item: Preview) -> str:
    if not item.before:
        return f"new at {item.after[:12]}"
    if not item.after:
        return f"removed, was at {item.before[:12]}"
    if item.before == item.after:
        return f"{item.after[:12]}, prepared anew"
    return f"{item.before[:12]} to {item.after[:12]}"


def _difference(title: str, one: Difference, colour: Colour) -> Iterator[str]:
    note = f" ({one.note})" if one.note else ""
    yield f"  {title} {plain(one.path)} {one.change}{note}"
    is_made = title == "unit" and one.change != "changed"  # the quadlet above says all of it
    for line in one.diff.split("\n") if one.diff and not is_made else ():
        yield f"    {colour.diff(plain(line))}"


def raw(seen: Seen) -> dict[str, object]:
    """The same as JSON takes it."""
    plan = seen.plan
    failed = {name: str(error) for name, error in seen.intent.outlook.failed.items()}
    return {
        "generation": plan.old.number if plan.old else 0,
        "pending": seen.is_pending,
        "deployments": [_raw_preview(item) for item in seen.previews],
        "units": steps.raw(plan.changes) | {"reread": list(seen.reread)},
        "refresh": dict(seen.refresh.why),
        "missing_secrets": [asdict(fault) for fault in plan.missing_secrets],
        "faults": [asdict(fault) for fault in plan.faults()],
        "warnings": [asdict(fault) for fault in plan.warnings]
        + [{"message": text} for text in plan.changes.warnings],
        "failed": failed,
        "waiting": {bad.deployment: [bad.commit, bad.reason] for bad in seen.intent.waiting},
        "drift": [asdict(item) for item in seen.drifts],
    }


def _raw_preview(item: Preview) -> Mapping[str, object]:
    return {
        "name": item.name,
        "from": item.before,
        "to": item.after,
        "commits": [asdict(commit) for commit in item.commits],
        "files": [asdict(one) for one in item.files],
        "units": [asdict(one) for one in item.units],
    }
