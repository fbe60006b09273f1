"""Generations on disk: what is written can be read, what is damaged is refused by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from leger import generation
from leger.errors import LegerError
from leger.generation import EMPTY, Current, Generation, Point
from leger.model import Binding, Built, Compiled, Tree, Unit
from leger.prepare import Prepared
from leger.scope import Scope
from leger_generator import plan


@pytest.fixture
def scope(tmp_path: Path) -> Scope:
    return Scope.system(tmp_path)


def compiled(text: str = "[Service]\nExecStart=/bin/true\n") -> Compiled:
    unit = Unit(
        name="web.service",
        deployment="web",
        kind="container",
        source="web.container",
        text=text,
        normal=text,
        inputs=("conf",),
        depends=("n-network.service",),
        resource="systemd-web",
        wanted=True,
        image="localhost/hello:1",
        instances=("a",),
    )
    built = Built(
        name="web",
        commit="c" * 40,
        source="https://example.com/web",
        tree=Tree(Path("/var/lib/leger/store/web-1"), "1", {"conf/ä": (0o644, "ff")}),
        units={unit.name: unit},
        bindings=(Binding("token", "prod/token", 3, ("web.service",)),),
        adopted=(Path("/etc/containers/systemd/web.container"),),
        refers=frozenset({"db"}),
    )
    return Compiled(
        deployments={"web": built},
        files={"web.service": {"text": text, "deployment": "web"}},
        links={"multi-user.target.wants/web.service": "../web.service"},
        search=("/etc/containers/systemd",),
        quadlet={"path": "/q", "size": 1, "mtime_ns": 2, "ino": 3, "dev": 4},
    )


def saved(scope: Scope, made: Compiled | None = None) -> Generation:
    made = made or compiled()
    return generation.new(scope, made, {"web": "source: x\n"}, "deploy web").save(scope)


def test_a_generation_reads_back_as_it_was_written(
    scope: Scope, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = saved(scope)
    assert generation.load(scope, written.number) == written
    monkeypatch.setattr(generation, "_loaded", {})
    assert generation.load(scope, written.number) == written


def test_what_a_compile_yields_is_the_same_from_memory_and_from_the_disk(
    scope: Scope,
    prepared: Callable[..., Prepared],
    compiled: Callable[..., Compiled],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With a hook, a template and its instance, a pod, a warning."""
    quadlet = "[Container]\nImage=localhost/hello:1\nSecret=token\n"
    made = compiled(
        prepared(
            "web",
            {
                "web.container": f"{quadlet}Pod=all.pod\n[Install]\nWantedBy=default.target\n",
                "mail@.container": quadlet,
                "mail@a.container": "-> mail@.container",
                "all.pod": "[Pod]\n",
                "data.volume": "[Volume]\nDriver=local\n",
            },
        )
    )
    assert made.faults == ()
    written = generation.new(scope, made, {"web": "source: x\n"}, "deploy web").save(scope)
    from_memory = generation.load(scope, written.number)
    monkeypatch.setattr(generation, "_loaded", {})
    from_disk = generation.load(scope, written.number)
    assert from_memory == from_disk


def test_committing_replaces_units_json_and_keeps_the_one_before(scope: Scope) -> None:
    first = saved(scope)
    generation.commit(scope, first.point)
    second = saved(scope, compiled("[Service]\nExecStart=/bin/false\n"))
    generation.commit(scope, second.point)
    assert second.number == first.number + 1
    assert generation.emitted_point(scope) == second.point
    before = plan.decode(scope.units_previous.read_bytes())
    assert Point(before.generation, before.digest) == first.point


def test_without_a_current_file_nothing_is_deployed(scope: Scope) -> None:
    assert generation.load_current(scope) is None
    assert generation.emitted_point(scope) is None


def test_current_names_the_generation_and_whether_it_was_well(scope: Scope) -> None:
    one = saved(scope)
    Current(one.point, confirmed=False).write(scope)
    assert Current.read(scope) == Current(one.point, confirmed=False)
    Current(one.point, confirmed=True).write(scope)
    assert Current.read(scope) == Current(one.point, confirmed=True)
    assert generation.load_current(scope) == one


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"generation":"x"}', b"\0\xff" * 9])
def test_a_damaged_current_counts_as_none(scope: Scope, content: bytes) -> None:
    saved(scope)
    scope.current.write_bytes(content)
    assert Current.read(scope) is None


def test_a_lost_var_still_tells_which_units_there_were(scope: Scope) -> None:
    """Else the next deploy would leave them running for good, in nobody's hands."""
    generation.commit(scope, saved(scope).point)
    found = generation.load_current(scope)
    assert found is not None
    assert list(found.compiled.deployments["web"].units) == ["web.service"]


@pytest.mark.parametrize("damage", [b"", b"{}", b"not json", b'{"format":2}'])
def test_a_damaged_manifest_is_named(scope: Scope, damage: bytes) -> None:
    one = saved(scope)
    path = generation.manifest_path(scope, one.number)
    path.write_bytes(damage)
    with pytest.raises(LegerError, match=f"{one.number}.json: the manifest"):
        generation.load(scope, one.number)


def test_numbers_are_never_given_twice(scope: Scope) -> None:
    one = saved(scope)
    Current(one.point, confirmed=True).write(scope)
    generation.forget(scope, one.number)
    assert generation.numbers(scope) == []
    assert generation.next_number(scope) == one.number + 1


def test_a_full_disk_leaves_the_file_as_it_was(scope: Scope) -> None:
    one = saved(scope)
    generation.commit(scope, one.point)
    scope.units_previous.mkdir()  # what cannot be replaced stands for a disk that refuses
    with pytest.raises(LegerError, match=r"units\.json\.prev"):
        generation.commit(scope, one.point)
    assert generation.emitted_point(scope) == one.point


def test_what_a_reader_would_refuse_is_not_written(scope: Scope) -> None:
    bad = Compiled({}, {"../x": {"text": "", "deployment": "web"}}, {}, (), EMPTY.quadlet)
    with pytest.raises(LegerError, match=r"units\.json cannot be written"):
        generation.new(scope, bad, {}, "").save(scope)
    assert not scope.units.exists()
