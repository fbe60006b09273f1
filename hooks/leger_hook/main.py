"""Bring the Podman secrets of a unit up to date from legerd, before the unit starts.

    secrets-hook [--user] [--fresh] NAME=LEGERD-NAME[:VERSION] SECRET/KEY=LEGERD-NAME[:VERSION] ...

NAME is a Podman secret; SECRET/KEY is one key of a Kubernetes Secret that is composed here for a
.kube. VERSION is a last part of digits. --fresh refuses to go on with old values while legerd is
out of reach; --user means the user's podman.socket and manager.

Runs as ExecStartPre=, may run twice, and beside others of its kind. What Podman holds is read by
one `podman secret inspect`; http.client is imported while that works. Labels are believed only
together with the value: legerd gets a MAC of it with a fresh key, so that a store that fell back
in a power cut is noticed. Only what changed is written, by REST: podman.service lives outside of
this unit's control group and outlives its start time-out. Then Podman's files are fsynced, which
Podman itself does not do. A store that does not parse is set aside, never deleted, and refilled.

Values are only in memory and on the two sockets: in no argv, environment, log or core file.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import sys
import time

from leger_hook.decide import decide, refuse_foreign
from leger_hook.legerd import fetch, go_on_without_legerd
from leger_hook.options import Options
from leger_hook.outcomes import Failure, StoreSetAside, Unreachable, say
from leger_hook.podman import Inspection, Podman
from leger_hook.store import locked

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType

TOTAL_SECONDS, FETCH_SECONDS = 10.0, 6.0


class Hook:
    """One run, within its limits of time."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.began = time.monotonic()
        self.error: Exception = Failure("interrupted")
        signal.signal(signal.SIGALRM, self._alarm)

    def run(self) -> None:
        """Bring all secrets up to date; Failure says which cannot be."""
        options = self.options
        self._limit(TOTAL_SECONDS, Failure("podman gave no answer; run: podman secret ls"))
        inspection = Inspection(list(options.secrets))
        import http.client  # noqa: F401 20 ms, while podman works

        stored = inspection.stored(options.secrets)
        refuse_foreign({name: held.labels for name, held in stored.items()})
        try:
            self._limit(FETCH_SECONDS, Unreachable(f"no answer in {FETCH_SECONDS:g} s"))
            answers = fetch(options, stored)
        except Unreachable as error:
            signal.setitimer(signal.ITIMER_REAL, 0)
            go_on_without_legerd(options, stored, str(error))
            return
        busy = f"podman.service gave no answer; run: {options.systemctl} status podman.service"
        self._limit(TOTAL_SECONDS, Failure(busy))
        changes = decide(options, stored, answers)
        if changes:
            with locked(own_lock(options.runtime)):
                Podman(options).store(changes)

    def _limit(self, seconds: float, error: Exception) -> None:
        """Raise `error`, wherever we are, when `seconds` have passed since the start."""
        self.error = error
        left = self.began + seconds - time.monotonic()
        signal.setitimer(signal.ITIMER_REAL, max(left, 0.001), 1.0)

    def _alarm(self, *_: object) -> None:
        raise self.error


def own_lock(runtime: str) -> str:
    """The lock that hooks hold against each other while they write."""
    try:
        os.makedirs(f"{runtime}/leger", exist_ok=True)
    except OSError as error:
        raise Failure(
            f"{runtime}: {error.strerror}; run: loginctl enable-linger {os.getuid()}"
        ) from error
    return f"{runtime}/leger/secrets-hook.lock"


def give_up(kind: type[BaseException], _: BaseException, trace: TracebackType | None) -> None:
    """A fault of this program: where, but never with which values."""
    lines = []
    while trace is not None:
        lines.append(str(trace.tb_lineno))
        trace = trace.tb_next
    say("error", f"secrets-hook: {kind.__name__} in line {' < '.join(reversed(lines))}")


def main() -> int:
    """0: all secrets are there; 1: the lines on stderr say which is not, why, and what to do."""
    sys.excepthook = give_up
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        hook = Hook(Options(sys.argv[1:], os.environ, os.getuid()))
        for _ in range(2):
            with contextlib.suppress(StoreSetAside):
                hook.run()
                return 0
        raise Failure("podman's secrets broke again; run: podman secret ls")  # noqa: TRY301
    except Failure as failure:
        for line in failure.args:
            say("error", line)
        return 1
