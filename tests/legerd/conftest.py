"""Fixtures of legerd's tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from legerd import log
from tests.legerd.served import Served, serve


@pytest.fixture(autouse=True)
def nothing_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test begins with an empty log, which would not repeat what another has just said."""
    monkeypatch.setattr(log, "_last", ("", 0.0))


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """A server in this process with an empty vault in memory."""
    with serve(tmp_path) as running:
        yield running
