"""One run of the hook, from what Podman holds to what it is to hold, within its limits of time."""

from __future__ import annotations

import os
import signal
import time

from leger_hook.decide import decide, refuse_foreign
from leger_hook.legerd import fetch, go_on_without_legerd
from leger_hook.outcomes import Failure, Unreachable
from leger_hook.podman import Podman, held
from leger_hook.secrets import TAG
from leger_hook.started import note
from leger_hook.store import beside, keep_names, locked

TYPE_CHECKING = False
if TYPE_CHECKING:
    from leger_hook.inspection import Inspection
    from leger_hook.options import Options

TOTAL_SECONDS, FETCH_SECONDS = 10.0, 6.0


class Hook:
    """One run, within its limits of time."""

    def __init__(self, options: Options, began: float) -> None:
        self.options = options
        self.began = began
        self.error: Exception = Failure("interrupted")
        signal.signal(signal.SIGALRM, self._alarm)

    def run(self, inspection: Inspection) -> None:
        """Bring all secrets up to date; Failure says which cannot be.

        StoreSetAside says that there is to be a second run, with a new inspection.
        """
        options = self.options
        self._limit(TOTAL_SECONDS, Failure("podman gave no answer; run: podman secret ls"))
        stored = held(options.secrets, inspection)
        refuse_foreign({name: held.labels for name, held in stored.items()})
        try:
            self._limit(FETCH_SECONDS, Unreachable(f"no answer in {FETCH_SECONDS:g} s"))
            answers = fetch(options, stored)
        except Unreachable as error:
            signal.setitimer(signal.ITIMER_REAL, 0)
            go_on_without_legerd(options, stored, str(error))
            held_tags = {part: stored[part.secret].label(TAG, part.key) for part in options.parts}
            note(options, held_tags)
            return
        busy = f"podman.service gave no answer; run: {options.systemctl} status podman.service"
        self._limit(TOTAL_SECONDS, Failure(busy))
        changes = decide(options, stored, answers)
        if changes:
            with locked(own_lock(options.runtime)):
                Podman(options).store(changes)
        else:
            metadata = beside(next(iter(stored.values())).folder)
            if metadata:
                keep_names(metadata)
        note(options, {part: answer.tag for part, answer in answers.items()})

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
