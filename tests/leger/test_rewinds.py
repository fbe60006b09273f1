"""A branch that was rewritten, several deployments that follow it, names that are taken over."""

import pytest
from leger import fetching, git
from leger import mirror as mirrors
from leger.config import Limits
from leger.deployment import Deployment
from leger.git import FetchError, Mirror, RewoundError
from leger.gitprogram import Remote


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


def test_a_tag_stays_a_tag_whatever_branch_is_pushed(scope, repository):
    item = Deployment("web", str(repository.path), ref="v1")
    first = repository.commit({"a": "1"})
    repository.git("tag", "v1")
    assert git.fetch(scope, item) == first
    second = repository.commit({"a": "2"})
    repository.git("branch", "v1")
    assert git.fetch(scope, item) == first
    repository.git("tag", "-d", "v1")
    for _ in range(2):
        with pytest.raises(RewoundError, match=r"tag v1 .* is a branch now"):
            git.fetch(scope, item)
    assert git.known(scope, item) == first
    assert git.fetch(scope, item, accept_rewind=True) == second
    repository.git("tag", "v1", second)
    assert git.fetch(scope, item) == second
    repository.git("branch", "-D", "v1")
    third = repository.commit({"a": "3"})
    repository.git("tag", "-f", "v1", third)
    with pytest.raises(RewoundError, match=r"branch v1 .* is a tag now"):
        git.fetch(scope, item)


def test_a_tag_that_is_a_branch_of_the_same_commit_is_no_tag_any_more(scope, repository):
    item = Deployment("web", str(repository.path), ref="v1")
    repository.commit({"a": "1"})
    repository.git("tag", "-a", "-m", "x", "v1")
    git.fetch(scope, item)
    repository.git("tag", "-d", "v1")
    repository.git("branch", "v1")
    with pytest.raises(RewoundError, match=r"tag v1 .* is a branch now"):
        git.fetch(scope, item)


def browsed(scope, repository, item):
    """Fetch what a browser's address on some forge names from a repository of this test."""
    mirror = Mirror(str(repository.path), Mirror.of(scope, item).path)
    return mirrors.Fetch(mirror, Remote(mirror.remote, Limits())).commit(item)


@pytest.mark.parametrize("ref", ["", "main"])
def test_a_browsers_address_means_what_it_was_taken_for_first(scope, repository, ref):
    first = repository.commit({"web/a": "1", "other": "1"})
    item = Deployment("web", "https://host/o/r/tree/main/web", ref=ref)
    assert browsed(scope, repository, item) == first
    repository.git("checkout", "-q", "-b", "aside")
    taken = repository.commit({"evil": "1"})
    repository.git("tag", "main/web")
    assert browsed(scope, repository, item) == first
    other = Deployment("db", "https://host/o/r/tree/main/web")
    assert browsed(scope, repository, other) == taken
    assert (git.folder(scope, item), git.known(scope, item)) == ("web", first)
    assert (git.folder(scope, other), git.known(scope, other)) == ("", taken)
    repository.git("branch", "-D", "main")
    with pytest.raises(FetchError, match="has no branch or tag 'main'"):
        browsed(scope, repository, item)
