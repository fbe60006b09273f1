"""What tests of several modules deploy."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from machine import Machine
from system.deployment import Deployed


@pytest.fixture
def deployed(shared_machine: Machine, request: pytest.FixtureRequest) -> Iterator[Deployed]:
    """A deployment with the name of the test, and gone after it."""
    title = request.node.originalname.removeprefix("test_").replace("_", "-")
    one = Deployed(shared_machine, title[:40].strip("-"))
    yield one
    shared_machine.run("leger", "deploy", "remove", one.name, "--yes", check=False)
