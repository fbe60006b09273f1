"""What a host shall have: every definition counts for itself, and the host's own wins."""

from __future__ import annotations

from leger import wanted
from leger.scope import Scope
from repositories import place


def test_a_definition_that_cannot_be_read_is_named_and_holds_back_no_other(scope: Scope) -> None:
    place(scope.deployments / "bad.yaml", "source: /r\nreff: main\n")
    place(scope.deployments / "good.yaml", "source: /r\n")
    found = wanted.deployments(scope)
    assert list(found.deployments) == ["good"]
    assert [str(problem) for problem in found.problems] == [
        f"{scope.deployments}/bad.yaml:2: unknown key 'reff'"
    ]


def test_a_definition_that_cannot_be_read_is_not_gone(scope: Scope) -> None:
    place(scope.deployments / "bad.yaml", "sorce: /r\n")
    found = wanted.deployments(scope)
    assert not found.is_gone("bad")
    assert found.is_gone("other")


def test_nothing_is_gone_where_the_whole_folder_is(scope: Scope) -> None:
    assert not wanted.deployments(scope).is_gone("web")


def test_the_hosts_own_definition_wins_though_it_cannot_be_read(scope: Scope) -> None:
    assert scope.vendor is not None
    place(scope.vendor / "deployments.d/a.yaml", "source: /vendor\n")
    place(scope.vendor / "deployments.d/b.yaml", "source: /vendor\n")
    place(scope.deployments / "a.yaml", "source: /admin\n")
    place(scope.deployments / "b.yaml", "nonsense\n")
    found = wanted.deployments(scope)
    assert {name: item.source for name, item in found.deployments.items()} == {"a": "/admin"}
    assert found.origins["a"] == str(scope.deployments / "a.yaml")
    assert found.origins["b"] == str(scope.deployments / "b.yaml")


def test_a_definition_with_another_ending_is_named_and_not_gone(scope: Scope) -> None:
    place(scope.deployments / "web.yml", "source: /r\n")
    found = wanted.deployments(scope)
    assert not found.is_gone("web")
    assert str(found.failed["web"]) == f"{scope.deployments}/web.yml: is not read"
    place(scope.deployments / "web.yaml", "source: /r\n")
    assert wanted.deployments(scope).failed == {}
