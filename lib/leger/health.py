"""Health checks by HTTP: a quadlet's labels x-health-url, x-health-timeout and x-health-expected.

The request goes to this host only, follows nothing, carries nothing but the path, and reads no
more than the status line. It is made for as long as the label says, until the answer is one that
is expected.
"""

from __future__ import annotations

import contextlib
import re
import socket
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Self
from urllib.parse import SplitResult, urlsplit

from leger import changes
from leger.errors import ConfigError, LegerError
from leger.model import Compiled, Unit
from leger.quantities import duration
from leger.secretrefs import expand
from leger.unitfile import UnitFile, words
from leger.yamlfile import Node

LABELS = ("x-health-url", "x-health-timeout", "x-health-expected")
_TIMEOUT = 30.0
_LONGEST = 600.0
_ATTEMPT = 5.0  # seconds for one request
_LINE = 4096  # bytes of an answer that are read
_TOGETHER = 16
_STATUS = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2})(?: |\r|$)")
_RANGE = re.compile(r"([1-5][0-9]{2})(?:-([1-5][0-9]{2}))?")


@dataclass(frozen=True)
class Probe:
    """What a container's labels ask for; `expected` are ranges of statuses, both ends included."""

    url: SplitResult
    timeout: float = _TIMEOUT
    expected: tuple[tuple[int, int], ...] = ((200, 200),)

    @classmethod
    def parse(cls, labels: Mapping[str, str]) -> Self:
        """Read the three labels. Raises ConfigError that begins with the label's name."""
        url = _url(labels["x-health-url"])
        return cls(
            url,
            _timeout(labels["x-health-timeout"]) if "x-health-timeout" in labels else _TIMEOUT,
            tuple(_expected(labels["x-health-expected"]))
            if "x-health-expected" in labels
            else ((200, 200),),
        )

    @property
    def shown(self) -> str:
        """The address for a message; a query may hold what is nobody's business."""
        return self.url._replace(query="", fragment="").geturl()

    def ask(self, seconds: float = _ATTEMPT) -> str:
        """Ask once; "" if the answer is as expected, otherwise what was wrong."""
        try:
            status = _ask(self.url, time.monotonic() + seconds)
        except (OSError, LegerError) as error:
            return f"does not answer: {_said(error)}"
        if any(first <= status <= last for first, last in self.expected):
            return ""
        return f"answers {status}"


class Poll:
    """Several probes, each asked again until it is content or its time is over."""

    def __init__(self, probes: Mapping[str, Probe]) -> None:
        now = time.monotonic()
        self._end = {name: now + probe.timeout for name, probe in probes.items()}
        self._said = dict.fromkeys(probes, "was not asked")
        self.waiting = dict(probes)

    def ask(self) -> None:
        """Ask all that were not content yet, together."""
        from concurrent.futures import ThreadPoolExecutor  # who has no probe does not wait for it

        names = list(self.waiting)
        with ThreadPoolExecutor(_TOGETHER) as pool:
            answers = list(pool.map(Probe.ask, self.waiting.values()))
        for name, answer in zip(names, answers, strict=True):
            self._said[name] = answer
            if not answer:
                del self.waiting[name]

    def failed(self) -> dict[str, str]:
        """The units whose time is over, and what their probes were told last."""
        now = time.monotonic()
        return {
            name: f"is not healthy: {probe.shown} {self._said[name]}, after {probe.timeout:g} s"
            for name, probe in self.waiting.items()
            if now > self._end[name]
        }


def labels(values: Collection[str]) -> dict[str, str]:
    """The labels of ours among the values of Label=, each a list of KEY=VALUE words."""
    pairs = (word.partition("=") for value in values for word in words(value))
    return {key: value for key, _, value in pairs if key in LABELS}


def probes(compiled: Compiled, names: Collection[str]) -> dict[str, Probe]:
    """The probes of those units among `names` that have one."""
    known = {
        name: unit for one in compiled.deployments.values() for name, unit in one.units.items()
    }
    found = {}
    for name in names:
        unit = known.get(name) or known.get(changes.template_of(name))
        probe = _of(unit, name) if unit else None
        if probe:
            found[name] = probe
    return found


