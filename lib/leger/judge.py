"""Whether what was started came up and stays up: by its start job's result and a quiet time."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from leger.errors import LegerError
from leger.systemd import Manager, State, problems, settled_states

_POLL = 0.5
_WORDS = {
    "failed": "failed to start",
    "dependency": "was not started, because a unit that it needs failed",
    "timeout": "did not start within its own time limit",
    "unfinished": "did not come up in time",
}


class InterruptedSwitchError(LegerError):
    """The manager is stopping: nothing can be judged now; leger-settle goes on after the boot."""


@dataclass(frozen=True)
class Verdict:
    """`bad` maps each unit that is not well to what happened; empty: the generation is good."""

    bad: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return "; ".join(f"{name} {reason}" for name, reason in self.bad.items())


def start(
    manager: Manager, jobs: Sequence[tuple[str, str]], *, timeout: float, quiet: float
) -> Verdict:
    """Run the jobs, `timeout` seconds at most, and watch their units for `quiet` seconds.

    Raises InterruptedSwitchError when the manager is stopping.
    """
    names = [name for _, name in jobs]
    manager.reset_failed(names)
    results = manager.run(jobs, timeout)
    bad = {name: _WORDS.get(result, result) for name, result in problems(results).items()}
    if not bad:
        came_up = [name for name in names if results[name] == "done"]
        bad = watch(manager, came_up, quiet)
    if bad:
        refuse_when_stopping(manager)
    return Verdict(bad)


def watch(manager: Manager, names: Collection[str], quiet: float) -> dict[str, str]:
    """The units among `names` that fail or are restarted by the manager within `quiet` seconds."""
    before = {name: manager.restarts(name) for name in names}
    end = time.monotonic() + quiet
    while True:
        bad = {
            name: reason
            for name, state in settled_states(manager, names).items()
            if (reason := _unwell(state))
        }
        bad |= {
            name: "ended soon after its start and was restarted"
            for name in names
            if name not in bad and manager.restarts(name) > before[name]
        }
        left = end - time.monotonic()
        if bad or left <= 0:
            return bad
        time.sleep(min(_POLL, left))


def refuse_when_stopping(manager: Manager) -> None:
    """Raise InterruptedSwitchError if the manager is on its way down: failures mean nothing."""
    if manager.phase() == "stopping":
        raise InterruptedSwitchError(
            "the system is shutting down", hint="it goes on after the boot"
        )


def _unwell(state: State) -> str:
    if state.active == "failed":
        return "failed soon after its start"
    if state.sub == "auto-restart":
        return "ended soon after its start and is restarted"
    return ""
