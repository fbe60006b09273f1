"""The drop-in that Leger adds: the hook first, then the unit's own lines as they stand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from leger_generator.dropin import HOOK, hook_dropin, own_lines, path_of, quote, unit_of, user_of

UNIT = """[Unit]
ExecStartPre=/not/this
[Service]
ExecStartPre=-/usr/bin/one $HOME
; ExecStartPre=/a/comment
ExecStartPre=/usr/bin/two \\
# a comment inside
  three
ExecStart=/usr/bin/podman run
[X-Container]
ExecStartPre=/nor/this
"""


def test_the_hook_comes_first_and_the_units_own_lines_follow() -> None:
    lines = hook_dropin(UNIT, ["db=web/db", "key=web/key:3"], "system").splitlines()
    start = lines.index("[Service]")
    assert lines[start + 1 :] == [
        "ExecStartPre=",
        f"ExecStartPre=:{HOOK} db=web/db key=web/key:3",
        "ExecStartPre=-/usr/bin/one $HOME",
        "ExecStartPre=/usr/bin/two \\",
        "  three",
    ]


def test_it_pulls_in_the_sockets_that_the_hook_uses() -> None:
    assert "Wants=legerd.socket podman.socket\n" in hook_dropin(UNIT, ["a=b"], "system")
    assert "After=legerd.socket podman.socket\n" in hook_dropin(UNIT, ["a=b"], "system")


def test_a_users_manager_has_no_legerd_socket() -> None:
    text = hook_dropin("[Service]\n", ["a=b"], "user")
    assert "Wants=podman.socket\n" in text
    assert "legerd.socket" not in text
    assert text.endswith(f"ExecStartPre=:{HOOK} --user a=b\n")


def test_root_notes_what_the_hook_of_another_user_gets() -> None:
    text = "[Service]\nUser=root\nUser=app-%i\nExecStart=/a\n[X-Container]\nUser=root\n"
    assert user_of(text) == "app-%i"
    lines = hook_dropin(text, ["--fresh", "db-%i=web/db"], "system").splitlines()
    assert lines[-2:] == [
        f"ExecStartPre=-:+{HOOK} --note --fresh db-%i=web/db",
        f"ExecStartPre=:{HOOK} --fresh db-%i=web/db",
    ]
    assert "--note" not in hook_dropin(text, ["a=b"], "user")


@pytest.mark.parametrize("line", ["", "User=root", "User=0", "User=app\nUser="])
def test_the_hook_of_root_notes_itself(line: str) -> None:
    text = f"[Service]\n{line}\n[Container]\nUser=7\n"
    assert user_of(text) == ""
    assert "--note" not in hook_dropin(text, ["a=b"], "system")


def test_a_reset_in_the_unit_counts() -> None:
    text = "[Service]\nExecStartPre=/a\nExecStartPre=\nExecStartPre=/b\n"
    assert own_lines(text) == ["/b"]


@pytest.mark.parametrize(
    ("argument", "text"),
    [
        ("db=web/db", "db=web/db"),
        ("db-%i=web/%j", "db-%i=web/%j"),
        ("db=100%", "db=100%%"),
        ("db=%h/%t", "db=%%h/%%t"),
        ("a%%b=x", "a%%b=x"),
        ("db=$HOME", '"db=$HOME"'),
        ("a b=c", '"a b=c"'),
        ('a"b=c', '"a\\"b=c"'),
        ("a\\b=c", '"a\\\\b=c"'),
        ("a=b\nExecStart=/evil", '"a=b\\nExecStart=/evil"'),
        ("ä=b", '"ä=b"'),
        ("a;b=c", '"a;b=c"'),
        ("", '""'),
    ],
)
def test_arguments_are_quoted_as_systemd_reads_them(argument: str, text: str) -> None:
    assert quote(argument) == text


@given(st.lists(st.text(min_size=1, max_size=20), min_size=1))
def test_no_argument_makes_a_second_line(hook: list[str]) -> None:
    text = hook_dropin("[Service]\nExecStart=/bin/true\n", hook, "system")
    assert len([line for line in text.split("\n") if line.startswith("ExecStartPre=:")]) == 1
    assert len(text.split("\n")) == len(hook_dropin("", ["a"], "system").split("\n"))


def test_paths_of_drop_ins() -> None:
    assert path_of("web.service") == "web.service.d/00-leger.conf"
    assert unit_of("web.service.d/00-leger.conf") == "web.service"
    assert unit_of("web.service.d/10-own.conf") == ""
