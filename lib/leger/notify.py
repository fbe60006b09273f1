"""Tell somebody what was changed, or could not be: one summary in JSON, to a command or a webhook.

Nothing depends on its arriving: what cannot be told is a warning. A failure that repeats itself
(a remote that is out of reach, at every run of the timer) is told once. No value of a secret gets
into a summary, because nothing that it is made of holds one.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Self

from leger import disk, processes
from leger.errors import ConfigError, LegerError
from leger.model import Move
from leger.quantities import duration
from leger.scope import Scope
from leger.yamlfile import Node

FORMAT = 1
EVENTS = ("changed", "failed", "staged")
_BOOTED = Path("/run/systemd/system")
_SERVICE = ("--quiet", "--pipe", "--wait", "--collect", "--expand-environment=no", "--")
_KEYS = ("command", "webhook", "when", "timeout")
# Git: "Failed to connect to HOST port 443 after 12 ms"; podman: "read udp 10.0.0.5:41234->...".
_PASSING = re.compile(
    r"\b[0-9]+(?:\.[0-9]+)? ?(?:ms|milliseconds|s|seconds|bytes)\b"
    r"|\b[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?::[0-9]+)?"
    r"|\[[0-9a-f:]+(?:%\w+)?\](?::[0-9]+)?"
)


class Result(StrEnum):
    """How a run ended."""

    OK = "ok"
    STAGED = "staged"
    FAILED = "failed"
    ROLLED_BACK = "rolled back"

    @property
    def event(self) -> str:
        """What config.yaml's `when:` calls it."""
        return {Result.OK: "changed", Result.STAGED: "staged"}.get(self, "failed")


@dataclass(frozen=True)
class Notify:
    """config.yaml's `notify:`; `webhook` is a URL or the file that holds one, `timeout` seconds."""

    command: tuple[str, ...] = ()
    webhook: str = ""
    when: tuple[str, ...] = EVENTS
    timeout: float = 10.0

    @classmethod
    def parse(cls, node: Node) -> Self:
        """Read `notify:`; without it nobody is told. Raises ConfigError naming file and line."""
        keys = node.mapping(_KEYS)
        return cls(
            command=_command(keys["command"]) if "command" in keys else (),
            webhook=_webhook(keys["webhook"]) if "webhook" in keys else "",
            when=tuple(item.choice(EVENTS) for item in keys["when"].sequence())
            if "when" in keys
            else EVENTS,
            timeout=duration(keys["timeout"]) if "timeout" in keys else 10.0,
        )


