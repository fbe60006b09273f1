"""The history: who brought which deployment from which commit to which, and what it says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from leger import generation, git, history
from leger.deployment import Deployment
from leger.generation import EMPTY, Current, Generation
from leger.model import Built, Tree
from leger.scope import Scope
from repositories import Repository


def switched(scope: Scope, source: str, commits: Mapping[str, str], why: str) -> Generation:
    deployments = {
        name: Built(name, commit, source, Tree(Path(f"/store/{name}"), "1", {}), {}, ())
        for name, commit in commits.items()
    }
    saved = generation.new(scope, replace(EMPTY, deployments=deployments), {}, why).save(scope)
    Current(saved.point, confirmed=True).write(scope)
    return saved


def test_each_generation_tells_what_it_changed(scope: Scope, repository: Repository) -> None:
    one = repository.commit({"a.container": "[Container]\n"}, "Add the \x1b[31mfirst\n\nBody")
    two = repository.commit({"a.container": "[Container]\n#\n"}, "Change it")
    source = str(repository.path)
    git.fetch(scope, Deployment("web", source))
    switched(scope, source, {"web": one, "db": one}, "deploy web, db")
    failed = switched(scope, source, {"web": two, "db": one}, "deploy web")
    replace(failed, bad="web.service failed").save_manifest(scope)
    switched(scope, source, {"web": one}, "remove db")
    first, second, third = history.read(scope)
    assert [(c.deployment, c.before, c.after) for c in first.changes] == [
        ("db", "", one),
        ("web", "", one),
    ]
    assert first.changes[0].subject == "Add the ?[31mfirst"
    assert second.changes == (history.Change("web", one, two, "Change it"),)
    assert (second.why, second.bad) == ("deploy web", "web.service failed")
    assert [(c.deployment, c.after) for c in third.changes] == [("db", ""), ("web", one)]
    assert [one.is_current for one in (first, second, third)] == [False, False, True]


def test_a_commit_that_no_mirror_has_has_no_subject(scope: Scope) -> None:
    switched(scope, "/srv/gone", {"web": "c" * 40}, "deploy web")
    assert history.read(scope)[0].changes[0].subject == ""


def test_a_damaged_manifest_is_named_among_the_others(scope: Scope) -> None:
    """It may be the very reason to look for another way back."""
    switched(scope, "", {"web": "a"}, "first")
    damaged = switched(scope, "", {"web": "b"}, "second")
    switched(scope, "", {"web": "c"}, "third")
    generation.manifest_path(scope, damaged.number).write_text("{}")
    first, second, third = history.read(scope)
    assert (first.why, third.why, third.is_current) == ("first", "third", True)
    assert f"{damaged.number}.json: the manifest is damaged" in second.bad
    assert third.changes == (history.Change("web", "a", "c"),)
