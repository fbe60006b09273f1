"""Restarting units of the generation in place: killed at any moment, nothing of it stays down.

What is to be stopped and started is in switch.json before the first stop, as a switch that ends
where it begins. It may be done again from its beginning.
"""

from __future__ import annotations

from leger import generation, judge, switch, switchfile
from leger.errors import LegerError
from leger.switch import Host
from leger.switchfile import Switch
from leger.systemd import problems

_START_SECONDS = 300.0


def run(host: Host, todo: Switch, *, reload: bool) -> dict[str, str]:
    """Stop, restart and start what `todo` says, with a daemon-reload in between if wanted.

    Maps the units that were to come up to their jobs' results. Raises InterruptedSwitchError when
    the system shuts down, LegerError on a full disk, if anything was to be stopped.
    """
    try:
        todo.save(host.scope)
    except LegerError:
        if todo.stop:
            raise
    with switch.unbroken():
        return _carry_out(host, todo, reload=reload)


def resume(host: Host, todo: Switch) -> list[str]:
    """Do again what was interrupted; says what was done, line by line."""
    with switch.unbroken():
        results = _carry_out(host, todo, reload=True)
    jobs = ", ".join(f"{verb} {name}" for verb, name in todo.jobs(todo.boot))
    return [f"finished what was interrupted: {jobs or 'daemon-reload'}", *told(results)]


def told(results: dict[str, str]) -> list[str]:
    """The jobs that did not bring their unit up, line by line."""
    return [f"{name}: {result}" for name, result in problems(results).items()]


def _carry_out(host: Host, todo: Switch, *, reload: bool) -> dict[str, str]:
    manager, boot = host.manager, switchfile.boot_id()
    if todo.boot == boot:
        manager.run([("stop", name) for name in todo.stop], switch.STOP_SECONDS)
        switch.remove_networks(host, todo.networks)
    if reload:
        manager.reload()
    jobs = todo.jobs(boot)
    compiled = generation.load(host.scope, todo.target.generation).compiled
    manager.reset_failed(switch.started_with(compiled, jobs))
    results = manager.run(jobs, _START_SECONDS)
    judge.refuse_when_stopping(manager)
    switchfile.remove(host.scope)
    return results
