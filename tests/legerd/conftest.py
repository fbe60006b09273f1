"""Fixtures of legerd's tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.legerd.served import Served, serve


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """A server in this process with an empty vault in memory."""
    with serve(tmp_path) as running:
        yield running
