"""What of config.yaml a deployment was made with counts like its commit, and goes back like it."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from leger import config, generation, goback, manifests, planning, rollback
from leger.deployment import Target
from leger.planning import Wish
from leger.scope import Scope
from leger.switch import Host
from planned import deploy

Commit = Callable[..., Target]
WEB = "[Container]\nImage=localhost/a:1\n"


def test_a_name_that_the_network_gave_is_no_reason_to_deploy_anew(
    scope: Scope, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(config, "HOSTNAME", tmp_path / "hostname")
    monkeypatch.setattr(socket, "gethostname", lambda: "box.example.org")
    assert config.load(scope).rendering == ""
    (tmp_path / "hostname").write_text("# comment\n\nbox\n")
    assert config.load(scope).rendering != ""
    (tmp_path / "hostname").write_text("another\n")
    assert config.load(scope).rendering == ""
    scope.config.parent.mkdir(parents=True)
    scope.config.write_text("host: {name: given}\n")
    assert config.load(scope).rendering != ""


def test_a_roll_back_to_other_settings_is_not_undone_by_the_next_sync(
    host: Host, committed: Commit
) -> None:
    host.scope.config.parent.mkdir(parents=True, exist_ok=True)
    target = committed("a", {"a.container": f"{WEB}Secret=pw\n"})
    for prefix in ("one", "two"):
        host.scope.config.write_text(f"secrets: {{prefix: {prefix}}}\n")
        deploy(host, target)
    old, first = (generation.load(host.scope, number) for number in (2, 1))
    assert manifests.contents(old) != manifests.contents(first)
    back = planning.make(host, rollback.wish(host.scope, old, first))
    (given_up,) = rollback._given_up(host.scope, old, back, "rolled back")
    assert (given_up.deployment, given_up.commit) == ("a", target.commit)
    assert goback._differs(old, first, "a")


def test_what_is_removed_goes_though_its_tree_was_changed_and_another_has_a_fault(
    host: Host, committed: Commit
) -> None:
    deploy(host, committed("a", {"a.container": WEB}), committed("b", {"b.container": WEB}))
    old = generation.load_current(host.scope)
    assert old is not None
    file = old.compiled.deployments["a"].tree.path / "a.container"
    file.write_text(f"{WEB}Exec=evil\n")
    bad = committed("b", {"b.container": "[Container]\nNoSuchKey=1\n"})
    plan = planning.make(host, Wish((bad,), removed=frozenset({"a"})))
    assert (list(plan.refused), list(plan.new.deployments)) == (["b"], ["b"])
    assert (plan.removed, plan.is_same) == ({"a"}, False)
