"""What turns one set of units into another: what to stop, restart and start, and why.

Nothing here touches the host: two sets, the states of their units and who stops with whom go in,
a list comes out. The rules and where they come from:

- A unit changed if its normalised text, what it reads, its secrets, or something that it depends
  on changed. A unit that did not change is not touched.
- What goes away or changes the name of its Podman object is stopped under its old definition,
  before the switch; so is what others stop with (a network with its users, a pod with its
  members, a socket with its service), since a restart would take them along half-way.
- What ran or failed before runs afterwards. What an administrator stopped stays stopped, a
  finished job is not run again because it changed; new units run if a boot would start them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from leger.member import Member, Members
from leger.model import Built, Unit
from leger.systemd import State

HELPERS = frozenset({"network", "volume", "image", "build", "artifact"})
_PASSED_ON = frozenset({"network", "image", "build", "artifact", "pod"})
_KUBE = "kube"
_ORDER = {"network": 0, "volume": 0, "image": 0, "artifact": 0, "build": 1, "pod": 3}


@dataclass(frozen=True)
class Changes:
    """The steps of a switch, each in the order in which it is to be done.

    `stop` happens under the old definitions; `networks` are the Podman networks to remove then;
    `restart`, `reload` (those of which only a secret changed) and `start` follow the
    daemon-reload. `held` were stopped, and a pod that is started would
    take them along: they are stopped again. `gone` are the units that exist no longer, `why`
    says of each unit that is touched why, `warnings` what will not take effect by itself.
    """

    stop: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    restart: tuple[str, ...] = ()
    reload: tuple[str, ...] = ()
    start: tuple[str, ...] = ()
    held: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()
    why: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def _kinds(units: Mapping[str, Member]) -> set[str]:
    return {member.unit.kind for member in units.values()}


def covers(entry: str, path: str) -> bool:
    """Whether `entry`, one of a unit's inputs, is the file `path` or a folder that holds it."""
    return entry in (".", path) or path.startswith(f"{entry}/")


def members(built: Iterable[Built], loaded: Iterable[str] = ()) -> dict[str, Member]:
    """The units of deployments by name; a template by its known and its `loaded` instances."""
    running = tuple(loaded)
    found: dict[str, Member] = {}
    for deployment in built:
        make = Members(deployment).of
        for unit in deployment.units.values():
            found |= {name: make(unit, name) for name in names(unit, running)}
    return found


def names(unit: Unit, loaded: Iterable[str] = ()) -> tuple[str, ...]:
    """Under which names `unit` can run: its own, or those of its known and `loaded` instances."""
    if not is_template(unit.name):
        return (unit.name,)
    return (*unit.instances, *(name for name in loaded if template_of(name) == unit.name))


def started_with(built: Iterable[Built], begun: Iterable[str]) -> tuple[str, ...]:
    """`begun`, and the units that their quadlets refer to, directly or not: what starts with them.

    A build or an image is run again by each start of its users, and counts against its own limit.
    """
    units = {name: unit for deployment in built for name, unit in deployment.units.items()}
    found: dict[str, None] = {}
    waiting = list(begun)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found[name] = None
            unit = units.get(name) or units.get(template_of(name))
            waiting += unit.depends if unit else ()
    return tuple(found)


def is_template(name: str) -> bool:
    """Whether `name` is a template (mail@.service), which cannot itself run."""
    return "@." in name


def template_of(name: str) -> str:
    """The template that the instance `name` belongs to; "" if it is none."""
    stem, at, rest = name.partition("@")
    return f"{stem}@.{rest.rpartition('.')[2]}" if at and not is_template(name) else ""


def compare(
    old: Mapping[str, Member],
    new: Mapping[str, Member],
    state: Callable[[str], State],
    stopped_with: Callable[[str], frozenset[str]],
    can_reload: Callable[[str], bool] = lambda _name: False,
) -> Changes:
    """What turns `old` into `new`.

    `state` yields how a unit runs now, `stopped_with` what the manager stops together with it,
    `can_reload` whether it can take a new secret without a restart.
    """
    return _Comparison(old, new, state, stopped_with, can_reload).changes()


