"""What on the host is no longer as the current generation has it, and what mends it.

Reading changes nothing. The order of the result is that in which things are to be mended. What is
no drift: a quadlet binary or an image that is newer (podman auto-update), what a unit's own
condition keeps from starting, what only a target has that nobody started, and all of data/.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from leger import (
    changes,
    emitted,
    generation,
    journal,
    overrides,
    owed,
    podman,
    properties,
    starters,
    tree,
)
from leger.errors import LegerError
from leger.finding import in_scope
from leger.generation import Generation
from leger.model import Built, Unit
from leger.properties import Ending
from leger.scope import Scope
from leger.systemd import Manager, State

APPLY = "leger apply"


class Kind(StrEnum):
    """What has drifted."""

    UNITS_FILE = "units-file"  # units.json is not that of the current generation
    EMITTED = "emitted"  # the generator has emitted another generation, or nothing
    TREE = "tree"  # a tree in store/ was changed or removed
    STALE = "stale"  # a unit that runs with what a file was before it was put right
    NOT_LOADED = "not-loaded"  # a unit that systemd does not know
    REFUSED = "refused"  # a unit whose text systemd does not take
    MASKED = "masked"
    OVERRIDDEN = "overridden"  # a file elsewhere wins over the whole unit
    DROPIN = "drop-in"  # a drop-in that is not the deployment's
    FAILED = "failed"
    REMOVED = "removed"  # a container, network or volume that is gone from podman
    ENDED = "ended"  # a unit that ended by itself and without a failure
    STOPPED = "stopped"  # by hand
    NOT_STARTED = "not-started"  # a unit that a boot starts, and nobody did


class Repair(StrEnum):
    """What `leger apply` does about it.

    EMIT: puts units.json back and reloads (`settle.mend` does). TREE: makes the tree anew from
    its commit (`prepare.prepare` does), then restarts those of `units` that run. RESTART and
    START: `units`. ASIDE: moves `file` aside, on an administrator's word only and never by the
    timer. ASKED: starts `units`, with --start only. NOTHING: shown, and left to who did it.
    """

    EMIT = "emit"
    TREE = "tree"
    RESTART = "restart"
    START = "start"
    ASIDE = "aside"
    ASKED = "asked"
    NOTHING = "nothing"


@dataclass(frozen=True)
class Drift:
    """One thing that is not as it should be.

    `message` says what it is, `mend` the command that mends it; `unit`, `file` and `deployment`
    are "" where it is about none; `units` are those that the repair is to restart or start.
    """

    kind: Kind
    message: str
    repair: Repair
    mend: str
    deployment: str = ""
    unit: str = ""
    file: str = ""
    units: tuple[str, ...] = ()

    @property
    def is_mended(self) -> bool:
        """Whether `leger apply` mends it without being asked for more."""
        return self.repair not in (Repair.NOTHING, Repair.ASKED)


@dataclass(frozen=True)
class Seen:
    """The units of a generation that can run, by name (a template by its instances), and how."""

    units: Mapping[str, Unit]
    states: Mapping[str, State]


def read(
    scope: Scope, manager: Manager, current: Generation, *, thorough: bool = False
) -> tuple[Drift, ...]:
    """How the host differs from `current`; `thorough` reads every file of every tree, and asks
    podman for every container. Otherwise only what looks touched is read, and podman is asked
    only about what is missing on the disk.
    """
    return compare(scope, current, observe(scope, manager, current), thorough=thorough)


def observe(scope: Scope, manager: Manager, current: Generation) -> Seen:
    """The units of `current` as they are. One that the manager could load and has not is down."""
    loaded = manager.present()
    units = {
        name: unit
        for built in current.compiled.deployments.values()
        for unit in built.units.values()
        for name in changes.names(unit, loaded)
    }
    there = overrides.generated(scope)
    idle = State("loaded", "inactive", "dead")
    present = (n for n in units if any(file in there for file in overrides.names_of(n)))
    return Seen(units, dict.fromkeys(present, idle) | loaded)


def compare(
    scope: Scope, current: Generation, seen: Seen, *, thorough: bool = False
) -> tuple[Drift, ...]:
    """As `read`, of what was seen."""
    user = scope.name == "user"
    owned = _owned(seen, ("network", "volume", *(("container",) if thorough else ())))
    if owned.get("container"):
        podman.look_at_containers()
    found = (
        *_files(scope, current),
        *_trees(current.compiled.deployments.values(), thorough=thorough),
        *(_stale(scope, seen) if scope.owed.exists() else ()),
        *_overridden(scope, current, seen.units),
        *_units(seen, current.compiled.links, user=user),
        *_objects(seen, owned, thorough=thorough),
    )
    return tuple(replace(one, mend=in_scope(one.mend, user=user)) for one in found)


def _files(scope: Scope, current: Generation) -> Iterator[Drift]:
    if not generation.is_in_place(scope, current.point):
        message = f"{scope.units} is not that of generation {current.number}"
        yield Drift(Kind.UNITS_FILE, message, Repair.EMIT, APPLY, file=str(scope.units))
    noted = emitted.point(scope)
    if noted != current.point:
        what = f"generation {noted.generation}" if noted else "nothing since the boot"
        yield Drift(Kind.EMITTED, f"the generator has emitted {what}", Repair.EMIT, APPLY)


def _trees(deployments: Iterable[Built], *, thorough: bool) -> Iterator[Drift]:
    for built in deployments:
        if not built.tree.digest or not (thorough or tree.is_suspect(built.tree)):
            continue
        touched = changed_files(built)
        if touched:
            message = f"{built.tree.path} was changed by hand: {_some(touched)}"
            place = str(built.tree.path / touched[0])
            users = readers(built, touched)
            yield Drift(Kind.TREE, message, Repair.TREE, APPLY, built.name, "", place, users)


def readers(built: Built, paths: Iterable[str]) -> tuple[str, ...]:
    """The units that read one of `paths`; "." is all of the tree."""
    touched = set(paths)
    return tuple(
        name
        for name, unit in sorted(built.units.items())
        if any("." in touched or changes.covers(e, p) for e in unit.inputs for p in touched)
    )


def changed_files(built: Built) -> list[str]:
    """The files of a deployment's tree that are not as they were written; "." if all is gone."""
    known = built.tree.files
    try:
        present = tree.read(built.tree.path).files
    except LegerError:
        return ["."] if not built.tree.path.is_dir() else sorted(known)
    return sorted(path for path in {*known, *present} if known.get(path) != present.get(path))


