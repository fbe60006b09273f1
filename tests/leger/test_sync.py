"""What sync decides: each deployment by its `update:`, what was given up not again, and so on."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from leger import badcommits, fetching, outlook, staging, sync
from leger.badcommits import Bad
from leger.deployment import Deployment, Target
from leger.errors import LegerError, UsageError
from leger.outlook import Now, Outlook
from leger.scope import Scope
from leger.staging import Staged
from repositories import Repository

OLD, NEW = "1" * 40, "2" * 40


def target(name: str, commit: str = NEW, update: str = "apply") -> Target:
    return Target(Deployment(name, f"/srv/{name}", update=update), commit)


def seen(*targets: Target, **fields: object) -> Outlook:
    """An outlook in which the targets are deployed at an older commit."""
    wanted = {item.deployment.name: item for item in targets}
    now = {name: Now(OLD, item.definition) for name, item in wanted.items()}
    return replace(Outlook(wanted, {}, now, {}), **fields)  # type: ignore[arg-type]


def names(targets: tuple[Target, ...]) -> list[str]:
    return [item.deployment.name for item in targets]


def staged(item: Target) -> Staged:
    return Staged(item.deployment.name, item.commit, item.definition, item.definition, "", "", 0.0)


def test_each_deployment_goes_where_its_update_says() -> None:
    todo = sync.decide(
        seen(target("a"), target("b", update="stage"), target("c", NEW, "manual")), {}
    )
    assert (names(todo.apply), names(todo.stage), names(todo.manual)) == (["a"], ["b"], ["c"])


def test_nothing_new_is_nothing_to_do() -> None:
    item = target("a")
    todo = sync.decide(seen(item, now={"a": Now(NEW, item.definition)}), {})
    assert todo.is_idle


def test_a_changed_definition_is_new_although_the_commit_is_not() -> None:
    item = target("a")
    assert names(sync.decide(seen(item, now={"a": Now(NEW, "source: /other\n")}), {}).apply) == [
        "a"
    ]


def test_what_was_made_with_other_settings_is_new_and_waits_if_it_is_staged() -> None:
    item = target("a", update="stage")
    view = seen(item, now={"a": Now(NEW, item.definition, "then")}, settings="now")
    assert names(sync.decide(view, {}).stage) == ["a"]
    assert sync.decide(view, {"a": staged(item)}).is_idle
    assert sync.decide(replace(view, settings="then"), {"a": staged(item)}).stale == {"a"}
    for then, now in (("", "now"), ("then", "")):
        unknown = seen(item, now={"a": Now(NEW, item.definition, then)}, settings=now)
        assert sync.decide(unknown, {}).is_idle


def test_what_was_given_up_waits_until_it_is_retried() -> None:
    item = target("a")
    bad = badcommits.now("a", NEW, item.definition, "web.service failed to start")
    view = seen(item, target("b"), bad={"a": bad})
    todo = sync.decide(view, {})
    assert (names(todo.apply), todo.waiting) == (["b"], (bad,))
    assert names(sync.decide(view, {}, retry=True).apply) == ["a", "b"]


def test_what_is_staged_just_so_is_not_staged_again_but_a_newer_commit_is() -> None:
    item = target("a", update="stage")
    view = seen(item)
    assert sync.decide(view, {"a": staged(item)}).is_idle
    assert names(sync.decide(view, {"a": staged(target("a", OLD, "stage"))}).stage) == ["a"]


def test_what_is_staged_and_deployed_already_or_defined_no_more_goes() -> None:
    item = target("a")
    view = seen(item, now={"a": Now(NEW, item.definition)})
    gone = staged(target("b"))
    todo = sync.decide(view, {"a": staged(item), "b": gone})
    assert todo.stale == {"a", "b"}
    assert sync.decide(view, {"b": replace(gone, before="")}).stale == frozenset()


def test_a_bad_commit_is_bad_with_its_definition_and_its_company_only() -> None:
    bad = replace(badcommits.now("a", NEW, "x", "no"), others={"b": OLD})
    assert bad.holds(NEW, "x", {"a": NEW, "b": OLD})
    assert not bad.holds(OLD, "x", {"a": OLD, "b": OLD})
    assert not bad.holds(NEW, "y", {"a": NEW, "b": OLD})
    assert not bad.holds(NEW, "x", {"a": NEW, "b": NEW})


def test_bad_commits_are_remembered_and_forgotten(scope: Scope) -> None:
    found = [badcommits.now(name, NEW, "x", "it failed") for name in ("a", "b")]
    badcommits.remember(scope, found)
    badcommits.remember(scope, [replace(found[0], commit=OLD)])
    assert {name: bad.commit for name, bad in badcommits.load(scope).items()} == {
        "a": OLD,
        "b": NEW,
    }
    badcommits.forget(scope, ["a", "z"])
    assert badcommits.load(scope) == {"b": found[1]}


@given(st.one_of(st.binary(max_size=64), st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["format", "bad", "deployment", "commit", "others", "when"]), inner
    ),
).map(lambda raw: json.dumps(raw).encode())))  # fmt: skip
def test_a_damaged_memory_is_none_and_a_damaged_staged_file_is_named(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    scope = Scope.system(tmp_path_factory.mktemp("host"))
    scope.staged.mkdir(parents=True)
    scope.bad_commits.write_bytes(data)
    (scope.staged / "web.json").write_bytes(data)
    assert all(isinstance(bad, Bad) for bad in badcommits.load(scope).values())
    badcommits.remember(scope, [badcommits.now("a", NEW, "x", "no")])
    assert "a" in badcommits.load(scope)
    found, broken = staging.read(scope)
    assert (found, list(broken)) == ({}, ["web"])
    assert "staged discard web" in broken["web"].hint
    assert staging.discard(scope, "web")


def test_a_huge_state_file_is_not_read(scope: Scope) -> None:
    scope.state.mkdir(parents=True)
    with scope.bad_commits.open("wb") as file:
        file.truncate(1 << 30)
    assert badcommits.load(scope) == {}


def test_staged_is_read_as_it_was_written(scope: Scope) -> None:
    item = target("web")
    staging.stage(scope, item, Path("/store/web-0123456789abcdef"))
    found, _ = staging.read(scope)
    assert found["web"].target(scope) == item
    assert staging.trees(scope) == {"web-0123456789abcdef"}
    with pytest.raises(UsageError, match="db is not staged"):
        staging.choose(scope, ["db"], everything=False)
    with pytest.raises(UsageError, match="either names or --all"):
        staging.choose(scope, ["web"], everything=True)


def test_of_all_that_wait_the_unreadable_ones_are_told(scope: Scope) -> None:
    for name in ("web", "db"):
        staging.stage(scope, target(name), Path("/store/web-0123456789abcdef"))
    (scope.staged / "db.json").write_text("{")
    found, broken = staging.choose(scope, [], everything=True)
    assert (list(found), list(broken)) == (["web"], ["db"])
    assert list(staging.choose(scope, ["db"], everything=False)[1]) == ["db"]
    assert staging.choose(scope, ["web"], everything=False)[1] == {}


def test_a_definition_that_changed_since_it_was_staged_is_not_overwritten(scope: Scope) -> None:
    item = target("web")
    scope.deployments.mkdir(parents=True)
    (scope.deployments / "web.yaml").write_bytes(b"source: /srv/web\n")
    staging.stage(scope, item, Path("/store/web-0123456789abcdef"))
    waiting = staging.read(scope)[0]["web"]
    assert staging.approved(scope, waiting) == item
    (scope.deployments / "web.yaml").write_bytes(b"source: /srv/other\n")
    with pytest.raises(LegerError, match="changed since it was staged"):
        staging.approved(scope, waiting)


@pytest.mark.parametrize("name", ["../../etc/passwd", "", ".", "a/b", "UPPER"])
def test_no_name_reaches_another_file(scope: Scope, name: str) -> None:
    scope.staged.mkdir(parents=True)
    assert not staging.discard(scope, name)


def define(scope: Scope, name: str, text: str) -> None:
    scope.deployments.mkdir(parents=True, exist_ok=True)
    (scope.deployments / f"{name}.yaml").write_text(text)


def test_a_bad_source_or_definition_is_named_and_the_others_are_seen(
    scope: Scope, repository: Repository
) -> None:
    commit = repository.commit({"web.container": "[Container]\nImage=a\n"})
    define(scope, "good", f"source: {repository.path}\n")
    define(scope, "twin", f"source: {repository.path}\nref: main\n")
    define(scope, "away", "source: /nowhere\n")
    define(scope, "torn", "source: [\n")
    view = outlook.look(scope)
    assert {name: item.commit for name, item in view.wanted.items()} == {
        "good": commit,
        "twin": commit,
    }
    assert set(view.failed) == {"away", "torn"}
    assert view.new().keys() == {"good", "twin"}
    assert outlook.look(scope, fetch=False).wanted.keys() == {"good", "twin"}
    assert outlook.look(scope, ["good"]).failed == {}
    with pytest.raises(UsageError, match="no deployment nobody"):
        outlook.look(scope, ["nobody"])
    with pytest.raises(UsageError, match="no deployment nobody"):
        outlook.look(scope, accept_rewind={"good", "nobody"})


def test_without_a_fetch_the_commit_is_the_one_fetched_last(
    scope: Scope, repository: Repository
) -> None:
    first = repository.commit({"a": "1"})
    define(scope, "web", f"source: {repository.path}\n")
    assert outlook.look(scope, fetch=False).wanted["web"].commit == first
    second = repository.commit({"a": "2"})
    assert outlook.look(scope, fetch=False).wanted["web"].commit == first
    assert outlook.look(scope).wanted["web"].commit == second
    assert outlook.look(scope, fetch=False).wanted["web"].commit == second


def test_what_cannot_be_fetched_counts_as_it_was_fetched_last(
    scope: Scope, repository: Repository
) -> None:
    commit = repository.commit({"a": "1"})
    define(scope, "web", f"source: {repository.path}\n")
    outlook.look(scope)
    repository.path.rename(repository.path.with_name("away"))
    view = outlook.look(scope)
    assert view.wanted["web"].commit == commit
    assert list(view.failed) == ["web"]


def test_a_rewind_that_was_accepted_for_another_does_not_move_a_deployment(
    scope: Scope, repository: Repository
) -> None:
    first = repository.commit({"a": "1"})
    for name in ("web", "db"):
        define(scope, name, f"source: {repository.path}\n")
    outlook.look(scope)
    repository.git("commit", "-q", "--amend", "-m", "rewritten")
    view = outlook.look(scope, accept_rewind={"web"})
    assert list(view.failed) == ["db"]
    assert "leger sync --accept-rewind db" in view.failed["db"].hint
    assert view.wanted["db"].commit == first != view.wanted["web"].commit
    assert outlook.look(scope, fetch=False).wanted == view.wanted


def test_a_folder_of_definitions_that_is_gone_removes_nothing(scope: Scope) -> None:
    now = {"web": Now(OLD, "source: /srv/web\n")}
    scope.manifests.mkdir(parents=True)
    (scope.manifests / "1.json").write_text(json.dumps({"deployments": {"web": vars(now["web"])}}))
    scope.current.write_text('{"generation": 1, "blake2b": "x", "confirmed": true}')
    view = outlook.look(scope)
    assert (view.now, view.vanished, view.kept) == (now, frozenset(), frozenset({"web"}))
    scope.deployments.mkdir(parents=True)
    view = outlook.look(scope)
    assert (view.vanished, view.kept) == (frozenset({"web"}), frozenset())


def test_one_source_is_asked_once_for_all_its_deployments(
    scope: Scope, repository: Repository, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    commit = repository.commit({"a": "1"})
    calls = tmp_path / "calls"
    program = tmp_path / "bin/git"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho "$1" >>{calls}\nexec /usr/bin/git "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    many = [Deployment(f"d{number}", str(repository.path)) for number in range(9)]
    assert set(fetching.fetch_all(scope, many).values()) == {commit}
    assert calls.read_text().split().count("ls-remote") == 1