class _Comparison:
    def __init__(
        self,
        old: Mapping[str, Member],
        new: Mapping[str, Member],
        state: Callable[[str], State],
        stopped_with: Callable[[str], frozenset[str]],
        can_reload: Callable[[str], bool],
    ) -> None:
        self.old, self.new = old, new
        self._state, self.stopped_with, self._can_reload = state, stopped_with, can_reload
        self.why = self._changed()

    def changes(self) -> Changes:
        gone = [name for name in self.old if name not in self.new]
        stop = self._closure([*filter(self._stoppable, gone), *self._heavy()])
        running = [
            name for name in self.why if name in self.old and name not in stop and self._live(name)
        ]
        reload = [name for name in running if self._is_reloaded(name)]
        restart = [name for name in running if name not in reload]
        start = [
            *(name for name in stop if name not in gone and self._is_to_run(name)),
            *(name for name in self.new if name not in stop and self._is_new_to_run(name)),
        ]
        reasons = self.why | dict.fromkeys(gone, "removed")
        for name in stop:
            reasons.setdefault(name, "stops together with what changed")
        for name in start:
            reasons.setdefault(name, "a boot starts it now")
        return Changes(
            stop=tuple(reversed(self._ordered(stop))),
            networks=tuple(dict.fromkeys(self._networks())),
            restart=tuple(self._ordered(restart)),
            reload=tuple(self._ordered(reload)),
            start=tuple(self._ordered(dict.fromkeys(start))),
            held=tuple(self._held(start)),
            gone=tuple(gone),
            why={name: reasons[name] for name in sorted({*stop, *running, *start, *gone})},
            warnings=tuple(self._warnings()),
        )

    def _changed(self) -> dict[str, str]:
        """Every unit of the new set that is not as it was, with the reason."""
        why: dict[str, str] = {}
        for name, member in self.new.items():
            before = self.old.get(name)
            if before is None:
                why[name] = "new"
            elif not member.is_as(before) and not self._only_warned(name):
                why[name] = member.reason(before)
        while more := dict(self._passed_on(why)):
            why |= more
        return why

    def _passed_on(self, why: Mapping[str, str]) -> Iterable[tuple[str, str]]:
        for name in self.new:
            if name not in why and name in self.old:
                changed = self._changed_dependency(name, why)
                if changed:
                    yield name, f"uses {self.new[changed].unit.source}, which changed"

    def _changed_dependency(self, name: str, why: Mapping[str, str]) -> str:
        """A unit that `name` depends on in such a way that its change is one of `name`."""
        for other in self.new[name].unit.depends:
            if other in why and other in self.old and self._passes_on(other):
                return other
        return ""

    def _passes_on(self, name: str) -> bool:
        unit = self.new[name].unit
        return unit.kind in _PASSED_ON or self._renamed(name)

    def _only_warned(self, name: str) -> bool:
        """A volume keeps its data and with it its definition, unless it is another volume; and a
        unit may ask to be left alone when a secret is bound elsewhere.
        """
        if self.new[name].due:
            return False
        if self._only_secrets(name) and self.new[name].rebinding == "none":
            return True
        return self.new[name].unit.kind == "volume" and not self._renamed(name)

    def _only_secrets(self, name: str) -> bool:
        return self.new[name].differs_in_secrets_only(self.old[name])

    def _is_reloaded(self, name: str) -> bool:
        """Whether only a secret changed, and the unit takes that by a reload."""
        return (
            self._only_secrets(name)
            and not self._changed_dependency(name, self.why)
            and self.new[name].rebinding == "reload"
            and self._state(name).active == "active"
            and self._can_reload(name)
            and "\nUser=" not in self.new[name].unit.normal  # its hook has to run as that user
        )

    def _renamed(self, name: str) -> bool:
        before, after = self.old.get(name), self.new.get(name)
        return (
            before is not None and after is not None and before.unit.resource != after.unit.resource
        )

    def _heavy(self) -> list[str]:
        """Changed units that must be stopped before the switch instead of restarted after it."""
        changed = [name for name in self.why if self._stoppable(name)]
        return [name for name in changed if self._is_heavy(name)] + self._empty_pods(changed)

    def _is_heavy(self, name: str) -> bool:
        unit = self.new[name].unit
        return (
            name not in self.old
            or self._renamed(name)
            or unit.kind in _PASSED_ON
            or name.endswith(".socket")
            or any(self._stoppable(other) for other in self.stopped_with(name))
        ) and not self._finished(name)

    def _empty_pods(self, changed: list[str]) -> list[str]:
        """Pods that would end by themselves because all that runs in them is restarted."""
        pods = {self.new[name].unit.pod for name in changed} - {""}
        return [
            pod
            for pod in sorted(pods)
            if self._stoppable(pod)
            and all(
                name in self.why
                for name, member in self.old.items()
                if member.unit.pod == pod and self._stoppable(name)
            )
        ]

    def _closure(self, names: Iterable[str]) -> dict[str, None]:
        """`names` and all that stops with them, as far as it runs."""
        found: dict[str, None] = {}
        waiting = list(names)
        while waiting:
            name = waiting.pop()
            is_hosts = name not in self.old and name.endswith((".target", ".slice"))
            if name in found or is_hosts:
                continue
            found[name] = None
            waiting += [other for other in self._stopping_with(name) if self._stoppable(other)]
        return found

    def _stopping_with(self, name: str) -> list[str]:
        ours = []
        if name in self.old and self.old[name].unit.kind in _PASSED_ON:
            ours = [other for other, one in self.old.items() if name in one.unit.depends]
        return sorted({*ours, *self.stopped_with(name)})

    def _networks(self) -> Iterable[str]:
        for name, member in self.old.items():
            if member.unit.kind == "network" and (name not in self.new or name in self.why):
                yield member.unit.resource
        if _KUBE in _kinds(self.old) - _kinds(self.new):
            yield "podman-default-kube-network"

    def _warnings(self) -> Iterable[str]:
        for name, member in self.new.items():
            before = self.old.get(name)
            if before is None or member.is_as(before) or not self._only_warned(name):
                continue
            if member.unit.kind != "volume":
                yield f"{name}: {member.reason(before)}: from its next start on"
            else:
                yield (
                    f"{member.unit.source}: the volume {member.unit.resource} exists and keeps its"
                    " options; only removing it (with its data) would apply the new ones"
                )

    def _live(self, name: str) -> bool:
        return self._state(name).live and not self._finished(name)

    def _held(self, start: Iterable[str]) -> Iterable[str]:
        """Members of pods that start, which were stopped; a pod's unit wants all of them."""
        begun = set(start)
        for name, member in self.old.items():
            stays = name in self.new and name not in begun and member.unit.pod in begun
            if stays and not self._state(name).live:
                yield name

    def _stoppable(self, name: str) -> bool:
        return self._state(name).stoppable

    def _finished(self, name: str) -> bool:
        """A job that has done its work: it is not run again because it changed."""
        member = self.old.get(name)
        return bool(member and member.unit.oneshot and self._state(name).sub == "exited")

    def _is_to_run(self, name: str) -> bool:
        return self._state(name).live

    def _is_new_to_run(self, name: str) -> bool:
        """Whether a boot would start it now and would not have started it before."""
        member, before = self.new[name], self.old.get(name)
        if before is None:
            wanted = member.unit.wanted or member.unit.kind in HELPERS
            return wanted and self._state(name).load == "not-found"
        if member.unit.kind in HELPERS:
            return name in self.why and not self._live(name)
        return _starts(member, name) and not _starts(before, name) and not self._live(name)

    def _ordered(self, names: Iterable[str]) -> list[str]:
        """`names`, what others depend on first."""
        return sorted(names, key=lambda name: (self._rank(name), name))

    def _rank(self, name: str) -> int:
        member = self.new.get(name) or self.old.get(name)
        if name.endswith(".socket"):
            return 2
        return 4 if member is None else _ORDER.get(member.unit.kind, 4)


def _starts(member: Member, name: str) -> bool:
    """Whether a boot starts the unit `name`, perhaps an instance of the template `member`."""
    return member.unit.wanted and name in (member.unit.name, *member.unit.instances)
