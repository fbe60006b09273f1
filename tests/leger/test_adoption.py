"""Which of the host's own files come back, and who has their place."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from leger import adoption
from leger.generation import EMPTY
from leger.model import Built, Compiled, Tree, Unit
from leger.scope import Scope


def one(name: str, *adopted: str) -> Compiled:
    """A set of one deployment with one unit, which took over these files."""
    unit = Unit(f"{name}.service", name, "container", f"sub/{name}.container", "", "")
    tree = Tree(Path(f"/store/{name}"), "1", {})
    built = Built(name, "1", "/srv", tree, {unit.name: unit}, (), adopted=tuple(map(Path, adopted)))
    return replace(EMPTY, deployments={name: built})


def aside(scope: Scope, *names: str) -> list[str]:
    """Files of the host's that lie aside."""
    paths = [str(scope.quadlet_folders[1] / name) for name in names]
    for path in paths:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(path)
    adoption.take(scope, paths)
    return paths


def test_what_lies_aside_comes_back_where_it_was(scope: Scope) -> None:
    paths = aside(scope, "a.container", "a.container.d/x.conf")
    assert not any(Path(path).exists() for path in paths)
    assert adoption.can_return(scope, [*paths, "/never/was.container"], ()) == tuple(paths)
    adoption.give_back(scope, paths)
    assert [Path(path).read_text() for path in paths] == paths
    assert adoption.can_return(scope, paths, ()) == ()


def test_what_was_made_anew_is_not_overwritten(scope: Scope) -> None:
    again, other = aside(scope, "a.container", "b.container")
    Path(again).write_text("mine")
    assert adoption.can_return(scope, [again, other], ()) == (other,)


def test_a_name_that_a_deployment_has_stays_aside_with_its_drop_ins(scope: Scope) -> None:
    paths = aside(scope, "a.container", "a.container.d/x.conf", "b.container")
    assert adoption.can_return(scope, paths, {"a.container"}) == (paths[2],)


def test_only_quadlets_are_compiled_with(scope: Scope) -> None:
    paths = aside(scope, "a.network", "a.network.d/x.conf")
    assert adoption.quadlets(scope, paths) == {"a.network": adoption.kept(scope, paths[0])}


def test_a_deployment_keeps_the_place_of_what_it_took_over_before() -> None:
    before = {"a": (Path("/h/a"), Path("/h/c"))}
    found = adoption.carried(one("a", "/h/b", "/h/a"), before)
    assert adoption.lent(found, {"a", "z"}) == {"/h/a", "/h/b", "/h/c"}
    assert adoption.lent(found, {"z"}) == set()


def test_a_unit_stands_in_for_the_file_of_its_quadlets_name() -> None:
    units = [unit for name in "ab" for unit in one(name).deployments[name].units.values()]
    assert adoption.in_place_of(units, ["/h/x/a.container", "/h/b.container.d/y.conf"]) == {
        "a.service"
    }
