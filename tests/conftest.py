"""Fixtures for all tests: the seed of sampled tests, and machines (see tests/machine)."""

from __future__ import annotations

import os
import random
import secrets
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import coverage
import pytest
from hypothesis import settings
from hypothesis.database import DirectoryBasedExampleDatabase
from machine import SUITES, Machine, quadlet_binary, why_not

MACHINE_FIXTURES = {"machine", "leger_machine", "shared_machine", "new_machine"}
LONGEST_NAME = 120
SOAK = os.environ.get("LEGER_SOAK") == "1"


settings.register_profile(
    "leger",
    deadline=None,
    print_blob=True,
    max_examples=2000 if SOAK else 100,
    database=DirectoryBasedExampleDatabase(".cache/hypothesis"),
)


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Choose the seed once, for hypothesis too; the workers of xdist inherit it."""
    seed = os.environ.setdefault("LEGER_SEED", str(secrets.randbelow(2**32)))
    config.option.hypothesis_seed = config.getoption("--hypothesis-seed") or seed
    settings.load_profile("leger")


def pytest_make_parametrize_id(val: object) -> str | None:
    """Name a long value by its beginning: whole, it would be in names, logs and environments."""
    if not isinstance(val, (bytes, str)) or len(val) <= LONGEST_NAME:
        return None
    begin = val[:20]
    text = begin if isinstance(begin, str) else begin.decode("ascii", "backslashreplace")
    return f"{text.encode('unicode_escape').decode('ascii')}-{len(val)}"


def pytest_report_header() -> str:
    """Say how to run the same samples again."""
    return f"LEGER_SEED={os.environ['LEGER_SEED']}"


@pytest.hookimpl(tryfirst=True)  # xdist reads the groups in this hook, too
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what boots machines, so that `-m 'not machine'` leaves it out, and begin with it.

    Of a module that does so, all tests of one suite go to one worker of xdist, because they may
    share a machine; but what has a longer time limit goes by itself, first of all.
    """
    for item in items:
        if MACHINE_FIXTURES & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.machine)
        if item.get_closest_marker("machine"):
            parameters = getattr(getattr(item, "callspec", None), "params", {})
            alone = item.name if item.get_closest_marker("timeout") else ""
            group = f"{item.path.stem}-{parameters.get('suite', '')}-{alone}"
            item.add_marker(pytest.mark.xdist_group(group))
    items.sort(key=_turn)


def _turn(item: pytest.Item) -> tuple[bool, float]:
    """What sorts the longest first, so that no worker is left with it at the end."""
    limit = item.get_closest_marker("timeout")
    return item.get_closest_marker("machine") is None, -limit.args[0] if limit else 0.0


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Add up what was covered in all processes, so that pytest's own summary stays last."""
    measured = coverage.Coverage.current()
    if measured is None or "PYTEST_XDIST_WORKER" in os.environ:
        return
    measured.stop()
    measured.save()
    whole = coverage.Coverage()
    with warnings.catch_warnings():  # what was killed may have left half a file
        warnings.simplefilter("ignore", coverage.exceptions.CoverageWarning)
        whole.combine()
    whole.save()
    table = Path(".cache/coverage/report.txt")
    try:
        with table.open("w") as file:
            total = whole.report(file=file)
    except coverage.exceptions.NoDataError:
        return
    terminalreporter.write_line(f"coverage: {total:.1f} % of the lines and branches, see {table}")


@pytest.fixture(scope="session")
def soak() -> bool:
    """Whether the long series run whole (`make soak`) and not as samples."""
    return SOAK


@pytest.fixture(scope="session")
def seed() -> int:
    """What sampled tests draw from; printed at the start, set again by LEGER_SEED."""
    return int(os.environ["LEGER_SEED"])


@pytest.fixture
def rng(seed: int, request: pytest.FixtureRequest) -> random.Random:
    """A generator of random numbers that depends on the seed and the test's name only."""
    return random.Random(f"{seed} {request.node.path.name} {request.node.name}")


@pytest.fixture(scope="session", params=SUITES)
def suite(request: pytest.FixtureRequest) -> str:
    """Debian's suite of the machine: trixie (podman 5.4) and forky (podman 5.8)."""
    return str(request.param)


@pytest.fixture(scope="session")
def machines_allowed() -> None:
    """Skip where no machine can run; CI has to have what they need."""
    if reason := why_not():
        if os.environ.get("CI"):
            pytest.fail(f"CI must run the tests with machines: {reason}", pytrace=False)
        pytest.skip(reason)


@pytest.fixture(scope="session")
def quadlet(machines_allowed: None, suite: str) -> Path:
    """The quadlet of the suite's podman, run on this host."""
    program = quadlet_binary(suite)
    if program is None:
        pytest.skip(f"the quadlet of {suite} does not run on this host")
    return program


@pytest.fixture
def new_machine(machines_allowed: None) -> Iterator[Callable[..., Machine]]:
    """Machine.boot, whose machines end with the test; for several at once, or special ones."""
    booted: list[Machine] = []

    def boot(*arguments: object, **options: object) -> Machine:
        booted.append(Machine.boot(*arguments, **options))  # type: ignore[arg-type]
        return booted[-1]

    yield boot
    for machine in booted:
        machine.drop()


@pytest.fixture
def machine(machines_allowed: None, suite: str) -> Iterator[Machine]:
    """A fresh machine without Leger."""
    with Machine.boot(suite) as booted:
        yield booted


@pytest.fixture
def leger_machine(machines_allowed: None, suite: str) -> Iterator[Machine]:
    """A fresh machine with Leger installed and the image localhost/hello:1."""
    with Machine.boot(suite, installed=True) as booted:
        yield booted


@pytest.fixture(scope="module")
def shared_machine(machines_allowed: None, suite: str) -> Iterator[Machine]:
    """One machine with Leger installed for all tests of a module."""
    with Machine.boot(suite, installed=True) as booted:
        yield booted
