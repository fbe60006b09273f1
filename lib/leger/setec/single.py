"""One call at a time for one purpose: who comes while it runs shares its outcome."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from leger.setec.errors import UnreachableError

_Result = TypeVar("_Result")


class Single:
    """Calls that are under way, by key."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._under_way: dict[str, Future[Any]] = {}  # each of its own type

    def call(self, key: str, work: Callable[[], _Result], timeout: float | None) -> _Result:
        """What `work` returns or raises, or the call with `key` that is under way.

        UnreachableError if that one takes longer than `timeout` seconds.
        """
        with self._lock:
            other = self._under_way.get(key)
            mine: Future[_Result] = Future()
            if other is None:
                self._under_way[key] = mine
        if other is not None:
            shared: _Result = _join(other, timeout)
            return shared
        try:
            result = work()
        except BaseException as error:
            self._done(key)
            mine.set_exception(error)
            raise
        self._done(key)
        mine.set_result(result)
        return result

    def _done(self, key: str) -> None:
        with self._lock:
            del self._under_way[key]


def _join(other: Future[_Result], timeout: float | None) -> _Result:
    try:
        return other.result(timeout)
    except TimeoutError:
        raise UnreachableError("the call that is under way takes too long") from None
