"""Serves a WSGI application on sockets that are already bound.

One server with its own loop and workers for each listener, so that nobody on one of them can hold
up another.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any

from legerd import log
from legerd.channel import make_server

if TYPE_CHECKING:
    import socket

    from _typeshed.wsgi import WSGIApplication

    from legerd.limits import Limits

DRAIN_SECONDS = 5.0
Answered = Callable[[str, int, float], None]


class Listener:
    """One bound socket, served by a loop of its own once `start` is called.

    `answered` is told of each answer: what the application took its path for, its status, and the
    seconds from when the application was asked until it was sent. `quick` are the paths of calls
    that take no longer than to hand them to a worker.
    """

    def __init__(
        self,
        listening: socket.socket,
        application: WSGIApplication,
        limits: Limits,
        answered: Answered = lambda path, status, seconds: None,
        quick: Collection[str] = (),
    ) -> None:
        self._server: Any = make_server(listening, application, limits)
        self._server.answered, self._server.quick = answered, quick
        self._stopped = False
        self._turned = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="legerd-listener", daemon=True)

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def drain(self) -> None:
        """Accept no more; each connection gets one more answer, which closes it."""
        if not self._stopped:
            self._server.drain()

    def idle(self) -> bool:
        """Whether no connection is left."""
        return not self._server.active_channels

    def stop(self) -> None:
        """Close what is left and end the loop; a second time does nothing."""
        if self._stopped:
            return
        self._stopped = True
        self._server.pull_trigger()
        self._thread.join(timeout=5)
        self._server.shut()

    def alive(self, seconds: float) -> bool:
        """Whether the loop has turned within the last `seconds`."""
        return time.monotonic() - self._turned < seconds

    def _run(self) -> None:
        try:
            while not self._stopped:
                self._turned = time.monotonic()
                self._server.turn(1.0)
        except BaseException as error:  # noqa: BLE001 - half a server is worse than a new one
            log.error(f"the loop of a listener failed: {type(error).__name__}")
            os._exit(1)


def drain(
    listeners: list[Listener],
    seconds: float = DRAIN_SECONDS,
    wake: Callable[[], None] = lambda: None,
) -> None:
    """Drain all `listeners`, for `seconds` at most, then stop them; `wake` ends what is parked."""
    for listener in listeners:
        listener.drain()
    wake()
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and not all(listener.idle() for listener in listeners):
        time.sleep(0.02)
    for listener in listeners:
        listener.stop()
