"""Fixtures of setec's clients."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from leger.setec import Client

from tests.legerd.daemon import Daemon
from tests.setec import setecs


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A legerd on a port, one for a module: each test has names of its own."""
    with setecs.on_port(tmp_path_factory.mktemp("p")) as daemon:
        yield daemon


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A legerd on a unix socket, one for a module."""
    with setecs.on_socket(tmp_path_factory.mktemp("u")) as daemon:
        yield daemon


@pytest.fixture(params=["port", "local"])
def client(request: pytest.FixtureRequest) -> Client:
    """A client of either."""
    return setecs.client(request.getfixturevalue(request.param))
