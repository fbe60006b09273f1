"""What a program holds of a secret that may change: a handle, a watcher, a value made of it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from leger.secretvalue import SecretValue

LOG = logging.getLogger("leger.setec")
_Made = TypeVar("_Made")


class Secret:
    """A handle: `get` gives the current value at once, from memory, whatever the server does."""

    def __init__(self, name: str, read: Callable[[str], SecretValue]) -> None:
        self.name = name
        self._read = read

    def get(self) -> SecretValue:
        """The current value; ask again instead of keeping it."""
        return self._read(self.name)

    def __repr__(self) -> str:
        return f"Secret({self.name!r})"


class Watcher:
    """Tells of new values of a secret; of several in a row once."""

    def __init__(self, secret: Secret) -> None:
        self.secret = secret
        self._ready = threading.Event()

    def get(self) -> SecretValue:
        """The current value."""
        return self.secret.get()

    def wait(self, timeout: float | None = None) -> bool:
        """Whether there is a new value since the last time; waits `timeout` seconds for one."""
        if not self._ready.wait(timeout):
            return False
        self._ready.clear()
        return True

    def notify(self) -> None:
        """Say that there is a new value."""
        self._ready.set()


class Updater(Generic[_Made]):
    """What `make` makes of a secret, made anew when the secret has changed."""

    def __init__(self, watcher: Watcher, make: Callable[[SecretValue], _Made]) -> None:
        self._watcher = watcher
        self._make = make
        self._lock = threading.Lock()
        self._made = make(watcher.get())
        self._error: Exception | None = None

    def get(self) -> _Made:
        """The current one. If `make` raises, the old one stays; else it is closed, if it can be."""
        with self._lock:
            if self._watcher.wait(0):
                self._remake()
            return self._made

    @property
    def error(self) -> Exception | None:
        """What `make` raised for the latest value."""
        with self._lock:
            return self._error

    def _remake(self) -> None:
        try:
            made = self._make(self._watcher.get())
        except Exception as error:  # noqa: BLE001 - make is the program's, and so are its errors
            self._error = error
            name, kind = self._watcher.secret.name, type(error).__name__
            LOG.warning("%s: the new value cannot be used (%s), the old one stays", name, kind)
            return
        old, self._made, self._error = self._made, made, None
        close = getattr(old, "close", None)
        if callable(close):
            close()
