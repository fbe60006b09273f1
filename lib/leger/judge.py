"""Whether what was started came up and stays up: its start job, its health, and a quiet time."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from leger import health
from leger.errors import LegerError
from leger.health import Probe
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
class Progress:
    """How far it is: `done` of `total` units, and those that are waited for.

    `what` is "start", "health" or "quiet".
    """

    what: str
    done: int
    total: int
    waiting: tuple[str, ...] = ()


Tell = Callable[[Progress], None]


def untold(_progress: Progress) -> None:
    """Where nobody looks."""


@dataclass(frozen=True)
class Watch:
    """How units are judged: `probes` by unit, `timeout` for a start, `quiet` after it (seconds)."""

    manager: Manager
    probes: Mapping[str, Probe] = field(default_factory=dict)
    timeout: float = 60.0
    quiet: float = 5.0

    def start(
        self, jobs: Sequence[tuple[str, str]], also: Collection[str] = (), tell: Tell = untold
    ) -> dict[str, str]:
        """Run the jobs, and watch their units and those in `also` until they are known to be well.

        Which are not, with the reason; empty if all are. What failed before, and start limits, are
        the caller's to have forgotten (`changes.started_with`). Raises InterruptedSwitchError when
        the manager is stopping.
        """
        names = [name for verb, name in jobs if verb != "stop"]
        before = self._restarts(jobs, also)
        total = len(jobs)

        def waiting(left: Collection[str]) -> None:
            tell(Progress("start", total - len(left), total, tuple(sorted(left))))

        results = self.manager.run(jobs, self.timeout, waiting)
        bad = {name: _WORDS.get(result, result) for name, result in problems(results).items()}
        if not bad:
            came_up = [name for name in names if results[name] == "done"]
            bad = self.stay({name: before[name] for name in (*came_up, *also)}, tell)
        if bad:
            refuse_when_stopping(self.manager)
        return bad

    def stay(self, before: Mapping[str, int], tell: Tell = untold) -> dict[str, str]:
        """Watch units until their probes are content and the quiet time after that is over.

        `before` says how often the manager had restarted each. Returns those that are not well.
        """
        if not before:
            return {}
        poll = health.Poll({name: self.probes[name] for name in before if name in self.probes})
        end: float | None = None
        while True:
            states = settled_states(self.manager, before)
            bad = self._unwell(states, before) or poll.failed()
            if bad:
                return bad
            now = time.monotonic()
            if poll.waiting:
                poll.ask()
            else:
                end = now + self.quiet if end is None else end
                if now >= end and (now >= end + self.timeout or not _is_moving(states)):
                    return {}
            what = "health" if poll.waiting else "quiet"
            done = len(before) - len(poll.waiting)
            tell(Progress(what, done, len(before), tuple(sorted(poll.waiting))))
            left = _POLL if end is None or now >= end else end - now
            time.sleep(max(0.0, min(_POLL, left)))

    def _restarts(self, jobs: Sequence[tuple[str, str]], also: Collection[str]) -> dict[str, int]:
        """How often each was restarted before; a start from nothing begins to count anew."""
        states = self.manager.states([*(name for _, name in jobs), *also])
        kept = {name for verb, name in jobs if verb != "restart"} | set(also)
        return {
            name: self.manager.restarts(name) if name in kept and state.active == "active" else 0
            for name, state in states.items()
        }

    def _unwell(self, states: Mapping[str, State], before: Mapping[str, int]) -> dict[str, str]:
        bad = {}
        for name, state in states.items():
            reason = _reason(state, probed=name in self.probes)
            if not reason and self.manager.restarts(name) > before[name]:
                reason = "ended soon after its start and was restarted"
            if reason:
                bad[name] = reason
        return bad


def _is_moving(states: Mapping[str, State]) -> bool:
    """Whether a unit is on its way to another state: what it ends in is to be seen."""
    return any(state.active in ("activating", "deactivating") for state in states.values())


def refuse_when_stopping(manager: Manager) -> None:
    """Raise InterruptedSwitchError if the manager is on its way down: failures mean nothing."""
    if manager.phase() == "stopping":
        raise InterruptedSwitchError(
            "the system is shutting down", hint="it goes on after the boot"
        )


def _reason(state: State, *, probed: bool) -> str:
    """Why a unit that came up is not well; one that ended with success and has no probe is."""
    if state.active == "failed":
        return "failed soon after its start"
    if state.sub == "auto-restart":
        return "ended soon after its start and is restarted"
    if probed and state.active == "inactive":
        return "ended soon after its start, and has a health check"
    return ""
