"""Power cuts and kill -9 over the whole length of a deploy, be it one that has to go back."""

from __future__ import annotations

import itertools
import json
import random
import time
from dataclasses import dataclass

import pytest
from machine import Machine
from system import application
from system.application import Seen, commit, complete, container, files

STEPS = 25
SETTLED = """
until [ "$(systemctl show -P ActiveState leger-settle.service)" != activating ] &&
    ! systemctl list-jobs --no-legend | grep -q .
do sleep 0.1; done
"""
STILL = "/srv/still"
UNWELL = "Label=x-health-url=http://127.0.0.1:9/ x-health-timeout=2s"

pytestmark = pytest.mark.machine


@dataclass(frozen=True)
class Moment:
    """What happens ("cut", "kill") to which deploy ("well", "back") after which part of it."""

    what: str
    deploy: str
    part: float


def moments(rng: random.Random, soak: bool) -> list[Moment]:
    """A hundred, spread evenly; or one of each kind."""
    kinds = itertools.product(("cut", "kill"), ("well", "back"))
    found = [
        Moment(what, deploy, (step + rng.random()) / STEPS)
        for what, deploy in kinds
        for step in (range(STEPS) if soak else [rng.randrange(STEPS)])
    ]
    rng.shuffle(found)
    return found


@pytest.fixture
def deployed(leger_machine: Machine) -> Machine:
    """A machine on which version 1 runs, and beside it a container that no deploy touches."""
    leger_machine.import_image(application.IMAGE)
    commit(leger_machine, STILL_FILES, STILL)
    leger_machine.run("leger", "deploy", "install", "still", STILL, timeout=120)
    commit(leger_machine, files(1))
    leger_machine.run("leger", "secrets", "set", "prod/token", "-", input=b"first")
    deploy(leger_machine)
    leger_machine.sync()
    return leger_machine


STILL_FILES = {
    "still.container": container("still", 0).replace("inner.network", "still.network"),
    "still.network": "[Network]\n",
    "settings.env": "VERSION=0\n",
    "app.conf": "version 0\n",
}


def deploy(machine: Machine) -> None:
    """Bring the newest commit to run."""
    machine.run(*_install(), timeout=120)


def _install() -> list[str]:
    bind = f"token={application.SECRET}"
    return ["leger", "deploy", "install", "app", application.REPOSITORY, "--bind-secret", bind]


def next_tree(version: int, deploy: str) -> dict[str, str]:
    """Version `version`, which for "back" starts and is found not to be healthy."""
    tree = {".leger.yaml": "health: {quiet: 1s}\n", **files(version)}
    if deploy == "back":
        alpha = tree["alpha.container"]
        tree["alpha.container"] = alpha.replace("[Install]", f"{UNWELL}\n[Install]")
    return tree


def length(machine: Machine, version: int, deploy: str) -> float:
    """How many seconds such a deploy takes on this machine."""
    commit(machine, next_tree(version, deploy))
    began = time.monotonic()
    done = machine.run(*_install(), check=False, timeout=120)
    assert (done.code == 0) is (deploy == "well"), done.stderr
    return time.monotonic() - began


def seen(machine: Machine) -> Seen:
    """What runs of the application."""
    found = Seen.at(machine).containers
    assert found.pop("still") == ("0", "0", "0")
    return Seen(found)


def process(machine: Machine) -> str:
    return machine.run("podman", "inspect", "-f", "{{.State.Pid}}", "still").stdout


@pytest.mark.timeout(7200)
def test_whenever_it_ends_what_runs_is_whole(
    deployed: Machine, rng: random.Random, soak: bool
) -> None:
    """The old set or the new one, without help; the old one, where the new one is not well."""
    lengths = {kind: length(deployed, 2, kind) for kind in ("well", "back")}
    assert seen(deployed) == complete(2)
    version = 2
    for moment in moments(rng, soak):
        version = _end(deployed, version, moment, lengths[moment.deploy])


def _end(machine: Machine, version: int, moment: Moment, seconds: float) -> int:
    """End the deploy of the next version at `moment`; which version runs when that is mended."""
    commit(machine, next_tree(version + 1, moment.deploy))
    machine.sync()
    before = process(machine)
    with machine.spawn(*_install()) as command:
        time.sleep(seconds * moment.part)
        if moment.what == "cut":
            machine.cut()
        else:
            machine.sh("systemctl kill -s KILL 'leger-[0-9]*.service' || true")
            command.wait(180)
    if moment.what == "cut":
        machine.start()
    machine.sh(SETTLED, timeout=180)
    found = seen(machine)
    runs = next((one for one in (version, version + 1) if complete(one) == found), 0)
    told = f"{moment} of {seconds:.1f} s, {version} -> {version + 1}: {found}"
    failed = machine.run("systemctl", "--failed", "--no-legend", check=False).stdout
    assert runs, f"{told}\n{failed}{machine.journal('-u', 'leger-*.service')}"
    assert runs == version or moment.deploy == "well", told
    assert moment.what == "cut" or process(machine) == before, told
    status = json.loads(machine.run("leger", "status", "--json").stdout)
    problems = [line for line in status["problems"] if "recovery key" not in line]
    assert (status["confirmed"], problems) == (True, []), f"{told}\n{status}"
    if moment.deploy == "well":
        deploy(machine)
        assert seen(machine) == complete(version + 1), told
    return version + 1 if moment.deploy == "well" else version