@dataclass(frozen=True)
class Summary:
    """What a run did. `scope` is "system" or a user's name, `units` says why each was touched.

    `message` is one or a few lines for people: what failed, and the units that are concerned.
    """

    host: str
    scope: str
    generation: int
    who: str
    why: str
    result: Result
    deployments: tuple[Move, ...] = ()
    units: Mapping[str, str] = field(default_factory=dict)
    message: str = ""

    def raw(self) -> dict[str, object]:
        """As JSON takes it; what is added later leaves these names as they are."""
        return {"format": FORMAT, **asdict(self), "units": dict(self.units)}

    def line(self) -> bytes:
        """As one line of JSON."""
        return json.dumps(self.raw(), ensure_ascii=False).encode(errors="replace") + b"\n"

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read one from a line, whoever wrote it. Raises ValueError if it is none."""
        try:
            raw = json.loads(data)
            return cls(
                **{key: _text(raw[key]) for key in ("host", "scope", "who", "why", "message")},
                generation=int(raw["generation"]),
                result=Result(raw["result"]),
                deployments=tuple(
                    Move(*(_text(move[key]) for key in ("name", "before", "after")))
                    for move in raw["deployments"]
                ),
                units={_text(unit): _text(why) for unit, why in raw["units"].items()},
            )
        except (AttributeError, KeyError, TypeError, OverflowError, RecursionError) as error:
            raise ValueError("not a summary") from error


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"not a text: {value!r:.80}")
    return value


def send(scope: Scope, settings: Notify, summary: Summary, report: Callable[[str], None]) -> None:
    """Tell whom config.yaml names, within its time limit; `report` takes the warnings.

    Who has been told of this failure last is not told again; who could not be, is the next time.
    """
    is_failure = summary.result.event == "failed"
    if not is_failure:
        forget(scope, summary.scope)
    if summary.result.event not in settings.when:
        return
    data = summary.line()
    memory = _memory(scope, summary.scope)
    before = set(disk.read_file(memory, 4096).split()) if memory.exists() else set()
    now = set()
    for way, tell in _ways(scope, settings):
        mark = _mark(way, summary)
        try:
            if not is_failure or mark not in before:
                tell(data)
            now.add(mark)
        except LegerError as error:
            report(f"warning: notify: {error}")
    if is_failure and now != before:
        disk.make_folder(scope.state)
        disk.write_file(memory, b"".join(mark + b"\n" for mark in sorted(now)), 0o600)


def _ways(scope: Scope, settings: Notify) -> Iterator[tuple[object, Callable[[bytes], None]]]:
    """Each way to tell that is configured, as it is written, and what goes that way."""
    if settings.command:
        yield settings.command, partial(_run, scope, settings)
    if settings.webhook:
        yield settings.webhook, partial(_post, settings)


def _run(scope: Scope, settings: Notify, data: bytes) -> None:
    """Run the command in a service of its own: what runs `leger sync` is not fit to send mail."""
    possible = _BOOTED.is_dir() and (scope.name == "user" or os.getuid() == 0)
    command = [*(_service(scope) if possible else ()), *settings.command]
    done = processes.run(command, timeout=settings.timeout, data=data)
    if done.code != 0:
        raise LegerError(f"{settings.command[0]}: {done.message}")


def _service(scope: Scope) -> tuple[str, ...]:
    user = ("--user",) if scope.name == "user" else ()
    return ("systemd-run", *user, *_SERVICE)


def _post(settings: Notify, data: bytes) -> None:
    from leger import webhook

    webhook.post(_address(settings.webhook), data, settings.timeout)


def _address(given: str) -> str:
    """The URL, which a file holds if it is a secret itself."""
    if not given.startswith("/"):
        return given
    text = disk.read_file(Path(given), 8192).decode(errors="replace").strip()
    if not _is_url(text):
        raise ConfigError(f"{given}: not a URL (https://...)")
    return text


def forget(scope: Scope, whose: str = "system") -> None:
    """Nothing is wrong now: the next failure is told, even if it is the last one again."""
    _memory(scope, whose).unlink(missing_ok=True)


def _memory(scope: Scope, whose: str) -> Path:
    """Holds the marks of the last failure in the scope `whose` ("system", or a user's name), one
    for each way that took it.
    """
    is_anothers = scope.name == "system" and whose != "system"
    return scope.notified.with_name(f"notified-{whose}") if is_anothers else scope.notified


def _mark(way: object, summary: Summary) -> bytes:
    """The same for the same failure, whatever it took this time and whichever address answered."""
    message = _PASSING.sub("", summary.message)
    told = repr((way, summary.result, summary.deployments, sorted(summary.units), message))
    return hashlib.sha256(told.encode()).hexdigest().encode()


def _command(node: Node) -> tuple[str, ...]:
    words = node.texts()
    if not words or not words[0].startswith("/"):
        raise node.error(
            "a list that begins with the whole path of a program is expected",
            hint="command: [/usr/local/bin/tell]",
        )
    return words


def _webhook(node: Node) -> str:
    text = node.text()
    if not text.startswith("/") and not _is_url(text):
        raise node.error(
            "a URL (https://...) or the whole path of a file that holds one is expected",
            hint="name and password have no place in it; a file keeps the address secret",
        )
    return text


def _is_url(text: str) -> bool:
    try:
        parts = urllib.parse.urlsplit(text)
        return (
            parts.scheme in ("https", "http")
            and bool(parts.hostname)
            and "@" not in parts.netloc
            and (parts.port is None or parts.port > 0)
            and text.isprintable()
            and " " not in text
        )
    except ValueError:
        return False
