"""What was fetched of a remote stays as long as anybody needs it, and binds nobody else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from leger import deploying, fetching, followers, git, removal
from leger.deploying import Options
from leger.deployment import Deployment, Target, dump
from leger.errors import LegerError
from leger.generation import load_current
from leger.git import Mirror, RewoundError
from leger.model import Built, Tree
from leger.scope import Scope
from leger.staging import stage
from leger.switch import Host
from planned import deploy
from repositories import Repository, place

BAD = "[Container]\nNoSuchKey=1\n"
WEB = "[Container]\nImage=localhost/a:1\n"


def browsed(repository: Repository, name: str, folder: str, **more: str) -> Deployment:
    """A deployment of one folder, by one of several addresses of the same repository."""
    return Deployment(name, f"file://{repository.path}", path=folder, **more)


def gone(item: Deployment) -> Built:
    return Built(item.name, "1" * 40, item.source, Tree(Path("/s"), "", {}), {}, ())


def leave(scope: Scope, item: Deployment) -> None:
    """What follows when a deployment is removed."""
    removal.remove_mirror(scope, gone(item))


def define(scope: Scope, item: Deployment) -> None:
    place(scope.deployments / f"{item.name}.yaml", dump(item))


def stay_staged(scope: Scope, item: Deployment) -> None:
    stage(scope, Target(item, "1" * 40), scope.store / "b-0123456789abcdef")


def be_the_fleet(scope: Scope, item: Deployment) -> None:
    place(scope.config, f"fleet: {{source: {item.source}}}\n")


NEEDS = {"defined": define, "staged": stay_staged, "the fleet": be_the_fleet}


@pytest.mark.parametrize("how", NEEDS)
def test_a_mirror_and_what_was_accepted_stay_for_whoever_needs_them(
    scope: Scope, repository: Repository, how: str
) -> None:
    first = repository.commit({"a/x": "1", "b/x": "1"})
    one = browsed(repository, "a", "a")
    other = Deployment("b", str(repository.path), path="b")
    assert set(fetching.fetch_all(scope, [one, other]).values()) == {first}
    NEEDS[how](scope, other)
    leave(scope, one)
    repository.git("commit", "-q", "--amend", "-m", "rewritten")
    with pytest.raises(RewoundError):
        git.fetch(scope, other)
    assert git.known(scope, other) == first


def test_a_mirror_that_nobody_needs_goes_with_all_that_was_accepted(
    scope: Scope, repository: Repository
) -> None:
    repository.commit({"a/x": "1"})
    one = browsed(repository, "a", "a")
    git.fetch(scope, one)
    leave(scope, one)
    mirror = Mirror.of(scope, one)
    assert not mirror.path.exists()
    assert not mirror.record.exists()
    repository.git("commit", "-q", "--amend", "-m", "rewritten")
    assert git.fetch(scope, one)


def test_a_mirror_stays_where_it_cannot_be_told_who_needs_it(
    scope: Scope, repository: Repository
) -> None:
    repository.commit({"a/x": "1"})
    one = browsed(repository, "a", "a")
    git.fetch(scope, one)
    place(scope.config, "nonsense: 1\n")
    leave(scope, one)
    assert Mirror.of(scope, one).path.is_dir()


Commit = Callable[..., Target]


def test_a_first_install_that_failed_holds_the_next_one_to_nothing(
    host: Host, repository: Repository
) -> None:
    item = Deployment("web", str(repository.path))
    repository.commit({"web.container": BAD})
    for _ in range(2):
        with pytest.raises(LegerError, match="NoSuchKey"):
            deploying.deploy(host, [item], Options(dry_run=True))
        place(repository.path / "web.container", WEB)
        repository.git("commit", "-q", "--all", "--amend", "-m", "rewritten")
        assert deploying.deploy(host, [item], Options(dry_run=True)).generation == 0
        place(repository.path / "web.container", BAD)
        repository.git("commit", "-q", "--all", "--amend", "-m", "again")


def test_what_another_follows_is_rewound_for_none(host: Host, committed: Commit) -> None:
    deploy(host, committed("db", {"db.container": WEB}))
    current = load_current(host.scope)
    assert current is not None
    source = Path(current.compiled.deployments["db"].source)
    repository = Repository.__new__(Repository)
    repository.path = source
    repository.git("commit", "-q", "--amend", "-m", "rewritten")
    item = Deployment("web", str(source))
    assert not followers.is_first(host.scope, item)
    with pytest.raises(RewoundError):
        deploying.deploy(host, [item], Options(dry_run=True))
    assert followers.is_first(host.scope, Deployment("web", str(source), ref="other"))
