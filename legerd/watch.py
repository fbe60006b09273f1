"""Callers that wait for a change: parked without a worker, woken by the change, by time or the end.

A call that has nothing to say yet raises Parked. The server then leaves the connection as it is,
and when it is woken runs the whole call anew; so there is no state that could be half updated.
"""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections.abc import Callable

Wake = Callable[[], None]


class Parked(BaseException):
    """Not an answer yet: wait until one of `names` changes, `until` (monotonic seconds) at most.

    `sequence` is that of the snapshot which was looked at. It is no Exception, so that nobody on
    the way to the server takes it for a failure.
    """

    def __init__(
        self, watchers: Watchers, names: frozenset[str], sequence: int, until: float
    ) -> None:
        super().__init__()
        self._watchers = watchers
        self.names = names
        self.sequence = sequence
        self.until = until

    def park(self, wake: Wake) -> None:
        """Call `wake` once, from any thread, when it is time to look again; that may be at once."""
        self._watchers.park(self, wake)


class _Waiting:
    """One parked call; `wake` is None once it was woken."""

    def __init__(self, names: frozenset[str], wake: Wake) -> None:
        self.names = names
        self.wake: Wake | None = wake


class Watchers:
    """All parked calls, by the names that they wait for; `sequence` tells the snapshot's of now."""

    def __init__(self, sequence: Callable[[], int]) -> None:
        self._sequence = sequence
        self._changed = threading.Condition()
        self._by_name: dict[str, set[_Waiting]] = {}
        self._deadlines: list[tuple[float, int, _Waiting]] = []
        self._number = itertools.count()
        self._parked = 0
        self._timer: threading.Thread | None = None
        self.closed = False

    def park(self, parked: Parked, wake: Wake) -> None:
        """See Parked.park. What changed between the look and now is not missed."""
        waiting = _Waiting(parked.names, wake)
        with self._changed:
            if not self.closed and self._sequence() == parked.sequence:
                for name in parked.names:
                    self._by_name.setdefault(name, set()).add(waiting)
                self._parked += 1
                self._forget()
                heapq.heappush(self._deadlines, (parked.until, next(self._number), waiting))
                self._start()
                self._changed.notify()
                return
        wake()

    def changed(self, name: str) -> None:
        """Wake whoever waits for `name`; call it after the snapshot has the change."""
        with self._changed:
            woken = [self._take(waiting) for waiting in list(self._by_name.get(name, ()))]
        _wake(woken)

    def close(self) -> None:
        """Wake everybody, now and from now on."""
        with self._changed:
            self.closed = True
            woken = [self._take(waiting) for _, _, waiting in self._deadlines]
            self._deadlines.clear()
            self._changed.notify()
        _wake(woken)

    def __len__(self) -> int:
        """How many calls are parked."""
        with self._changed:
            return self._parked

    def _take(self, waiting: _Waiting) -> Wake | None:
        wake, waiting.wake = waiting.wake, None
        self._parked -= wake is not None
        for name in waiting.names:
            others = self._by_name.get(name, set())
            others.discard(waiting)
            if not others:
                self._by_name.pop(name, None)
        return wake

    def _forget(self) -> None:
        """Drop the deadlines of those who were woken, once they are most of all."""
        if len(self._deadlines) > 4 * self._parked + 64:
            self._deadlines = [each for each in self._deadlines if each[2].wake is not None]
            heapq.heapify(self._deadlines)

    def _start(self) -> None:
        if self._timer is None:
            self._timer = threading.Thread(target=self._run, name="legerd-watch", daemon=True)
            self._timer.start()

    def _run(self) -> None:
        """Wake those whose time is up."""
        while not self.closed:
            with self._changed:
                now = time.monotonic()
                woken = []
                while self._deadlines and self._deadlines[0][0] <= now:
                    woken.append(self._take(heapq.heappop(self._deadlines)[2]))
                if not woken:
                    self._changed.wait(self._deadlines[0][0] - now if self._deadlines else None)
            _wake(woken)


def _wake(woken: list[Wake | None]) -> None:
    for wake in woken:
        if wake is not None:
            wake()
