"""Collection: what kept generations name or a process has mounted stays, the rest goes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from leger import collect, disk, generation, staging
from leger.config import Keep
from leger.deployment import Deployment, Target
from leger.generation import EMPTY, Current
from leger.model import Built, Compiled, Tree
from leger.scope import Scope

DIGESTS = [f"{number:016x}" for number in range(6)]


@pytest.fixture
def scope(tmp_path: Path) -> Scope:
    """Six generations, each with a tree of its own; the last is current."""
    scope = Scope.system(tmp_path)
    for digest in DIGESTS:
        tree = scope.store / f"web-{digest}"
        tree.mkdir(parents=True)
        (tree / "file").write_text(digest)
        built = Built("web", "c", "s", Tree(tree, digest, {}), {}, ())
        compiled = replace(EMPTY, deployments={"web": built})
        assert isinstance(compiled, Compiled)
        last = generation.new(scope, compiled, {}, "").save(scope)
    Current(last.point, confirmed=True).write(scope)
    return scope


def present(scope: Scope) -> list[str]:
    return sorted(path.name for path in scope.store.iterdir())


def test_trees_of_forgotten_generations_go(scope: Scope) -> None:
    removed = collect.collect(scope, Keep(2))
    assert [path.name for path in removed] == [f"web-{digest}" for digest in DIGESTS[:4]]
    assert present(scope) == [f"web-{digest}" for digest in DIGESTS[4:]]
    assert generation.numbers(scope) == [5, 6]


def test_the_names_of_deployments_mean_nothing(scope: Scope) -> None:
    """They are keys in units.json, beside its own."""
    names = ("deployments", "files", "generation", "search", "zz")
    trees = {name: Tree(scope.store / f"{name}-{DIGESTS[0]}", DIGESTS[0], {}) for name in names}
    for tree in trees.values():
        tree.path.mkdir()
    built = {name: Built(name, "c", "s", tree, {}, ()) for name, tree in trees.items()}
    last = generation.new(scope, replace(EMPTY, deployments=built), {}, "").save(scope)
    Current(last.point, confirmed=True).write(scope)
    collect.collect(scope, Keep(1))
    assert present(scope) == sorted(
        [*(tree.path.name for tree in trees.values()), "web-" + DIGESTS[5]]
    )


def test_the_tree_of_the_hosts_own_quadlets_stays_with_its_generation(scope: Scope) -> None:
    for digest in DIGESTS[:2]:
        (scope.store / f"_host-{digest}").mkdir()
    compiled = replace(EMPTY, search=(str(scope.store / f"_host-{DIGESTS[1]}"),))
    last = generation.new(scope, compiled, {}, "").save(scope)
    Current(last.point, confirmed=True).write(scope)
    collect.collect(scope, Keep(1))
    assert present(scope) == [f"_host-{DIGESTS[1]}", f"web-{DIGESTS[5]}"]  # and the way back


def test_the_current_generation_stays_however_old(scope: Scope) -> None:
    Current(generation.load(scope, 1).point, confirmed=True).write(scope)
    collect.collect(scope, Keep(2))
    assert 1 in generation.numbers(scope)
    assert f"web-{DIGESTS[0]}" in present(scope)


def test_nothing_goes_while_a_switch_is_under_way(scope: Scope) -> None:
    scope.switch.write_text("{}")
    assert collect.collect(scope, Keep(1)) == []


@pytest.mark.parametrize("file", [generation.manifest_path, generation.units_path])
def test_nothing_goes_when_a_manifest_cannot_be_read(
    scope: Scope, file: Callable[[Scope, int], Path]
) -> None:
    whole = file(scope, 6).read_bytes()
    file(scope, 6).write_bytes(whole[: len(whole) // 2])
    assert collect.collect(scope, Keep(2)) == []
    assert len(present(scope)) == len(DIGESTS)


def test_a_mounted_tree_is_seen(tmp_path: Path) -> None:
    process = tmp_path / "4711"
    (process / "ns").mkdir(parents=True)
    (process / "ns/mnt").symlink_to("mnt:[1]")
    (process / "mountinfo").write_text(
        f"36 35 8:1 /var/lib/leger/store/web-{DIGESTS[1]}/conf /conf ro - ext4 /dev/a rw\n"
        f"37 35 8:1 /lib/leger/store/db-{DIGESTS[2]} /x ro - ext4 /dev/a rw\n"
        "38 35 8:1 /var/lib/leger/store/not-a-tree /y ro - ext4 /dev/a rw\n"
    )
    (tmp_path / "self").mkdir()
    assert collect.mounted(tmp_path) == {f"web-{DIGESTS[1]}", f"db-{DIGESTS[2]}"}


def test_nothing_goes_while_a_plan_is_made_of_trees_that_no_generation_names(scope: Scope) -> None:
    with (
        disk.lock_folder(scope.store, shared=True),
        disk.lock_folder(scope.store, shared=True),
    ):
        assert collect.collect(scope, Keep(1)) == []
    assert len(collect.collect(scope, Keep(1))) == len(DIGESTS) - 2  # and the way back


def test_a_staged_tree_stays(scope: Scope) -> None:
    staged = scope.store / f"db-{DIGESTS[0]}"
    staged.mkdir()
    staging.stage(scope, Target(Deployment("db", "/srv/db"), "c" * 40), staged)
    collect.collect(scope, Keep(1))
    assert staged.name in present(scope)
    staging.discard(scope, "db")
    collect.collect(scope, Keep(1))
    assert staged.name not in present(scope)


def test_the_last_good_generation_stays_as_the_way_back(scope: Scope) -> None:
    for number in (4, 5):
        replace(generation.load(scope, number), bad="it failed").save_manifest(scope)
    collect.collect(scope, Keep(1))
    assert generation.numbers(scope) == [3, 6]