def _stale(scope: Scope, seen: Seen) -> Iterator[Drift]:
    running = [
        name
        for name, unit in seen.units.items()
        if (state := seen.states.get(name, State())).stoppable
        and not (unit.oneshot and state.sub == "exited")
    ]
    for name, why in owed.read(scope, running).items():
        message = f"was not restarted since: {why}"
        yield _of(seen.units[name], name, Kind.STALE, message, Repair.RESTART)


def _some(paths: list[str]) -> str:
    return ", ".join(paths[:3]) + (f" and {len(paths) - 3} more" if len(paths) > 3 else "")


def _overridden(scope: Scope, current: Generation, units: Mapping[str, Unit]) -> Iterator[Drift]:
    found = overrides.find(scope, units, current.compiled.files)
    systemctl = "systemctl --user" if scope.name == "user" else "systemctl"
    for name, path in found.masks.items():
        mend = f"{systemctl} unmask {name}"
        one = _of(units[name], name, Kind.MASKED, f"masked by {path}", Repair.NOTHING)
        yield replace(one, mend=mend, file=str(path))
    for name, path in found.units.items():
        one = _of(units[name], name, Kind.OVERRIDDEN, f"overridden by {path}", Repair.ASIDE)
        yield replace(one, file=str(path))
    for name, paths in found.dropins.items():
        message = f"changed by {_some([str(path) for path in paths])}"
        one = _of(units[name], name, Kind.DROPIN, message, Repair.NOTHING)
        yield replace(one, mend=f"{systemctl} revert {name}", file=str(paths[0]))


