"""Which deployments go back together, and what the set is that is put together of two."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from leger import goback, keeping
from leger.generation import EMPTY
from leger.model import Built, Compiled, Fault, Tree, Unit

NAMES = tuple("abcdef")
NAME = st.sampled_from(NAMES)


def compiled(refers: dict[str, set[str]], mark: str = "1") -> Compiled:
    """A set in which each deployment has one unit, whose text is `mark`."""
    deployments = {
        name: Built(
            name,
            mark,
            "/srv",
            Tree(Path(f"/store/{name}-{mark}"), mark, {}),
            {f"{name}.service": Unit(f"{name}.service", name, "container", name, mark, mark)},
            (),
            refers=frozenset(others & refers.keys()),
        )
        for name, others in refers.items()
    }
    files = {f"{name}.service": {"text": mark, "deployment": name} for name in refers}
    links = {f"x.wants/{name}.service": f"../{name}.service" for name in refers}
    return replace(EMPTY, deployments=deployments, files=files, links=links)


SETS = st.dictionaries(NAME, st.sets(NAME, max_size=2))


def test_a_group_are_those_that_refer_to_each_other_either_way_in_either_set() -> None:
    before = compiled({"a": {"b"}, "b": set(), "c": set(), "d": set()})
    after = compiled({"a": set(), "b": set(), "c": {"b"}, "d": set()})
    for name in "abc":
        assert goback.group({name}, before, after) == {"a", "b", "c"}
    assert goback.group({"d"}, before, after) == {"d"}
    assert goback.group({"", "d"}, before, after) == {"d"}


@given(SETS, SETS, st.sets(NAME))
def test_groups_are_whole_and_apart(
    old: dict[str, set[str]], new: dict[str, set[str]], names: set[str]
) -> None:
    sets = compiled(old), compiled(new)
    group = goback.group(names, *sets)
    assert group >= names
    for one in sets:
        for name, built in one.deployments.items():
            for other in built.refers:
                assert (name in group) == (other in group)


@given(SETS, SETS, st.sets(NAME))
def test_what_is_kept_is_as_before_and_the_rest_as_after(
    old: dict[str, set[str]], new: dict[str, set[str]], names: set[str]
) -> None:
    before, after = compiled(old, "1"), compiled(new, "2")
    after = replace(after, faults=tuple(Fault(name, "wrong") for name in sorted(new)))
    mixed = keeping.keep(before, after, names)
    wanted = {n: "1" for n in old if n in names} | {n: "2" for n in new if n not in names}
    assert {name: built.commit for name, built in mixed.deployments.items()} == wanted
    assert {p: f["text"] for p, f in mixed.files.items()} == {
        f"{name}.service": mark for name, mark in wanted.items()
    }
    assert mixed.links.keys() == {f"x.wants/{name}.service" for name in wanted}
    assert {fault.deployment for fault in mixed.faults} == new.keys() - names


def test_a_unit_belongs_to_a_deployment_by_its_template_too() -> None:
    one = replace(EMPTY, files={"m@.service": {"text": "", "deployment": "mail"}})
    assert goback.owner(one, "m@x.service") == "mail"
    assert goback.owner(one, "ssh.service") == ""
