"""A repository that turns bad in every way, then good again: what ran runs on, and it follows."""

from __future__ import annotations

import os
import random
import shlex

import pytest
from machine import SUITES, Machine
from turning import CASES, GIVEN_UP, Case, Files, good

SOAK = os.environ.get("LEGER_SOAK") == "1"
REPOSITORY = "/srv/turning"
SAMPLE = 4


def write(machine: Machine, files: Files) -> None:
    """Put files into the repository's work tree."""
    for name, content in files.items():
        path = shlex.quote(f"{REPOSITORY}/{name}")
        machine.sh(f"rm -rf {path}; mkdir -p $(dirname {path})")
        if isinstance(content, str) and content.startswith("-> "):
            machine.sh(f"ln -s {shlex.quote(content[3:])} {path}")
        elif content is not None:
            machine.run("tee", f"{REPOSITORY}/{name}", input=content)


def commit(machine: Machine) -> None:
    machine.sh(
        f"cd {REPOSITORY}; git add -A; git commit -q --allow-empty -m change;"
        " git rev-parse HEAD >.git/good"
    )


def running(machine: Machine) -> tuple[str, str]:
    """The version and the process that run."""
    form = '{{index .Config.Labels "version"}} {{.State.Pid}}'
    done = machine.run("podman", "inspect", "--format", form, "systemd-web", check=False)
    version, _, process = done.stdout.strip().partition(" ")
    return version, process


def turn_bad(machine: Machine, case: Case) -> None:
    if case.files:
        write(machine, case.files)
        commit(machine)
    if case.script:
        machine.sh(f"cd {REPOSITORY}; {case.script.format(repository=REPOSITORY)}")


def turn_good(machine: Machine, case: Case, version: int) -> None:
    if case.mend:
        machine.sh(
            f"cd {REPOSITORY} 2>/dev/null || cd /; {case.mend.format(repository=REPOSITORY)}"
        )
    write(machine, {**dict.fromkeys(case.files), **good(version)})
    commit(machine)


@pytest.fixture(scope="module", params=SUITES if SOAK else SUITES[-1:])
def suite(request: pytest.FixtureRequest) -> str:
    """A sample on the newest suite; both, whole, in the long series."""
    return str(request.param)


@pytest.fixture(scope="module")
def followed(shared_machine: Machine) -> Machine:
    """A machine that follows the good repository."""
    machine = shared_machine
    machine.sh(
        f"git init -q -b main {REPOSITORY}; cd {REPOSITORY};"
        " git config user.name a; git config user.email a@b;"
        " git commit -q --allow-empty -m first;"
        f" mkdir -p /etc/leger/deployments.d; echo 'source: {REPOSITORY}\nref: main\n"
        "health: {timeout: 20s, quiet: 1s}' >/etc/leger/deployments.d/web.yaml"
    )
    write(machine, good(0))
    commit(machine)
    machine.run("leger", "sync")
    return machine


def chosen(rng: random.Random, *, soak: bool) -> list[str]:
    return sorted(CASES) if soak else sorted(rng.sample(sorted(CASES), SAMPLE))


@pytest.mark.timeout(3600)
def test_what_ran_runs_on_and_the_next_good_commit_is_applied(
    followed: Machine, rng: random.Random, soak: bool
) -> None:
    machine = followed
    broken: list[object] = []
    assert len(CASES) >= 40
    for number, name in enumerate(chosen(rng, soak=soak)):
        case = CASES[name]
        turn_good(machine, Case(), 2 * number)
        machine.run("leger", "sync")
        before = running(machine)
        assert before[0] == str(2 * number), name
        turn_bad(machine, case)
        bad = machine.run("leger", "sync", check=False, timeout=200)
        again = machine.run("leger", "sync", check=False, timeout=200)
        after = running(machine)
        turn_good(machine, case, 2 * number + 1)
        done = machine.run("leger", "sync", check=False, timeout=200)
        last = running(machine)[0]
        kept = after == before or (name in GIVEN_UP and after[0] == before[0])
        if not (kept and bad.code and done.code == 0 and last == str(2 * number + 1)):
            broken.append((name, before, after, last, bad.stderr[-600:], done.stderr[-600:]))
        elif "Traceback" in bad.stderr + again.stderr + done.stderr:
            broken.append((name, "a traceback", bad.stderr[-600:]))
    assert not broken, "\n\n".join(map(str, broken))
    failed = machine.run("systemctl", "--failed", "--no-legend", "--plain").stdout
    assert "web" not in failed