def _of(unit: Unit, name: str, kind: Kind, message: str, repair: Repair) -> Drift:
    mend = f"{APPLY} --start" if repair is Repair.ASKED else APPLY
    return Drift(kind, message, repair, mend, unit.deployment, name, units=(name,))


def _units(seen: Seen, links: Mapping[str, str], *, user: bool) -> Iterator[Drift]:
    units, states, down = seen.units, seen.states, []
    wanted = _wanted(seen, links, user=user)
    manager = "systemctl --user" if user else "systemctl"
    for name, unit in units.items():
        state = states.get(name, State())
        if state.load == "not-found":
            yield _of(unit, name, Kind.NOT_LOADED, "not loaded", Repair.EMIT)
        elif state.load in ("bad-setting", "error"):
            message = f"systemd refuses it ({state.load})"
            found = _of(unit, name, Kind.REFUSED, message, Repair.NOTHING)
            yield replace(found, mend=f"{manager} status {name}")
        elif state.load == "loaded" and (
            state.active == "failed" or (name in wanted and _rests(unit, state))
        ):
            down.append(name)
    for name, ending in properties.endings(down, user=user).items():
        removed = ""
        if ending.by_itself:
            removed = journal.removed_by(name, _resource(units[name], name), user=user)
        told = _down(states[name], units[name], ending, removed)
        if told:
            found = _of(units[name], name, *told)
            is_job = told[2] is Repair.START and name not in wanted
            yield (
                replace(found, repair=Repair.NOTHING, mend=f"leger why {name}") if is_job else found
            )


def _rests(unit: Unit, state: State) -> bool:
    return state.active == "inactive" and unit.kind not in changes.HELPERS


def _wanted(seen: Seen, links: Mapping[str, str], *, user: bool) -> frozenset[str]:
    """Those of the units that are down which are to run, perhaps with their pod or for who uses
    them; the others are jobs.
    """
    down = {
        name: unit
        for name, unit in seen.units.items()
        if (state := seen.states.get(name)) and state.active in ("inactive", "failed")
    }
    begun = starters.begun({*down, *(u.pod for u in down.values())}, links, seen.states, user=user)
    return frozenset(
        name
        for name, unit in down.items()
        if unit.kind in changes.HELPERS or {name, unit.pod} & begun
    )


def _down(
    state: State, unit: Unit, ending: Ending, removed: str
) -> tuple[Kind, str, Repair] | None:
    """What it means that a unit does not run; None if that is as it should be."""
    if ending.stopped:
        return Kind.STOPPED, "stopped by hand", Repair.ASKED
    if removed:
        return Kind.REMOVED, f"its container was ended by {removed}", Repair.START
    if state.active == "failed":
        return Kind.FAILED, f"failed: {ending.reason}", Repair.START
    if not ending.started and not ending.skipped:
        return Kind.NOT_STARTED, "not started since the boot", Repair.START
    if ending.by_itself and not unit.oneshot:
        return Kind.ENDED, "ended by itself", Repair.ASKED
    return None


def _owned(seen: Seen, kinds: Iterable[str]) -> dict[str, dict[str, str]]:
    """The names in podman of what the units that are up own, by kind and unit."""
    return {
        kind: {
            name: resource
            for name, unit in seen.units.items()
            if unit.kind == kind
            and not unit.oneshot
            and seen.states.get(name, State()).active == "active"
            and (resource := _resource(unit, name))
        }
        for kind in kinds
    }


def _objects(
    seen: Seen, owned: Mapping[str, Mapping[str, str]], *, thorough: bool
) -> Iterator[Drift]:
    """What podman does not have although its unit is up."""
    for kind, wanted in owned.items():
        for name in podman.missing(kind, wanted, thorough=thorough):
            message = f"podman has no {kind} {wanted[name]} any more"
            yield _of(seen.units[name], name, Kind.REMOVED, message, Repair.RESTART)


def _resource(unit: Unit, name: str) -> str:
    """The name of what the unit owns in podman; "" if it cannot be told from outside."""
    instance = name.partition("@")[2].rpartition(".")[0]
    resource = unit.resource.replace("%i", instance) if instance else unit.resource
    return "" if "%" in resource else resource
