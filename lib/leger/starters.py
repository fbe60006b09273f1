"""Who starts a unit: what has it by its [Install], as far as that is up or a boot starts it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from leger import changes, properties
from leger.systemd import State

_STARTS = ("Requires", "BindsTo", "Wants", "Upholds")
_INSTALL_FOLDERS = (".wants", ".requires", ".upholds")


def begun(
    names: Iterable[str],
    links: Mapping[str, str],
    states: Mapping[str, State],
    *,
    user: bool,
) -> frozenset[str]:
    """Those of `names` that `links` have started by something that is up, or that a boot starts.

    What a boot starts is asked of the manager only where it matters, by a few calls.
    """
    starters = installing(links)
    wanted = {name: _of(starters, name) for name in names}
    up = {name for name, state in states.items() if state.stoppable}
    up = _reached(starters, up | {changes.template_of(name) for name in up})
    if any(found and not found & up for found in wanted.values()):
        up |= _reached(starters, at_boot(user=user))
    return frozenset(name for name, found in wanted.items() if found & up)


def at_boot(*, user: bool) -> set[str]:
    """default.target, the targets that it pulls in, and what these do."""
    found: set[str] = set()
    waiting = {"default.target"}
    while waiting:
        shown = properties.show(sorted(waiting), ("Id", *_STARTS), user=user)
        found |= waiting | {one["Id"] for one in shown.values() if "Id" in one}
        pulled = {
            name for one in shown.values() for key in _STARTS for name in one.get(key, "").split()
        }
        waiting = {name for name in pulled - found if name.endswith(".target")}
        found |= pulled
    return found


def installed(links: Mapping[str, str]) -> frozenset[str]:
    """The units that links in .wants folders and the like pull in, by both of their names."""
    return frozenset(installing(links))


def installing(links: Mapping[str, str]) -> dict[str, set[str]]:
    """The same, and the units that each of them is started with."""
    found: dict[str, set[str]] = {}
    for path, target in links.items():
        folder, _, name = path.rpartition("/")
        if folder.endswith(_INSTALL_FOLDERS):
            for one in (name, target.rpartition("/")[2]):
                found.setdefault(one, set()).add(folder.rpartition(".")[0])
    return found


def of(links: Mapping[str, str], name: str) -> set[str]:
    """What `links` have start `name`; for an instance without any, what starts its template."""
    return _of(installing(links), name)


def _of(starters: Mapping[str, Collection[str]], name: str) -> set[str]:
    return {*(starters.get(name) or starters.get(changes.template_of(name), ()))}


def _reached(starters: Mapping[str, Collection[str]], up: Collection[str]) -> set[str]:
    """`up`, and all that the links have started with it."""
    found = set(up)
    while more := {n for n, have in starters.items() if n not in found and found & {*have}}:
        found |= more
    return found
