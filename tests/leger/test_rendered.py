"""quadlet is not run once more over the same trees, and is over any others."""

from __future__ import annotations

from dataclasses import replace

import pytest
from leger import quadlet as quadlets
from leger import rendered

WEB = {"web.container": "[Container]\nImage=localhost/hello:1\n"}


@pytest.fixture
def runs(monkeypatch):
    """The folders that quadlet was run over, run by run."""
    seen = []
    run = quadlets.run

    def counted(binary, folders, **options):
        seen.append([path.name for path in folders])
        return run(binary, folders, **options)

    monkeypatch.setattr(quadlets, "run", counted)
    return seen


def test_the_same_trees_are_rendered_once(scope, prepared, compiled, runs):
    web = prepared("web", WEB)
    first = compiled(web)
    assert compiled(web) == first
    assert len(runs) == 1
    other = prepared("other", {"other.network": "[Network]\n"})
    both = compiled(web, other)
    assert (len(runs), "other-network.service" in both.files) == (2, True)
    changed = prepared("web", {"web.container": f"{WEB['web.container']}Exec=a\n"})
    assert "Exec" in compiled(changed, other).files["web.service"]["text"]
    assert len(runs) == 3


def test_a_tree_that_was_changed_by_hand_is_another(scope, prepared, compiled, runs):
    web = prepared("web", WEB)
    compiled(web)
    compiled(replace(web, tree=replace(web.tree, digest="0" * 16)))
    assert len(runs) == 2


def test_what_quadlet_complained_of_is_told_each_time(scope, prepared, compiled, runs):
    bad = prepared("web", {"web.container": f"{WEB['web.container']}NoSuchKey=1\n"})
    assert compiled(bad).faults == compiled(bad).faults != ()
    assert len(runs) == 2


@pytest.mark.parametrize("text", ["", "[]", "\0", '{"key": 1}', '{"output": {}}'])
def test_a_memory_that_cannot_be_understood_is_as_none(scope, prepared, compiled, runs, text):
    web = prepared("web", WEB)
    first = compiled(web)
    rendered.memory(scope).write_text(text)
    assert compiled(web) == first
    assert len(runs) == 2


def test_another_quadlet_is_asked_anew(scope, prepared, compiled, runs, quadlet, tmp_path):
    web = prepared("web", WEB)
    compiled(web)
    copy = tmp_path / "quadlet"
    copy.write_text(f'#!/bin/sh\nexec {quadlet} "$@"\n')
    copy.chmod(0o755)
    rendered.run(rendered.memory(scope), copy, [web.tree], user=False, timeout=60)
    assert len(runs) == 2