def _of(unit: Unit, name: str) -> Probe | None:
    """The probe of the unit, which the compile found to be well written."""
    if unit.kind != "container" or "x-health-url" not in unit.text:
        return None
    given = labels(UnitFile.parse(unit.text).values("X-Container", "Label"))
    with contextlib.suppress(ConfigError):
        if "x-health-url" in given:
            return Probe.parse({key: plain(value, name) for key, value in given.items()})
    return None


def plain(text: str, unit: str) -> str:
    """A label's value as podman gets it from systemd: specifiers of an instance written out."""
    return expand(text, unit) if "@" in unit else text.replace("%%", "%")


def _url(text: str) -> SplitResult:
    try:
        url = urlsplit(text)
        url.port  # noqa: B018 - it is read at the first look only
    except ValueError as error:
        raise ConfigError(f"x-health-url: {text!r}: {error}") from error
    if url.scheme not in ("http", "https") or not url.hostname:
        raise ConfigError(f"x-health-url: {text!r} is not an http:// or https:// address")
    if url.username is not None or url.password is not None:
        raise ConfigError(
            "x-health-url: a user and a password do not belong there",
            hint="labels are public; use HealthCmd= and Notify=healthy",
        )
    if any(ord(char) < 33 or ord(char) > 126 for char in text):
        raise ConfigError("x-health-url: holds a blank or a character that must be escaped")
    return url


def _timeout(text: str) -> float:
    try:
        seconds = duration(Node(text, "", 0, text))
    except ConfigError as error:
        raise ConfigError(
            f"x-health-timeout: {text!r} is not a duration", hint=error.hint
        ) from error
    if not 0 < seconds <= _LONGEST:
        raise ConfigError(f"x-health-timeout: {text!r} is not between 0 and {_LONGEST:g} s")
    return seconds


def _expected(text: str) -> Iterator[tuple[int, int]]:
    for part in text.split(","):
        match = _RANGE.fullmatch(part.strip())
        if match is None:
            raise ConfigError(
                f"x-health-expected: {part!r} is not a status", hint="write 200, 200,204 or 200-299"
            )
        yield int(match[1]), int(match[2] or match[1])


def _ask(url: SplitResult, end: float) -> int:
    """The status that a GET of `url` is answered with before `end`."""
    port = url.port or (443 if url.scheme == "https" else 80)
    with contextlib.ExitStack() as stack:
        connection = stack.enter_context(_connected(url.hostname or "", port, end))
        if url.scheme == "https":
            import ssl

            context = ssl.create_default_context()
            connection.settimeout(_left(end))
            connection = stack.enter_context(
                context.wrap_socket(connection, server_hostname=url.hostname)
            )
        target = url._replace(scheme="", netloc="", fragment="").geturl() or "/"
        request = (
            f"GET {target} HTTP/1.1\r\nHost: {url.netloc}\r\nUser-Agent: leger\r\n"
            "Accept: */*\r\nConnection: close\r\n\r\n"
        )
        connection.settimeout(_left(end))
        connection.sendall(request.encode())
        return _status(connection, end)


def _status(connection: socket.socket, end: float) -> int:
    """The status line and nothing after it."""
    line = b""
    while b"\n" not in line and len(line) < _LINE:
        connection.settimeout(_left(end))
        more = connection.recv(_LINE - len(line))
        if not more:
            break
        line += more
    match = _STATUS.match(line)
    if match is None:
        raise LegerError("no HTTP answer")
    return int(match[1])


def _connected(host: str, port: int, end: float) -> socket.socket:
    """A connection to an address of this host that `host` has. Raises LegerError otherwise."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    places = [item for item in found if _is_here(item[0], item[4])]
    if not places:
        raise LegerError(f"{host} is not this host")
    for family, kind, protocol, _, address in places:
        connection = socket.socket(family, kind, protocol)
        try:
            connection.settimeout(_left(end))
            connection.connect(address)
        except OSError:
            connection.close()
            if address == places[-1][4]:
                raise
        else:
            return connection
    raise LegerError(f"{host} has no address")


def _is_here(family: int, address: tuple[object, ...]) -> bool:
    """Whether this host has the address: only then can it be bound."""
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        try:
            probe.bind((address[0], 0, *address[2:]))
        except OSError:
            return False
    return True


def _left(end: float) -> float:
    left = end - time.monotonic()
    if left <= 0:
        raise TimeoutError("no answer in time")
    return left


def _said(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return getattr(error, "strerror", None) or str(error)
