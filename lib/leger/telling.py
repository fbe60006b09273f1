"""What config.yaml's `notify:` is told of a run: what changed, what failed, what waits now."""

from __future__ import annotations

import getpass
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Protocol

from leger import config, generation, notify, relay
from leger.changes import Changes
from leger.errors import LegerError
from leger.generation import Current
from leger.model import Move
from leger.notify import Result, Summary
from leger.scope import Scope
from leger.switch import NotHealthyError


class Hearer(Protocol):
    """Whose configuration counts, and who hears of what could not be told; a switch.Host is one."""

    @property
    def scope(self) -> Scope: ...

    @property
    def report(self) -> Callable[[str], None]: ...


@dataclass(frozen=True)
class Watcher:
    """A hearer where nothing is switched."""

    scope: Scope
    report: Callable[[str], None]


def changed(to: Hearer, why: str, moves: Iterable[Move], changes: Changes) -> None:
    """A switch went well."""
    _tell(to, Result.OK, why, moves=moves, units=changes.why)


def went_back(to: Hearer, why: str, moves: Iterable[Move], error: LegerError) -> None:
    """What was switched to was not well; `moves` are those that were tried."""
    _tell(to, Result.ROLLED_BACK, why, moves=moves, message=str(error))


def staged(to: Hearer, why: str, moves: Iterable[Move]) -> None:
    """Something was fetched and checked, and waits for somebody's word."""
    _tell(to, Result.STAGED, why, moves=moves)


def failed(to: Hearer, why: str, errors: Mapping[str, LegerError]) -> None:
    """Some deployments (or all, by the name "") could not be brought to what is wanted.

    What went back was told before.
    """
    new = {
        name: str(error)
        for name, error in sorted(errors.items())
        if not isinstance(error, NotHealthyError)
    }
    if not errors:
        notify.forget(to.scope)
    if new:
        lines = [
            f"{name}: {text}" if name and not text.startswith(f"{name}:") else text
            for name, text in new.items()
        ]
        moves = [Move(name, "", "") for name in new if name]
        _tell(to, Result.FAILED, why, moves=moves, message="\n".join(lines))


def _tell(
    to: Hearer,
    result: Result,
    why: str,
    *,
    moves: Iterable[Move],
    units: Mapping[str, str] | None = None,
    message: str = "",
) -> None:
    summary = _summary(to, result, why, moves=moves, units=units, message=message)
    relay.write(summary.line(), to.report)
    notify.send(to.scope, config.load(to.scope).notify, summary, to.report)


def _summary(
    to: Hearer,
    result: Result,
    why: str,
    *,
    moves: Iterable[Move] = (),
    units: Mapping[str, str] | None = None,
    message: str = "",
) -> Summary:
    current = Current.read(to.scope)
    return Summary(
        host=config.load(to.scope).host_name,
        scope=to.scope.name if to.scope.name == "system" else getpass.getuser(),
        generation=current.point.generation if current else 0,
        who=generation.caller(),
        why=why,
        result=result,
        deployments=tuple(moves),
        units=dict(units or {}),
        message=message,
    )


def of_user(to: Hearer, user: str, lines: Iterable[bytes], failure: str | None = None) -> None:
    """What root's leger did as `user`, in the words of that run (lines of `relay`).

    After a sync `failure` says how it failed, "" that it did not.
    """
    try:
        settings = config.load(to.scope)
    except LegerError as error:
        to.report(f"warning: notify: {error}")
        return
    told = list(_understood(lines))
    if failure == "":
        notify.forget(to.scope, user)
    elif failure and all(summary.result.event != "failed" for summary in told):
        told.append(_summary(to, Result.FAILED, "sync", message=failure))
    for summary in told:
        known = replace(summary, host=settings.host_name, scope=user)
        notify.send(to.scope, settings.notify, known, to.report)


def _understood(lines: Iterable[bytes]) -> Iterator[Summary]:
    for line in lines:
        with suppress(ValueError):
            yield Summary.parse(line)
