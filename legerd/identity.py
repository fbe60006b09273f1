"""Who calls: the peer of a unix socket by the kernel's word, read once when it connects.

A uid alone is not enough: root in a rootful container is uid 0 here too. So the peer's cgroup and
pid namespace are looked at, and the pid is held by a pidfd (or, on kernels without SO_PEERPIDFD,
checked by its start time) so that it cannot have become another process meanwhile.
"""

from __future__ import annotations

import grp
import os
import pwd
import re
import select
import socket
import struct
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from legerd import wire
from legerd.policy import Rule, Subject, allows

SO_PEERGROUPS = 59
SO_PEERPIDFD = 77

_PROC = Path("/proc")
_CONTAINER = re.compile(
    r"libpod-|docker-|crio-|cri-containerd-|machine-.*\.scope$|systemd-nspawn@|lxc\.|kubepods"
    r"|docker$|buildah-|podman-.*\.scope$"
)


class IdentityError(Exception):
    """The caller cannot be identified; it is refused."""


@dataclass(frozen=True)
class Principal:
    """A caller as the audit log names it."""

    hostname: str
    ip: str = ""
    user: str = ""
    tags: tuple[str, ...] = ()

    @cached_property
    def json(self) -> str:
        """This principal in setec's form."""
        user = f',"user":{wire.text(self.user)}' if self.user else ""
        tags = f',"tags":{wire.array(wire.text(tag) for tag in self.tags)}' if self.tags else ""
        host, ip = wire.text(self.hostname), wire.text(self.ip)
        return f'{{"hostname":{host},"ip":{ip}{user}{tags}}}'


@dataclass(frozen=True)
class Caller:
    """Who calls and what it may do; `barred` callers are refused whatever they ask."""

    principal: Principal
    rules: tuple[Rule, ...] = ()
    barred: bool = False
    root: bool = False

    def may(self, action: str, name: str) -> bool:
        """Whether this caller may do `action` on the secret `name`."""
        return not self.barred and allows(self.rules, action, name)


@dataclass(frozen=True)
class Peer:
    """The process at the other end of a unix socket."""

    pid: int
    uid: int
    gids: tuple[int, ...] = ()
    cgroups: tuple[str, ...] = field(default=())
    nested: bool = False

    @property
    def contained(self) -> bool:
        """Whether it runs in a container: by its cgroup, or by a pid namespace of its own."""
        return self.nested or any(map(in_container, self.cgroups))

    @cached_property
    def subject(self) -> Subject:
        """What the policy judges; names are looked up once, at the connection's first call."""
        return Subject(
            uid=self.uid,
            user=user_name(self.uid),
            groups=frozenset(map(group_name, self.gids)),
            unit=system_unit(self.cgroups[0]) if self.cgroups else "",
            contained=self.contained,
        )


def read_peer(connection: socket.socket) -> Peer:
    """The process that connected this unix socket; IdentityError if it is not to be known."""
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    pid, uid, gid = struct.unpack("3i", raw)
    if pid <= 0:
        raise IdentityError("the caller is in another pid namespace")
    handle = _peer_handle(connection)
    try:
        before = _start_time(pid)
        cgroups, nested = _cgroups(pid), _nested(pid)
        alive = _runs(handle) if handle >= 0 else _start_time(pid) == before
    except OSError as error:
        raise IdentityError("the caller has gone") from error
    finally:
        if handle >= 0:
            os.close(handle)
    if not alive:
        raise IdentityError("the caller has gone")
    return Peer(pid, uid, (gid, *_groups(connection)), cgroups, nested)


def in_container(cgroup: str) -> bool:
    """Whether `cgroup` (a path below the cgroup root) is that of a container."""
    parts = cgroup.strip("/").split("/")
    return any(
        _CONTAINER.match(part) or (part == "container" and parts[index - 1].endswith(".scope"))
        for index, part in enumerate(parts)
    )


def system_unit(cgroup: str) -> str:
    """The system unit that `cgroup` belongs to, as sd_pid_get_unit(3) finds it; "" if none."""
    for part in cgroup.strip("/").split("/"):
        name = part.removeprefix("_")
        if not name.endswith(".slice"):
            return name if "." in name else ""
    return ""


def user_name(uid: int) -> str:
    """The login name of `uid`, or its number."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def group_name(gid: int) -> str:
    """The name of the group `gid`, or its number."""
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def _peer_handle(connection: socket.socket) -> int:
    """A pidfd of the peer; -1 where the kernel has none."""
    try:
        return connection.getsockopt(socket.SOL_SOCKET, SO_PEERPIDFD)
    except OSError:
        return -1


def _runs(handle: int) -> bool:
    """Whether the process behind the pidfd has not ended, so that its pid is still its own."""
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    return not poll.poll(0)


def _start_time(pid: int) -> int:
    """Field 22 of proc_pid_stat(5); the name in field 2 may hold blanks and brackets."""
    text = (_PROC / str(pid) / "stat").read_bytes().rpartition(b")")[2]
    return int(text.split()[19])


def _cgroups(pid: int) -> tuple[str, ...]:
    """The peer's cgroup of every hierarchy; systemd's own first (the unified one, if there is)."""
    lines = (_PROC / str(pid) / "cgroup").read_text(errors="replace").splitlines()
    found = []
    for line in lines:
        hierarchy, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        rank = 0 if hierarchy == "0" else 1 if controllers == "name=systemd" else 2
        found.append((rank, path))
    if not found:
        raise IdentityError("the caller has no cgroup")
    return tuple(path for _, path in sorted(found))


def _nested(pid: int) -> bool:
    """Whether the peer is in a pid namespace below this one's (NSpid of proc_pid_status(5))."""
    for line in (_PROC / str(pid) / "status").read_text(errors="replace").splitlines():
        name, _, value = line.partition(":")
        if name == "NSpid":
            return len(value.split()) > 1
    return False


def _groups(connection: socket.socket) -> tuple[int, ...]:
    """The peer's supplementary groups."""
    size = struct.calcsize("i")
    for count in (64, 65536):
        try:
            raw = connection.getsockopt(socket.SOL_SOCKET, SO_PEERGROUPS, count * size)
        except OSError:
            continue
        return struct.unpack(f"{len(raw) // size}i", raw)
    return ()
