"""Going back from units that are not well: what goes back with them, and the switch that does it.

The unit of going back is the group: the deployments that refer to each other, in the set that
failed or in the one before. The group gets its trees of before, as they were compiled then; the
others keep what they were switched to. Each part of it is in switch.json before it is done.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import replace

from leger import adoption, changes, comparing, generation, imageids, keeping, removal, switchfile
from leger.errors import LegerError
from leger.generation import EMPTY, Generation, Point
from leger.model import Compiled
from leger.scope import Scope
from leger.switchfile import Returned, Switch
from leger.systemd import Manager, State


def prepare(scope: Scope, manager: Manager, todo: Switch, bad: Mapping[str, str]) -> Switch:
    """The switch that follows `todo`, whose units `bad` (unit -> reason) are not well.

    Its generation is saved, and nothing else touched. Where there is nothing to go back to it has
    the same target: it then only goes on judging the others.
    """
    failed = generation.load(scope, todo.target.generation)
    base = _base(scope, todo) or failed
    replace(failed, bad=text(bad)).save_manifest(scope)
    before = {item.deployment for item in todo.returned}
    guilty = {owner(failed.compiled, name) for name in bad}
    names = group(guilty - before, failed.compiled, base.compiled) - before
    restored = _restored(failed.compiled, base.compiled, names)
    if _is_same(failed.compiled, restored):
        return _without(todo, failed.compiled, bad)
    returned = _returned(failed, base, names, bad)
    run = dict(_ran(todo, failed.compiled, base.compiled, names))
    planned = comparing.decide(manager, failed.compiled, restored, run)
    images = imageids.named(restored, (*planned.restart, *planned.start))
    restore = adoption.lent(failed.compiled, names) & {*todo.adopt}
    hosts = _the_hosts(failed.compiled, restore, todo.run)
    watch = [name for name in started(todo) if name not in bad]
    return Switch(
        origin=failed.point,
        target=_target(scope, failed, base, restored, names).save(scope).point,
        base=todo.base,
        boot=switchfile.boot_id(),
        stop=planned.stop,
        networks=planned.networks,
        restart=planned.restart,
        reload=planned.reload,
        start=(*_resumed(manager, planned.start, planned.restart, run), *hosts),
        held=planned.held,
        gone=planned.gone,
        watch=tuple(name for name in watch if owner(restored, name) not in {"", *names}),
        run=todo.run,
        adopt=tuple(sorted(adoption.lent(base.compiled, names) & {*todo.restore})),
        restore=tuple(sorted(restore)),
        definitions={name: text for name, text in todo.previous.items() if name in names},
        previous=todo.previous,
        secrets=_no_longer(todo.secrets, removal.unbound, failed.compiled, restored, base.compiled),
        images=_no_longer(todo.images, removal.unbuilt, failed.compiled, restored, base.compiled),
        tags={name: id_ for name, id_ in base.images.items() if name in images},
        timeout=todo.timeout,
        quiet=todo.quiet,
        bad={**todo.bad, **bad},
        lost=(*todo.lost, *(name for name in bad if owner(failed.compiled, name) in before)),
        returned=(*todo.returned, *returned),
        refused=(*todo.refused, *(item for item in returned if item.commit)),
    )


def _base(scope: Scope, todo: Switch) -> Generation | None:
    """What `todo` came from; None if that cannot be read: then there is nothing to go back to."""
    try:
        return load_or_empty(scope, todo.base)
    except LegerError:
        return None


def group(names: Collection[str], *sets: Compiled) -> frozenset[str]:
    """`names` and all deployments that refer to them or that they refer to, in any of `sets`."""
    near: dict[str, set[str]] = {}
    for compiled in sets:
        for name, built in compiled.deployments.items():
            for other in built.refers:
                near.setdefault(name, set()).add(other)
                near.setdefault(other, set()).add(name)
    found: set[str] = set()
    waiting = [name for name in names if name]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += near.get(name, ())
    return frozenset(found)


def owner(compiled: Compiled, unit: str) -> str:
    """The deployment that `unit`, an instance of a template perhaps, belongs to; "" if to none."""
    for name in (unit, changes.template_of(unit)):
        if name in compiled.files:
            return str(compiled.files[name]["deployment"])
    return ""


def started(todo: Switch) -> list[str]:
    """The units that the switch has to judge."""
    jobs = todo.jobs(todo.boot)
    names = [*(name for verb, name in jobs if verb != "stop"), *todo.watch]
    return [name for name in dict.fromkeys(names) if name not in todo.lost]


def told(todo: Switch) -> str:
    """What came of a switch in which units were not well, for an administrator."""
    back = ", ".join(item.deployment for item in todo.returned)
    parts = [text(todo.bad)]
    if back:
        parts.append(f"{back} went back to what was there before")
    if todo.lost:
        parts.append(f"nothing to go back to for {', '.join(todo.lost)}")
    return "; ".join(parts)


def load_or_empty(scope: Scope, point: Point) -> Generation:
    """The generation of `point`; before the first it is one without deployments."""
    if point.generation == 0:
        return Generation(0, scope.name, EMPTY)
    return generation.load(scope, point.generation)


def _ran(
    todo: Switch, failed: Compiled, base: Compiled, names: Collection[str]
) -> Iterator[tuple[str, bool]]:
    """Of the units that `todo` touched those of `names`, and of nobody's those of the host that
    stopped with ours: whether each ran.
    """
    for name, was in todo.run.items():
        before = owner(base, name)
        if before in names or not (before or owner(failed, name)):
            yield name, was


def _without(todo: Switch, compiled: Compiled, bad: Mapping[str, str]) -> Switch:
    """`todo` with nothing left to do but to judge the units that are not in `bad`."""
    return replace(
        todo,
        restart=(),
        reload=(),
        start=(),
        held=(),
        watch=tuple(n for n in started(todo) if n not in bad and owner(compiled, n)),
        bad={**todo.bad, **bad},
        lost=(*todo.lost, *bad),
    )


def _restored(failed: Compiled, base: Compiled, names: Collection[str]) -> Compiled:
    """`failed`, in which `names` are as in `base`.

    The texts are those of the quadlet that compiled `base`: with another one in place now, the
    generator has to render them afresh, as it did before.
    """
    return replace(
        keeping.keep(base, failed, names),
        search=tuple(dict.fromkeys((*base.search, *failed.search))),
        quadlet=base.quadlet or failed.quadlet,
    )


def _target(
    scope: Scope, failed: Generation, base: Generation, restored: Compiled, names: Collection[str]
) -> Generation:
    """The generation that holds `restored`, of him who switched to the one that failed."""
    why = f"back from generation {failed.number}: {', '.join(sorted(names))}"
    made = generation.new(scope, restored, _definitions(failed, base, names), why)
    return replace(made, who=failed.who, images={**failed.images, **base.images})


def _is_same(one: Compiled, other: Compiled) -> bool:
    return one.files == other.files and one.links == other.links


def _definitions(failed: Generation, base: Generation, names: Collection[str]) -> dict[str, str]:
    others = {name: text for name, text in failed.definitions.items() if name not in names}
    return others | {name: text for name, text in base.definitions.items() if name in names}


def _returned(
    failed: Generation, base: Generation, names: Collection[str], bad: Mapping[str, str]
) -> tuple[Returned, ...]:
    """Those of `names` that the failed generation had changed; a removed one has no commit.

    Those whose own unit was not well are bad by themselves, the others in this company only.
    """
    reason = text({n: why for n, why in bad.items() if owner(failed.compiled, n) in names})
    commits = {
        name: _content(failed, name)[0] for name in sorted(names) if _differs(failed, base, name)
    }
    guilty = {owner(failed.compiled, name) for name in bad} & commits.keys()
    company = {name: commits[name] for name in guilty or commits}
    return tuple(
        Returned(
            name,
            commit,
            reason,
            failed.definitions.get(name, ""),
            {other: its for other, its in company.items() if other != name and name not in guilty},
        )
        for name, commit in commits.items()
    )


def _differs(failed: Generation, base: Generation, name: str) -> bool:
    return _content(failed, name) != _content(base, name) or (
        failed.definitions.get(name) != base.definitions.get(name)
    )


def _content(one: Generation, name: str) -> tuple[str, str, str]:
    built = one.compiled.deployments.get(name)
    return (built.commit, built.tree.digest, built.settings) if built else ("", "", "")


def _no_longer(
    pending: Iterable[str],
    unneeded: Callable[[Compiled, Compiled], tuple[str, ...]],
    failed: Compiled,
    restored: Compiled,
    base: Compiled,
) -> tuple[str, ...]:
    """What nothing needs after the way back: of `pending`, and what `failed` had brought."""
    still = set(pending) & set(unneeded(base, restored))
    return tuple(sorted({*still, *unneeded(failed, restored)}))


def _resumed(
    manager: Manager,
    start: tuple[str, ...],
    restart: tuple[str, ...],
    run: Mapping[str, bool],
) -> tuple[str, ...]:
    """`start`, and what ran before the failed switch and does not run now."""
    names = [name for name, was in run.items() if was]
    states = manager.states(names)
    idle = [name for name in names if not states.get(name, State()).stoppable]
    return tuple(dict.fromkeys([*start, *(name for name in idle if name not in restart)]))


def _the_hosts(
    failed: Compiled, restore: Collection[str], ran: Mapping[str, bool]
) -> Iterator[str]:
    """The host's own units that ran until `failed` took the place of their files `restore`."""
    units = [unit for built in failed.deployments.values() for unit in built.units.values()]
    names = adoption.in_place_of(units, restore)
    for name, was in ran.items():
        if was and {name, changes.template_of(name)} & names:
            yield name


def text(bad: Mapping[str, str]) -> str:
    """The units that are not well, and why, in one line."""
    return "; ".join(f"{name} {reason}" for name, reason in bad.items())
