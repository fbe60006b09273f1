"""Definitions that were lost: what runs keeps its own, and is not taken for removed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from leger import applying, deploying, disk, owndefinitions, planning, prepare, settle, sync, wanted
from leger.cli import deploy as cli
from leger.deploying import Options
from leger.deployment import Target, definitions, dump
from leger.emitted import Note
from leger.errors import LegerError, UsageError
from leger.generation import Current, load_current
from leger.scope import Scope
from leger.switch import Host
from leger.wish import Wish
from planned import deploy
from repositories import Repository, place

Commit = Callable[..., Target]
WEB = "[Container]\nImage=localhost/a:1\n"


@pytest.fixture
def two(host: Host, committed: Commit) -> tuple[Target, Target]:
    """Two deployments of the host's own, and the generator has emitted them."""
    first, second = (committed(name, {f"{name}.container": WEB}) for name in "ab")
    deploy(host, first, second)
    emit(host.scope)
    return first, second


def emit(scope: Scope) -> None:
    current = Current.read(scope)
    assert current is not None
    point = {"generation": current.point.generation, "blake2b": current.point.digest}
    place(scope.runtime / "emitted.json", json.dumps(point))
    assert Note.read(scope) is not None


def removed(scope: Scope) -> frozenset[str]:
    """What the next sync would remove."""
    return sync.look(scope, sync.Options()).todo.removed


def test_a_full_disk_puts_back_all_definitions_or_none(
    host: Host, two: tuple[Target, Target], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder with one of them would say that the others are to go."""
    write = disk.write_file

    def refused(path: Path, data: bytes, mode: int = 0o644) -> None:
        if path.name == "b.yaml":
            raise LegerError(f"{path}: cannot be written: No space left on device")
        write(path, data, mode)

    for lost in (host.scope.deployments, host.scope.etc):
        shutil.rmtree(lost)
        with monkeypatch.context() as full:
            full.setattr(disk, "write_file", refused)
            for _ in range(2):
                with pytest.raises(LegerError, match="No space left"):
                    settle.mend(host)
        assert removed(host.scope) == frozenset()
        assert len(settle.mend(host)) >= 2
        assert definitions(host.scope).keys() == {"a", "b"}
        assert [path.name for path in host.scope.etc.glob(".*")] == []


def test_units_of_another_etc_come_back_once_its_definitions_have(
    host: Host, two: tuple[Target, Target], monkeypatch: pytest.MonkeyPatch
) -> None:
    (host.scope.deployments / "b.yaml").unlink()
    host.scope.units.unlink()
    with monkeypatch.context() as full:
        full.setattr(owndefinitions, "write", _refuse)
        with pytest.raises(LegerError):
            settle.mend(host)
    assert len(settle.mend(host)) == 2
    assert removed(host.scope) == frozenset()


def _refuse(*_given: object) -> None:
    raise LegerError("no space left")


def test_an_install_of_what_runs_writes_the_definition_that_was_lost(
    host: Host, two: tuple[Target, Target]
) -> None:
    (host.scope.deployments / "a.yaml").unlink()
    assert removed(host.scope) == {"a"}
    outcome = deploying.deploy(host, [two[0].deployment], Options())
    assert (outcome.generation, outcome.commits["a"]) == (1, two[0].commit)
    assert wanted.deployments(host.scope).deployments["a"] == two[0].deployment
    assert removed(host.scope) == frozenset()


def test_a_folder_of_definitions_that_is_gone_comes_back_before_it_is_written_to(
    host: Host, two: tuple[Target, Target]
) -> None:
    shutil.rmtree(host.scope.deployments)
    deploying.deploy(host, [two[0].deployment], Options())
    assert definitions(host.scope).keys() == {"a", "b"}
    assert removed(host.scope) == frozenset()


def test_a_reset_etc_gets_back_the_definitions_that_it_lacks(
    host: Host, two: tuple[Target, Target]
) -> None:
    """As after a roll back to an older /etc: it has a definition of before, and lacks one."""
    host.scope.units.unlink()
    file = host.scope.deployments / "a.yaml"
    file.write_text("source: /srv/older\n")
    (host.scope.deployments / "b.yaml").unlink()
    applying.settled(host)
    assert file.read_text() == "source: /srv/older\n"
    assert wanted.deployments(host.scope).deployments["b"] == two[1].deployment


def test_what_somebody_else_defined_is_not_made_the_hosts_own(
    host: Host, committed: Commit
) -> None:
    """A vendor's definition that is no more is gone, also where /etc is new at each boot."""
    target = committed("a", {"a.container": WEB})
    vendor = host.scope.vendor
    assert vendor is not None
    place(vendor / "deployments.d/a.yaml", f"source: {target.deployment.source}\n")
    deploy(host, target)
    emit(host.scope)
    host.scope.units.unlink()
    (vendor / "deployments.d/a.yaml").unlink()
    applying.settled(host)
    assert definitions(host.scope).keys() == set()


@pytest.fixture
def vendors(host: Host, committed: Commit) -> Target:
    """A deployment that the vendor defines, deployed."""
    target = committed("a", {"a.container": WEB})
    assert host.scope.vendor is not None
    place(host.scope.vendor / "deployments.d/a.yaml", dump(target.deployment))
    deploy(host, target)
    emit(host.scope)
    return target


def test_what_is_changed_of_a_vendors_deployment_is_the_hosts_own_definition(
    host: Host, vendors: Target
) -> None:
    assert planning.make(host, Wish((vendors,))).step.definitions == {}
    changed = replace(vendors, deployment=replace(vendors.deployment, values={"x": 1}))
    plan = deploy(host, changed)
    assert list(plan.step.definitions) == ["a"]
    assert wanted.deployments(host.scope).deployments["a"] == changed.deployment
    current = load_current(host.scope)
    assert current is not None
    assert current.own == ("a",)
    (host.scope.deployments / "a.yaml").unlink()
    back = {"a": prepare.prepare(host.scope, changed.deployment, changed.commit)}
    assert planning.make(host, Wish(reopened=back)).step.definitions == {}


def test_a_vendors_deployment_cannot_be_removed_as_it_would_come_back(
    host: Host, vendors: Target
) -> None:
    scope = host.scope
    with pytest.raises(UsageError, match=r"a is defined in .*/usr/lib/leger/deployments.d/a.yaml"):
        cli.refuse_others(scope, "a")
    place(scope.deployments / "a.yaml", "source: /own\n")
    with pytest.raises(UsageError) as caught:
        cli.refuse_others(scope, "a")
    assert caught.value.hint == f"rm {scope.deployments}/a.yaml goes back to that"
    cli.refuse_others(scope, "b")


def test_a_fleet_is_not_left_by_a_config_that_is_gone(scope: Scope, repository: Repository) -> None:
    repository.commit({"deployments.d/web.yaml": "source: /r\n"})
    place(scope.config, f"fleet: {{source: {repository.path}}}\n")
    place(scope.deployments / "own.yaml", "source: /own\n")
    wanted.deployments(scope, fetch=True)
    scope.config.unlink()
    for fetch in (True, False):
        found = wanted.deployments(scope, fetch=fetch)
        assert found.deployments.keys() == {"web", "own"}
        assert not found.is_gone("other")
    assert "config.yaml is gone" in str(wanted.deployments(scope, fetch=True).fleet)
    place(scope.config, "")
    assert wanted.deployments(scope, fetch=True).is_gone("web")
