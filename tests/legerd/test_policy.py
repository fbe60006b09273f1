"""setec's patterns, and policy.yaml: who may do what on the unix sockets."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from leger import yamlfile
from leger.errors import ConfigError

from legerd.policy import EVERYTHING, Policy, PolicyFile, Rule, Subject, allows, matches

ROOT = Subject(0, "root", frozenset({"root"}), "session-1.scope", contained=False)
BOB = Subject(1000, "bob", frozenset({"bob", "ops"}), "user@1000.service", contained=False)
BOXED = Subject(0, "root", frozenset({"root"}), "web.service", contained=True)
SHIPPED = Path(__file__).parents[2] / "legerd/systemd/policy.yaml"


@pytest.mark.parametrize(
    ("pattern", "name", "covered"),
    [
        ("a", "a", True),
        ("a", "ab", False),
        ("", "", True),
        ("", "a", False),
        ("*", "", True),
        ("*", "a/b\nc", True),
        ("prod/*", "prod/", True),
        ("prod/*", "prod", False),
        ("*/db/*", "prod/db/password", True),
        ("a*b*c", "a-b-c-b-c", True),
        ("a*a", "a", False),
        ("a*ab*b", "ab", False),
        ("**", "x", True),
        ("a.c", "abc", False),
        ("[a]", "a", False),
    ],
)
def test_only_a_star_is_special(pattern: str, name: str, covered: bool) -> None:
    assert matches(pattern, name) is covered


@given(st.text("ab*/", max_size=8), st.text("ab*/\n", max_size=12))
def test_patterns_are_what_a_regular_expression_says(pattern: str, name: str) -> None:
    expression = ".*".join(map(re.escape, pattern.split("*")))
    assert matches(pattern, name) == bool(re.fullmatch(expression, name, re.DOTALL))


def test_actions_are_literal_and_none_implies_another() -> None:
    assert not allows([Rule(frozenset({"*"}), ("*",))], "get", "a")
    assert not allows([Rule(frozenset({"put"}), ("*",))], "get", "a")
    assert not allows([], "get", "a")


def parse(text: str) -> Policy:
    return Policy.parse(yamlfile.parse(text.encode(), "policy.yaml"))


def test_without_rules_root_may_everything_and_nobody_else_anything() -> None:
    for policy in (Policy(), parse(""), parse("rules: []"), Policy.parse(yamlfile.read(SHIPPED))):
        assert policy.rules_for(ROOT) == (EVERYTHING,)
        assert policy.rules_for(BOB) == ()
        assert policy.rules_for(BOXED) == ()


@pytest.mark.parametrize("who", ["user: bob", "uid: 1000", "group: ops", "unit: user@1000.service"])
def test_a_rule_names_by_user_uid_group_or_unit(who: str) -> None:
    policy = parse(f"rules: [{{{who}, action: [get, info], secret: 'prod/*'}}]")
    rules = policy.rules_for(BOB)
    assert allows(rules, "get", "prod/a")
    assert not allows(rules, "put", "prod/a")
    assert not allows(rules, "get", "a")
    assert policy.rules_for(ROOT) == (EVERYTHING,)


def test_of_several_all_must_hold() -> None:
    policy = parse("rules: [{user: bob, unit: web.service, action: get, secret: '*'}]")
    assert policy.rules_for(BOB) == ()


def test_a_rule_that_names_root_takes_the_rest_away() -> None:
    policy = parse("rules: [{uid: 0, action: get, secret: a}]")
    assert allows(policy.rules_for(ROOT), "get", "a")
    assert not allows(policy.rules_for(ROOT), "put", "a")


def test_a_container_is_named_by_its_unit_only() -> None:
    assert parse("rules: [{user: root, action: get, secret: a}]").rules_for(BOXED) == ()
    assert parse("rules: [{unit: web.service, action: get, secret: a}]").rules_for(BOXED)
    assert not parse("rules: [{unit: db.service, action: get, secret: a}]").rules_for(BOXED)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("rules:\n  - usr: bob\n    action: get\n    secret: a", ":2: unknown key 'usr'"),
        ("rules:\n  - user: bob\n    action: gte\n    secret: a", ":3: 'gte' is not one of"),
        ("rules:\n  - user: bob\n    secret: a", ":2: a rule names its action"),
        ("rules:\n  - user: bob\n    action: get", ":2: a rule names its secret"),
        ("rules:\n  - action: get\n    secret: a", ":2: a rule names one of user"),
        ("rules:\n  - uid: bob\n    action: get\n    secret: a", ":2: a whole number"),
        ("rule: []", ":1: unknown key 'rule'"),
        ("- a", ":1: a mapping"),
        ("rules: [", "not valid YAML"),
        ("rules:\n  - user:\n    action: get\n    secret: a", ":2: a text is expected"),
    ],
)
def test_faults_name_their_line(text: str, complaint: str) -> None:
    with pytest.raises(ConfigError) as found:
        parse(text)
    assert f"policy.yaml{complaint}" in str(found.value) or complaint in str(found.value)


def test_a_bad_file_denies_all_at_start(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text("rulez: []")
    file = PolicyFile(path)
    assert file.current().rules_for(ROOT) == ()
    assert file.current().rules_for(ROOT) == ()
    complaint = capfd.readouterr().err
    assert complaint.count("unknown key 'rulez': nobody may do anything") == 1


def test_a_change_counts_at_once_and_a_bad_one_keeps_the_last_good(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "policy.yaml"
    file = PolicyFile(path)
    assert file.current().rules_for(BOB) == ()
    path.write_text("rules: [{user: bob, action: get, secret: a}]")
    assert allows(file.current().rules_for(BOB), "get", "a")
    path.write_text("rules: [{user: bob, action: get, secret: a}")
    assert allows(file.current().rules_for(BOB), "get", "a")
    assert "the last good one stays" in capfd.readouterr().err
    path.write_text("rules: []")
    assert file.current().rules_for(BOB) == ()


def test_a_file_that_cannot_be_read_is_a_bad_file(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.mkdir()
    assert PolicyFile(path).current().rules_for(ROOT) == ()


def test_a_file_of_the_same_size_and_time_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text("rules: [{user: bob, action: get, secret: a}]")
    file = PolicyFile(path)
    assert allows(file.current().rules_for(BOB), "get", "a")
    times = path.stat()
    other = tmp_path / "new"
    other.write_text("rules: [{user: bob, action: get, secret: b}]")
    os.utime(other, ns=(times.st_atime_ns, times.st_mtime_ns))
    other.replace(path)
    assert allows(file.current().rules_for(BOB), "get", "b")


def test_a_file_that_others_may_write_is_a_bad_file(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text("rules: []")
    path.chmod(0o664)
    file = PolicyFile(path)
    assert file.current().rules_for(ROOT) == ()
    assert f"hint: chmod go-w {path}" in capfd.readouterr().err
    path.chmod(0o644)
    assert file.current().rules_for(ROOT) == (EVERYTHING,)
