"""Which descriptors a loop waits for: epoll(7) keeps them, and is told only what changes.

A loop that lists all of its connections for every event pays for the thousands that are silent.
"""

from __future__ import annotations

import select

READ = select.EPOLLIN | select.EPOLLPRI
WRITE = select.EPOLLOUT


class Interest:
    """What is waited for on each descriptor; one that nothing is waited for is left out."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._known: dict[int, int] = {}

    def set(self, descriptor: int, events: int) -> None:
        """Wait for `events` (READ, WRITE, both or 0) on `descriptor` from now on."""
        before = self._known.get(descriptor, 0)
        if events == before:
            return
        if not events:
            self.forget(descriptor)
        elif before:
            self._epoll.modify(descriptor, events)
        else:
            self._epoll.register(descriptor, events)
        if events:
            self._known[descriptor] = events

    def forget(self, descriptor: int) -> None:
        """Wait for it no more; before it is closed, since its number may come again."""
        if self._known.pop(descriptor, 0):
            self._epoll.unregister(descriptor)

    def wait(self, seconds: float) -> list[tuple[int, int]]:
        """The descriptors with the events that they have now; `seconds` are waited at most."""
        return self._epoll.poll(seconds)

    def close(self) -> None:
        """Give the descriptor back; a second time does nothing."""
        self._epoll.close()
