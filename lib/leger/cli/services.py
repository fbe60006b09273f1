"""leger service: the units of one deployment, as systemctl and journalctl have them."""

from __future__ import annotations

import argparse
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, NoReturn

from leger import processes
from leger.cli import host, output, service
from leger.errors import LegerError, UsageError
from leger.generation import Generation
from leger.model import Unit
from leger.scope import Scope

if TYPE_CHECKING:
    from leger.switch import Host

_SECONDS = 300.0


def run(options: argparse.Namespace) -> int:
    """Run one of the commands."""
    service.authorise(user=options.user)
    scope = host.scope(user=options.user)
    current = _current(scope, options.name)
    if options.command == "service status":
        return _status(scope, options.name, as_json=options.json)
    if options.command == "service logs":
        _logs(options, sorted(current.compiled.deployments[options.name].units))
    with host.changing(user=options.user) as locked:
        return _change(locked, options)


def _current(scope: Scope, name: str) -> Generation:
    """The current generation, which has the deployment `name`."""
    from leger import generation

    current = generation.load_current(scope)
    if current is None or name not in current.compiled.deployments:
        raise UsageError(f"there is no deployment {name}", hint="leger deploy list")
    return current


def _status(scope: Scope, name: str, *, as_json: bool) -> int:
    """The units of the deployment; exit code 1 if something of it has drifted."""
    from leger import status
    from leger.cli.status import tell

    found = next(one for one in status.read(scope).deployments if one.name == name)
    if as_json:
        output.document(found.raw())
    else:
        tell(found)
    return 1 if any(unit.note for unit in found.units) else 0


def _logs(options: argparse.Namespace, units: Collection[str]) -> NoReturn:
    """Becomes journalctl, so that its pager and its ^C work as they do there."""
    command = ["journalctl", *(["--user"] if options.user else [])]
    command += [f"--lines={options.lines}", *(["--follow"] if options.follow else [])]
    if options.since:
        command.append(f"--since={options.since}")
    for unit in units:
        name = unit.replace("@.", "@*.", 1)
        command.append(f"--unit={name}")
    processes.become(command)


def _change(locked: Host, options: argparse.Namespace) -> int:
    from leger import drift, settle
    from leger.changes import HELPERS

    for line in settle.mend(locked):
        locked.report(line)
    verb = options.command.split()[1]
    current = _current(locked.scope, options.name)
    seen = drift.observe(locked.scope, locked.manager, current)
    own = {
        name: unit
        for name, unit in seen.units.items()
        if unit.deployment == options.name and unit.kind not in HELPERS
    }
    live = {name for name in own if name in seen.states and seen.states[name].stoppable}
    names = _chosen(verb, own, live)
    return _tell(verb, names, _run(locked, current, verb, names))


def _run(locked: Host, current: Generation, verb: str, names: list[str]) -> Mapping[str, str]:
    """The results of the jobs; to restart one by one would take a pod down with its last one."""
    from leger.changes import started_with
    from leger.systemd import stopped_together

    if verb == "restart" and names:
        from leger import restarting, switchfile

        own = current.compiled.files
        states = locked.manager.states(stopped_together(locked.manager, names, own))
        both = [name for name, state in states.items() if state.stoppable]
        at = current.point
        boot = switchfile.boot_id()
        todo = switchfile.Switch(at, at, boot, base=at, stop=tuple(both), start=tuple(both))
        return restarting.run(locked, todo, reload=False)
    if verb == "start":
        built = current.compiled.deployments.values()
        locked.manager.reset_failed(started_with(built, names))
    return locked.manager.run([(verb, name) for name in names], _SECONDS)


def _chosen(verb: str, own: Mapping[str, Unit], live: Collection[str]) -> list[str]:
    """What a boot would start is started; what runs is stopped or restarted."""
    chosen = live
    if verb == "start":
        chosen = {name for name, unit in own.items() if unit.wanted and name not in live}
    return sorted(chosen, key=lambda name: (not name.endswith(".socket"), name))


def _tell(verb: str, names: Collection[str], results: Mapping[str, str]) -> int:
    from leger.systemd import problems

    bad = problems(results)
    done = {"start": "started", "stop": "stopped", "restart": "restarted"}[verb]
    for name in names:
        if name not in bad:
            output.result(f"{name}: {done}")
    for name, reason in bad.items():
        output.error(LegerError(f"{name}: {reason}", hint=f"leger why {name}"))
    if not names:
        output.progress(f"nothing to {verb}")
    return 1 if bad else 0
