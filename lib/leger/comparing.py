"""What a switch would do on this host: two sets, compared with what the manager says runs."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace

from leger import changes
from leger.changes import Changes
from leger.member import Member
from leger.model import Built, Compiled
from leger.systemd import Manager, State, settled, settled_states


def decide(
    manager: Manager,
    old: Compiled,
    new: Compiled,
    running: Mapping[str, bool] | None = None,
    due: Mapping[str, str] | None = None,
) -> Changes:
    """What turns `old`, as it runs now, into `new`; changes nothing.

    `running` are units that count as running although they do not: they did before a switch that
    went wrong. `due` are units that restart if they run, whether they changed or not, and why; a
    template there stands for its instances.
    """
    both = [*old.deployments.values(), *new.deployments.values()]
    loaded = instances(manager, both)
    units = {name: unit for built in old.deployments.values() for name, unit in built.units.items()}
    before = changes.members(old.deployments.values(), loaded)
    named = {name for unit in units.values() for name in unit.instances}
    after = changes.members(new.deployments.values(), (n for n in loaded if n not in named))
    after |= dict(_due(after, due or {}))
    known = _states(manager, before, after, units)
    with_it: dict[str, frozenset[str]] = {}

    def state(name: str) -> State:
        if name not in known:
            known.update({name: State()} | settled_states(manager, [name]))
        found = known[name]
        if (running or {}).get(name) and not found.live:
            return State(found.load, "failed", found.sub)
        return found

    def stopped_with(name: str) -> frozenset[str]:
        if name not in with_it:
            with_it[name] = manager.stopped_with(name)
        return with_it[name]

    return changes.compare(before, after, state, stopped_with, manager.can_reload)


def _due(members: Mapping[str, Member], due: Mapping[str, str]) -> Iterator[tuple[str, Member]]:
    for name, member in members.items() if due else ():
        why = due.get(name) or due.get(changes.template_of(name))
        if why:
            yield name, replace(member, due=why)


def instances(manager: Manager, deployments: Iterable[Built]) -> list[str]:
    """The loaded instances of the templates among the units of `deployments`."""
    templates = {name for built in deployments for name in built.units if changes.is_template(name)}
    return manager.instances(sorted(templates))


def _states(
    manager: Manager, before: Iterable[str], after: Iterable[str], units: Collection[str]
) -> dict[str, State]:
    """How the units of both sets run. Of those that are new it matters whether they are loaded.

    To ask of a unit by its name makes the manager read its files: of a thousand, that takes long.
    And an instance of one of the templates among `units` it could load, although nobody ever had
    it: without being asked, it has what runs.
    """
    present = manager.present()
    states = dict.fromkeys(before, State("loaded"))
    new = [name for name in after if name not in states and name not in present]
    fresh = [name for name in new if changes.template_of(name) not in units]
    states |= dict.fromkeys(new, State())
    states |= {name: present[name] for name in (*states, *after) if name in present}
    return settled(manager, states | manager.states(fresh))
