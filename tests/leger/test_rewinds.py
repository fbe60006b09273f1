"""A branch that was rewritten, and several deployments that follow it: each for itself."""

import pytest
from leger import fetching, git
from leger.deployment import Deployment
from leger.git import Mirror, RewoundError


def rewritten(repository):
    repository.git("commit", "-q", "--amend", "-m", "rewritten")
    return repository.git("rev-parse", "HEAD")


def pair(repository):
    return [Deployment(name, str(repository.path), ref="main") for name in ("db", "web")]


def shared(scope, repository, accept_rewind):
    """The commit of each deployment of one branch, "" where a rewind was refused."""
    found = fetching.fetch_all(scope, pair(repository), accept_rewind=accept_rewind)
    return {name: "" if isinstance(one, RewoundError) else one for name, one in found.items()}


@pytest.mark.parametrize("name", ["db", "web"])
def test_a_rewind_is_accepted_for_one_of_those_that_share_a_branch(scope, repository, name):
    other = {"db": "web", "web": "db"}[name]
    first = repository.commit({"a": "1"})
    shared(scope, repository, False)
    second = rewritten(repository)
    for accepted in ({name}, (), {name}, ()):
        assert shared(scope, repository, accepted) == {name: second, other: ""}
        known = {item.name: git.known(scope, item) for item in pair(repository)}
        assert known == {name: second, other: first}
    third = repository.commit({"a": "3"})
    assert shared(scope, repository, ()) == {name: third, other: ""}
    assert shared(scope, repository, {other}) == {name: third, other: third}
    fourth = repository.commit({"a": "4"})
    assert shared(scope, repository, ()) == {name: fourth, other: fourth}


def test_what_was_accepted_for_one_is_not_taken_back_when_the_branch_comes_back(scope, repository):
    first = repository.commit({"a": "1"})
    shared(scope, repository, False)
    second = rewritten(repository)
    assert shared(scope, repository, {"web"}) == {"web": second, "db": ""}
    repository.git("reset", "-q", "--hard", first)
    back = repository.commit({"a": "back"})
    for _ in range(2):
        assert shared(scope, repository, ()) == {"web": "", "db": back}
    assert shared(scope, repository, True) == {"web": back, "db": back}


def test_a_deployment_that_is_removed_leaves_nothing_held(scope, repository):
    repository.commit({"a": "1"})
    shared(scope, repository, False)
    second = rewritten(repository)
    shared(scope, repository, {"web"})
    mirror = Mirror.of(scope, pair(repository)[0])
    mirror.release("web")
    assert shared(scope, repository, ()) == {"web": second, "db": ""}
    mirror.release("db")
    assert shared(scope, repository, ()) == {"web": second, "db": second}
