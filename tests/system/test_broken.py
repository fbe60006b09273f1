"""What a commit can contain that must not be deployed: refused with its place, and no harm done."""

from __future__ import annotations

import pytest
from machine import Machine
from system.application import IMAGE, commit

GOOD = f"""[Container]
Image={IMAGE}
ContainerName=base
Exec=sleep infinity
RunInit=true
StopTimeout=1
Secret=token
[Install]
WantedBy=multi-user.target
"""
OTHER = GOOD.replace("ContainerName=base\n", "").replace("Secret=token\n", "")

BROKEN = {
    "unknown-key": ({"a.container": OTHER.replace("Exec=", "Exce=")}, "a.container:3: ", "Exce"),
    "no-image": ({"a.container": "[Container]\nExec=true\n"}, "a.container", "Image"),
    "missing-network": (
        {"a.container": OTHER.replace("RunInit", "Network=none.network\nRunInit")},
        "a.container:4: ",
        "none.network",
    ),
    "missing-pod": (
        {"a.container": OTHER.replace("RunInit", "Pod=none.pod\nRunInit")},
        "a.container:4: ",
        "none.pod",
    ),
    "hidden": ({"a.container": OTHER, ".b.container": OTHER}, ".b.container", "hidden"),
    "not-a-unit": ({"a.container": "what is this\n"}, "a.container:1: ", ""),
    "misspelt-option": (
        {"a.container": OTHER.replace("RunInit", "Secret=x,taget=y\nRunInit")},
        "a.container:4: ",
        "taget",
    ),
    "loops-in-old-generators": (
        {"a.container": OTHER.replace("Exec=sleep infinity", "Exec=true \\\n")},
        "a.container:3: ",
        "",
    ),
    "another-deployments-file": ({"base.container": OTHER}, "base.container", "base"),
    "another-deployments-unit": (
        {"a.container": OTHER.replace("[Container]", "[Container]\nServiceName=base")},
        "a.container",
        "base",
    ),
    "a-unit-of-the-host": ({"dbus.container": OTHER}, "dbus.container", "dbus"),
    "undefined-value": (
        {"a.container.j2": OTHER.replace("sleep", "{{ nothing }}")},
        "a.container.j2:3: ",
        "nothing",
    ),
    "secret-bound-twice": (
        {"a.container": OTHER.replace("RunInit", "Secret=token\nRunInit")},
        "token",
        "base",
    ),
}


@pytest.fixture(scope="module")
def base(shared_machine: Machine) -> Machine:
    """One deployment runs."""
    tree = {"base.container": GOOD, ".leger.yaml": "health: {quiet: 200ms}\n"}
    commit(shared_machine, tree, "/srv/base")
    shared_machine.run("leger", "secrets", "set", "base/token", "-", input="t")
    shared_machine.run("leger", "secrets", "set", "broken/token", "-", input="t")
    shared_machine.run("leger", "deploy", "install", "base", "/srv/base", timeout=120)
    return shared_machine


def untouched(machine: Machine) -> tuple[str, bytes]:
    running = machine.run("podman", "inspect", "-f", "{{.State.Pid}}", "base").stdout
    return running, machine.pull("/etc/leger/units.json")


@pytest.mark.parametrize("case", sorted(BROKEN))
def test_a_broken_commit_is_refused_with_its_place(base: Machine, case: str) -> None:
    tree, place, word = BROKEN[case]
    before = untouched(base)
    commit(base, tree, "/srv/broken")
    done = base.run("leger", "deploy", "install", "broken", "/srv/broken", check=False)
    assert done.code == 4, done
    assert place in done.stderr
    assert word in done.stderr
    assert "Traceback" not in done.stderr
    assert untouched(base) == before
    base.run("systemctl", "daemon-reload")
    base.run("systemctl", "is-active", "base.service")


def test_a_binary_file_and_a_link_that_leads_nowhere_are_refused(base: Machine) -> None:
    before = untouched(base)
    for make in ("head -c 300 /dev/urandom >a.container", "ln -s nowhere a.container"):
        commit(base, {"README": "x"}, "/srv/broken")
        base.sh(f"cd /srv/broken; {make}; git add -A; git commit -qm broken")
        done = base.run("leger", "deploy", "install", "broken", "/srv/broken", check=False)
        assert done.code == 4, done
        assert "a.container" in done.stderr
    assert untouched(base) == before


def test_what_ran_before_runs_after_a_reboot(base: Machine) -> None:
    """The last test of this machine."""
    base.sync()
    base.reboot()
    base.run("systemctl", "is-active", "base.service")
    assert "broken" not in base.run("leger", "deploy", "list").stdout
    commit(base, {"a.container": OTHER}, "/srv/broken")
    base.run("leger", "deploy", "install", "broken", "/srv/broken", timeout=120)
    base.run("systemctl", "is-active", "base.service", "a.service")
