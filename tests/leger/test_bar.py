"""The bar: on a terminal only, out of the way of lines, gone at the end."""

from __future__ import annotations

import contextlib
import io
import os
import pty

import pytest
from leger.cli.bar import Bar, drawn
from leger.judge import Progress

HALF = Progress("start", 1, 2, ("web.service",))


def test_it_is_drawn_on_one_line() -> None:
    assert drawn(HALF, 80) == "[##########..........] 1/2 starting web.service"
    assert drawn(Progress("quiet", 0, 0), 80) == "[....................] 0/0 watching"
    assert len(drawn(Progress("health", 1, 9, ("x" * 200,)), 40)) == 39


def test_where_there_is_no_terminal_nothing_is_drawn(capsys: pytest.CaptureFixture[str]) -> None:
    stream = io.StringIO()
    with Bar(stream) as bar:
        bar.show(HALF)
        bar.line("start web.service")
    assert stream.getvalue() == ""
    assert capsys.readouterr().err == "start web.service\n"


def read_all(terminal: int) -> str:
    """All that was written to a terminal whose other side is closed: it comes in pieces."""
    pieces = []
    with os.fdopen(terminal, "rb", buffering=0) as reader, contextlib.suppress(OSError):
        while piece := reader.read(4096):
            pieces.append(piece)
    return b"".join(pieces).decode()


def test_on_a_terminal_it_makes_room_and_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as terminal, Bar(terminal) as bar:
        bar.show(HALF)
        bar.show(HALF)
        bar.line("something")
        bar.show(HALF)
    seen = read_all(ours)
    assert seen.count("1/2 starting web.service") == 2
    assert seen.endswith("\r\x1b[K")
