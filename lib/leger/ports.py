"""Published ports: those of two quadlets that collide, and those that somebody listens on."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from leger.model import Fault
from leger.overrides import names_of
from leger.sources import Located, Source
from leger.unitfile import options, words

_PORT = re.compile(
    r"(?:(?:(?P<ip>\[[0-9a-fA-F:]+\]|[0-9.]+):)?(?P<host>[0-9]*(?:-[0-9]+)?):)?"
    r"(?P<inside>[0-9]+(?:-[0-9]+)?)(?:/(?P<protocol>tcp|udp|sctp))?"
)
_LISTENING = {"tcp": "0A", "udp": "07"}


@dataclass(frozen=True)
class Published:
    """Ports of the host from `first` to `last`; `address` "" is every address."""

    protocol: str
    address: str
    first: int
    last: int
    source: Source
    place: Located

    @property
    def range(self) -> Range:
        """The ports, wherever they are listened on."""
        return Range(self.protocol, self.first, self.last)

    def meets(self, other: Published) -> bool:
        """Whether both cannot be had at once."""
        return (
            self.protocol == other.protocol
            and self.first <= other.last
            and other.first <= self.last
            and ("" in (self.address, other.address) or self.address == other.address)
        )

    def __str__(self) -> str:
        ports = str(self.first) if self.first == self.last else f"{self.first}-{self.last}"
        place = f"{self.address} " if self.address else ""
        return f"{place}{ports}/{self.protocol}"


class Range(NamedTuple):
    """Ports of one protocol from `first` to `last`."""

    protocol: str
    first: int
    last: int


class Socket(NamedTuple):
    """Somebody listens: `unit` is the systemd unit of the process, as far as it can be seen."""

    protocol: str
    address: str
    port: int
    unit: str


def published(sources: Iterable[Source]) -> Iterator[Published]:
    """The host's ports that PublishPort= and --publish name; random and unclear ones left out."""
    for source in sources:
        for place, text in _texts(source):
            match = _PORT.fullmatch(text)
            if match is None or not match["host"] or not _exists(match["host"]):
                continue
            first, _, last = match["host"].partition("-")
            yield Published(
                match["protocol"] or "tcp",
                _address(match["ip"] or ""),
                int(first or 0),
                int(last or first or 0),
                source,
                place,
            )


def impossible(sources: Iterable[Source]) -> Iterator[Fault]:
    """Ports that no host and no container has."""
    for source in sources:
        for place, text in _texts(source):
            match = _PORT.fullmatch(text)
            for ports in (match["host"], match["inside"]) if match else ():
                if ports and not _exists(ports):
                    yield source.fault(place, f"there is no port {ports}")


def _exists(ports: str) -> bool:
    """Whether a port, or a range of them, is between 0 and 65535; "" is a random one."""
    first, _, last = ports.partition("-")
    numbers = [text for text in (first, last) if text]
    if any(len(text) > 5 or int(text) > 65535 for text in numbers):
        return False
    return len(numbers) < 2 or int(first) <= int(last)


def collisions(found: Sequence[Published]) -> Iterator[Fault]:
    """Ports that two quadlets want, of one deployment or of two."""
    ordered = sorted(found, key=lambda item: (item.protocol, item.first))
    for number, item in enumerate(ordered):
        for other in ordered[number + 1 :]:
            if other.protocol != item.protocol or other.first > item.last:
                break
            if item.meets(other) and not _instances(item.source, other.source):
                yield _collision(item, other)


def busy(
    found: Iterable[Published], sockets: Sequence[Socket], own: Iterable[str]
) -> Iterator[Fault]:
    """Ports that somebody listens on who is none of our `own` units, or an instance of one."""
    ours = set(own)
    theirs = [socket for socket in sockets if ours.isdisjoint(names_of(socket.unit))]
    for item in found:
        for socket in theirs:
            taken = is_in(socket, item.range)
            same = "" in (item.address, socket.address) or item.address == socket.address
            if taken and same:
                who = socket.unit or "another process"
                message = f"port {socket.port}/{socket.protocol} is in use by {who}"
                yield item.source.fault(item.place, message)
                break


