"""What a plan shows: differences, but no value of a Secret and nothing that moves a cursor."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from leger import badcommits, git, preview
from leger.changes import Changes
from leger.cli import steps, waiting
from leger.cli.colour import Colour, plain
from leger.cli.plan import PAINTS
from leger.generation import Generation
from leger.git import Mirror
from leger.model import Compiled, Move
from leger.planning import Plan
from leger.preview import Preview
from leger.scope import Scope
from leger.secretyaml import hidden
from repositories import Repository

SECRET = """kind: ConfigMap
data:
  shown: yes-it-is
---
apiVersion: v1
kind: Secret
metadata: {name: db}
stringData:
  password: hunter2
  key: |
    BEGIN hunter2
    hunter2
  list:
  - hunter2
type: Opaque
---
- kind: "Secret"
  data: {password: hunter2}
"""


def test_no_value_of_a_secret_is_shown() -> None:
    text = hidden(SECRET)
    assert "hunter2" not in text
    assert "shown: yes-it-is" in text
    assert "type: Opaque" in text
    assert "  password: (hidden)" in text


@pytest.mark.parametrize(
    "text",
    [
        '{"kind": "Secret", "data": {"a": "hunter2"}}',
        "kind: Secret\nstringData: &x {a: hunter2}\nother: *x\n",
        "kind: Secret\nx: &v hunter2\ndata:\n  a: *v\n",
        "kind: 'Secret'\n'stringData' : {a: hunter2}\n",
        "items:\n- kind: Secret\n  data:\n    a: hunter2\n  b: c\n",
        "items:\n  - kind: Secret\n    data:\n    - hunter2\n",
        "data:\n  a: >-\n    hunter2\n\n    hunter2\nkind: Secret\n",
        "kind: Secret\nmetadata:\n  annotations:\n    last-applied: |\n      {a: hunter2}\n",
        "kind: Secret\nmetadata: {annotations: {last: hunter2}}\n",
        "items:\n- {kind: Secret,\n   stringData: {a: hunter2}}\n",
    ],
)
def test_no_spelling_shows_it(text: str) -> None:
    assert "hunter2" not in hidden(text)


def test_the_differences_of_files_and_units(
    prepared: Callable[..., object], compiled: Callable[..., Compiled], scope: Scope
) -> None:
    web = "[Container]\nImage=localhost/a:1\nEnvironmentFile=./a.env\nLabel=v={}\n"
    first = {"web.container": web.format(1), "a.env": "A=1\n", "blob": b"\0\1", "old.txt": "x\n"}
    before = compiled(prepared("web", first))
    second = {"web.container": web.format(2), "blob": b"\0\2", "old.txt": None, "new": "\x1b[2J\n"}
    after = compiled(prepared("web", second))
    shown = one(scope, before, after)
    files = {item.path: item for item in shown.files}
    assert {path: item.change for path, item in files.items()} == {
        "web.container": "changed",
        "blob": "changed",
        "old.txt": "removed",
        "new": "added",
    }
    assert "-Label=v=1\n+Label=v=2" in files["web.container"].diff
    assert (files["blob"].diff, files["blob"].note) == ("", "binary or too large to show")
    (unit,) = shown.units
    assert unit.path == "web.service"
    changed = [line for line in unit.diff.splitlines()[2:] if line[0] in "+-"]
    assert len(changed) == 2, "the new tree's path is no difference"
    assert [commit.author for commit in shown.commits] == ["Ada <ada@example.org>"]


def one(scope: Scope, before: Compiled, after: Compiled) -> Preview:
    move = Move("web", before.deployments["web"].commit, after.deployments["web"].commit)
    old = Generation(1, "system", before)
    (shown,) = preview.previews(scope, Plan(old, after, {}, (move,)))
    return shown


def test_the_log_between_two_commits(scope: Scope, repository: Repository) -> None:
    from leger.deployment import Deployment

    deployment = Deployment("web", str(repository.path))
    ids = [repository.commit({"a": str(n)}, f"number {n}") for n in range(4)]
    git.fetch(scope, deployment)
    mirror = Mirror.of(scope, deployment)
    assert [item.subject for item in git.log(mirror, ids[1], ids[3])] == ["number 3", "number 2"]
    assert [item.commit for item in git.log(mirror, "", ids[3])] == [ids[3]]
    assert [item.commit for item in git.log(mirror, "f" * 40, ids[3])] == [ids[3]]
    assert git.log(mirror, "", "f" * 40) == ()


def test_colours_are_for_terminals_only(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not Colour.of_stdout().on
    assert Colour(on=False).diff("+a") == "+a"
    assert Colour(on=True).diff("+a") == "\x1b[32m+a\x1b[0m"
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert Colour.of_stdout().on
    monkeypatch.setenv("NO_COLOR", "1")
    assert not Colour.of_stdout().on


def test_what_a_repository_says_moves_no_cursor() -> None:
    bad = badcommits.now("web", "c" * 40, "", "it said \x1b[2J\nand more")
    told = waiting.line(bad, "sync")
    assert "it said \ufffd[2J; and more (leger sync --retry" in told
    assert plain("a\x1b[2J\rb\u202e\tc") == "a\ufffd[2J\ufffdb\ufffd\tc"


def test_each_verb_has_its_colour_and_its_place_in_json() -> None:
    changes = Changes(
        stop=("c", "d", "p"), restart=("a",), reload=("b",), start=("e", "p"), gone=("c",),
        why=dict.fromkeys("abcdep", "so"),
    )  # fmt: skip
    listed = {verb: [row["unit"] for row in rows] for verb, rows in steps.raw(changes).items()}
    assert listed == {"start": ["e"], "restart": ["a", "p"], "reload": ["b"], "stop": ["c", "d"]}
    assert PAINTS.keys() == listed.keys()
