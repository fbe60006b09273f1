"""switch.json: what an interrupted switch still has to do, and on which side it stands."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from leger import switchfile
from leger.errors import LegerError
from leger.generation import Point
from leger.scope import Scope
from leger.switchfile import Returned, Switch

NAMES = st.lists(st.text(min_size=1, max_size=8)).map(tuple)
OLD, NEW = Point(1, "aa"), Point(2, "bb")


@given(names=NAMES, run=st.dictionaries(st.text(), st.booleans()))
def test_what_is_saved_is_loaded(
    tmp_path_factory: pytest.TempPathFactory,
    names: tuple[str, ...],
    run: dict[str, bool],
) -> None:
    scope = Scope.system(tmp_path_factory.mktemp("root"))
    scope.state.mkdir(parents=True)
    written = Switch(
        OLD,
        NEW,
        "boot",
        stop=names,
        start=names,
        run=run,
        definitions={"web": None, "db": "source: x\n"},
        base=OLD,
        bad={"web.service": "failed"},
        returned=(Returned("web", "c" * 40, "web.service failed"),),
    )
    written.save(scope)
    assert Switch.load(scope) == written
    switchfile.remove(scope)
    assert Switch.load(scope) is None
    switchfile.remove(scope)


@pytest.mark.parametrize(
    ("emitted", "committed"),
    [(NEW, True), (OLD, False), (Point(3, "cc"), None), (Point(2, "xx"), None), (None, None)],
)
def test_units_json_says_on_which_side_it_stands(
    emitted: Point | None, committed: bool | None
) -> None:
    assert Switch(OLD, NEW, "boot").committed(emitted) is committed


def test_before_the_first_switch_there_is_no_units_json() -> None:
    assert Switch(Point(), NEW, "boot").committed(None) is False


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b'{"format": 9}', b"\xff\xfe"])
def test_a_damaged_file_is_named_with_what_to_do(tmp_path: Path, content: bytes) -> None:
    scope = Scope.system(tmp_path)
    scope.state.mkdir(parents=True)
    scope.switch.write_bytes(content)
    with pytest.raises(LegerError, match=r"switch\.json: cannot be understood") as caught:
        Switch.load(scope)
    assert "remove" in caught.value.hint


def test_after_a_reboot_only_what_the_boot_did_not_start_is_started() -> None:
    todo = Switch(
        OLD,
        NEW,
        "boot",
        restart=("a.service",),
        reload=("b.service",),
        start=("c.service",),
        held=("d.service",),
        watch=("e.service",),
    )
    assert todo.jobs("boot") == [
        ("restart", "a.service"),
        ("reload", "b.service"),
        ("start", "c.service"),
        ("stop", "d.service"),
    ]
    assert todo.jobs("another") == [("start", f"{name}.service") for name in "ace"]
