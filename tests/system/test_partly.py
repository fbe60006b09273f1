"""What is told when some deployments come up and others go back, on a real machine."""

from __future__ import annotations

import json
from typing import Any

import pytest
from machine import SUITES, Machine
from system.application import commit
from system.following import FOLDER, answer, author, container, define, versions

TELL = "#!/bin/sh\ncat >>/root/told\n"
CONFIG = "notify: {command: [/usr/local/bin/tell]}\n"


@pytest.fixture(scope="module", params=SUITES[:1])
def suite(request: pytest.FixtureRequest) -> str:
    """Nothing of this depends on podman's version."""
    return str(request.param)


@pytest.fixture
def host(shared_machine: Machine) -> Machine:
    """The machine with two deployments that have nothing to do with each other."""
    machine = shared_machine
    machine.sh(
        f"rm -rf {FOLDER} /etc/leger/config.yaml /srv/*/; mkdir -p {FOLDER} /usr/local/bin\n"
        "leger sync --retry || true; rm -rf /var/lib/leger/sources/*"
    )
    for name in ("good", "bad"):
        define(machine, name)
        author(machine, name, 1)
    machine.run("leger", "sync")
    machine.push(TELL, "/usr/local/bin/tell")
    machine.push(CONFIG, "/etc/leger/config.yaml")
    machine.sh("chmod +x /usr/local/bin/tell; rm -f /root/told")
    assert versions(machine) == {"good": "1", "bad": "1"}
    return machine


def told(machine: Machine) -> list[dict[str, Any]]:
    return [json.loads(line) for line in machine.run("cat", "/root/told").stdout.splitlines()]


def expect_partly(host: Machine, done: dict[str, Any], good: str) -> None:
    """One went back, the other is deployed, in what the command and the notify command say."""
    assert done["applied"] == {"good": good}
    assert done["generation"] == answer(host, "status")["generation"]
    assert list(done["why"]) == ["good.service"]
    assert "bad went back to what was there before" in done["failed"][""]
    assert versions(host) == {"good": "2", "bad": "1"}
    changed, back = told(host)
    assert (changed["result"], [one["name"] for one in changed["deployments"]]) == ("ok", ["good"])
    assert list(changed["units"]) == ["good.service"]
    assert (back["result"], [one["name"] for one in back["deployments"]]) == (
        "rolled back",
        ["bad"],
    )


def test_a_sync_tells_what_stayed_and_what_went_back(host: Machine) -> None:
    good, _ = author(host, "good", 2), author(host, "bad", 2, run="false")
    expect_partly(host, answer(host, "sync", code=1), good)
    author(host, "good", 3)
    author(host, "bad", 3, run="false")
    said = host.run("leger", "sync", check=False)
    assert "good: deployed at" in said.stdout
    assert "bad" not in said.stdout
    assert "bad.service" in said.stderr


def test_an_apply_tells_it_too(host: Machine) -> None:
    good, _ = author(host, "good", 2), author(host, "bad", 2, run="false")
    host.run("leger", "plan")
    expect_partly(host, answer(host, "apply", code=1), good)


def test_what_stayed_waits_no_more_and_what_went_back_does(host: Machine) -> None:
    for name in ("good", "bad"):
        define(host, name, "update: stage")
    good, _ = author(host, "good", 2), author(host, "bad", 2, run="false")
    host.run("leger", "sync")
    host.run("rm", "/root/told")
    expect_partly(host, answer(host, "staged", "apply", "--all", code=1), good)
    waiting = json.loads(host.run("leger", "staged", "list", "--json").stdout)
    assert [one["name"] for one in waiting] == ["bad"]
    host.run("leger", "staged", "discard", "--all")


def test_one_changed_definition_holds_back_no_other_staged_deployment(host: Machine) -> None:
    for name in ("good", "bad"):
        define(host, name, "update: stage")
        author(host, name, 2)
    host.run("leger", "sync")
    host.sh(f"echo 'values: {{a: 1}}' >>{FOLDER}/bad.yaml; echo '{{' >/var/lib/leger/staged/x.json")
    strict = host.run("leger", "staged", "apply", "--all", "--strict", check=False)
    assert (strict.code, versions(host)) == (1, {"good": "1", "bad": "1"})
    done = answer(host, "staged", "apply", "--all", code=1)
    assert list(done["applied"]) == ["good"]
    assert sorted(done["failed"]) == ["bad", "x"]
    assert "changed since it was staged" in done["failed"]["bad"]
    assert versions(host) == {"good": "2", "bad": "1"}
    host.run("leger", "staged", "discard", "--all")


def test_a_rollback_tells_what_did_not_come_up(host: Machine) -> None:
    """Something that it had on the host then is gone."""
    text = container(2, "Volume=/srv/outside:/x")
    commit(host, {"bad.container": text}, "/srv/bad")
    host.run("mkdir", "-p", "/srv/outside")
    good = author(host, "good", 2)
    host.run("leger", "sync")
    for name in ("good", "bad"):
        author(host, name, 3)
    host.run("leger", "sync")
    host.run("rmdir", "/srv/outside")
    done = answer(host, "rollback", code=1)
    assert list(done["deployments"]) == ["good"]
    assert done["deployments"]["good"]["after"] == good
    assert "bad went back to what was there before" in done["failed"][""]
    assert versions(host) == {"good": "2", "bad": "3"}