def is_in(socket: Socket, wanted: Range) -> bool:
    """Whether `socket` listens on one of the ports."""
    return wanted.first <= socket.port <= wanted.last and wanted.protocol == socket.protocol


def listening(wanted: Iterable[Range], proc: Path = Path("/proc")) -> list[Socket]:
    """Who listens on the `wanted` ports of this host, as far as this user may see."""
    ports = {(item.protocol, n) for item in wanted for n in range(item.first, item.last + 1)}
    inodes = {
        inode: socket
        for protocol in _LISTENING
        for inode, socket in _table(proc, protocol)
        if (protocol, socket.port) in ports
    }
    units = _units(proc, inodes.keys()) if inodes else {}
    return [
        Socket(item.protocol, item.address, item.port, units.get(inode, ""))
        for inode, item in inodes.items()
    ]


def _collision(one: Published, other: Published) -> Fault:
    first, second = sorted((one, other), key=lambda item: (item.source.deployment, item.place.file))
    same = first.source.deployment == second.source.deployment
    owner = "" if same else f" of deployment {first.source.deployment}"
    where = f"{first.place.file}:{first.place.setting.line}{owner}"
    return second.source.fault(second.place, f"port {second} is published by {where} too")


def _instances(one: Source, other: Source) -> bool:
    """Whether both are one template or its instances: their ports differ by what %i is."""
    names = [source.name.partition("@") for source in (one, other)]
    return one is other or (names[0][0] == names[1][0] and bool(names[0][1] and names[1][1]))


def _texts(source: Source) -> Iterator[tuple[Located, str]]:
    for place in source.values(source.section, "PublishPort"):
        for word in words(place.setting.value):
            yield place, word
    for place in source.values(source.section, "PodmanArgs"):
        for text in options(words(place.setting.value), "-p", "--publish"):
            yield place, text


def _address(text: str) -> str:
    try:
        address = ipaddress.ip_address(text.strip("[]"))
    except ValueError:
        return ""
    return "" if address.is_unspecified else str(address)


def _table(proc: Path, protocol: str) -> Iterator[tuple[str, Socket]]:
    """The listening sockets of /proc/net/tcp and the like, by inode; proc_net(5)."""
    for family in ("", "6"):
        try:
            lines = (proc / f"net/{protocol}{family}").read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            address, _, port = fields[1].rpartition(":")
            if fields[3] == _LISTENING[protocol]:
                yield fields[9], Socket(protocol, _unhex(address), int(port, 16), "")


def _unhex(text: str) -> str:
    raw = bytes.fromhex(text)
    swapped = b"".join(raw[start : start + 4][::-1] for start in range(0, len(raw), 4))
    return _address(str(ipaddress.ip_address(swapped)))


def _units(proc: Path, inodes: Iterable[str]) -> Mapping[str, str]:
    """The unit of a process that has each of the sockets."""
    wanted = {f"socket:[{inode}]": inode for inode in inodes}
    found: dict[str, str] = {}
    for process in proc.iterdir():
        if process.name.isdigit():
            for inode in _sockets(process, wanted):
                found.setdefault(inode, _unit(process))
    return found


def _sockets(process: Path, wanted: Mapping[str, str]) -> Iterator[str]:
    folder = process / "fd"
    with contextlib.suppress(OSError):
        for descriptor in os.listdir(folder):
            with contextlib.suppress(OSError):
                target = os.readlink(folder / descriptor)
                if target in wanted:
                    yield wanted[target]


def _unit(process: Path) -> str:
    try:
        group = (process / "cgroup").read_text().strip().rpartition("::")[2]
    except OSError:
        return ""
    parts = [part for part in group.split("/") if part.endswith((".service", ".scope", ".socket"))]
    known = [part for part in parts if not part.startswith(("user@", "libpod-"))]
    return known[0] if known else "".join(parts[:1])
