"""Bring the Podman secrets of a unit up to date from legerd, before the unit starts.

    secrets-hook [--user] [--fresh] [--for=UNIT] [--note] NAME=LEGERD-NAME[:VERSION]
        SECRET/KEY=LEGERD-NAME[:VERSION] ...

NAME is a Podman secret; SECRET/KEY is one key of a Kubernetes Secret that is composed here for a
.kube. VERSION is a last part of digits. --fresh refuses to go on with old values while legerd is
out of reach; --user means the user's podman.socket and manager. In a unit with User= it runs as
that user, with the users' socket of legerd and that user's Podman, like podman itself there.
--for is how Leger itself runs it, before a unit is reloaded (or, with nothing, restarted): then
nothing waits for legerd. Which values a unit got is noted for `leger secrets refresh`: started.py;
with --note root only does that, for a unit with User=, whose own hook could note what it likes.
--retry alone is what leger-retry.service runs: see waiting.py.

Runs as ExecStartPre=, may run twice, and beside others of its kind. What Podman holds is read by
one `podman secret inspect`; most modules are imported while that works. Labels are believed only
together with the value: legerd gets a MAC of it with a fresh key, so that a store that fell back
in a power cut is noticed. Only what changed is written, by REST: podman.service lives outside of
this unit's control group and outlives its start time-out. Then Podman's files are fsynced, which
Podman itself does not do. A store that does not parse is set aside, never deleted, and refilled.

Values are only in memory and on the two sockets: in no argv, environment, log or core file.
"""

from __future__ import annotations

import os
import resource
import sys
import time

from leger_hook.inspection import Inspection
from leger_hook.options import Options
from leger_hook.outcomes import Failure, NotReached, StoreSetAside, say

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType


def main() -> int:
    """0: all secrets are there; 1: the lines on stderr say which is not, why, and what to do."""
    began = time.monotonic()
    sys.excepthook = give_up
    if sys.argv[1:] == ["--retry"]:
        from leger_hook.waiting import retry

        return retry()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        options = Options(sys.argv[1:], os.environ, os.getuid())
        if options.noting:
            from leger_hook.started import foresee

            foresee(options)
        else:
            bring(options, began)
    except Failure as failure:
        for line in failure.args:
            say("error", line)
        return 1
    return 0


def bring(options: Options, began: float) -> None:
    """Bring all secrets up to date; Failure says which cannot be, after it was noted."""
    try:
        inspection = Inspection(options.secrets)
        from leger_hook.run import Hook  # 30 ms of imports, while podman works

        hook = Hook(options, began)
        try:
            hook.run(inspection)
        except StoreSetAside:
            hook.run(Inspection(options.secrets))
    except Failure as failure:
        from leger_hook import started, waiting

        started.note(options, {})
        if isinstance(failure, NotReached) and not options.user and options.unit is None:
            waiting.note()
        raise


def give_up(kind: type[BaseException], _: BaseException, trace: TracebackType | None) -> None:
    """A fault of this program: where, but never with which values."""
    lines = []
    while trace is not None:
        lines.append(str(trace.tb_lineno))
        trace = trace.tb_next
    say("error", f"secrets-hook: {kind.__name__} in line {' < '.join(reversed(lines))}")
