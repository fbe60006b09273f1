"""`leger apply` mends what drifted, and what it takes for that comes up again."""

from __future__ import annotations

import json

from machine import Machine
from system.deployment import Deployed, active, container

PAGE = "Volume=./page/index:/index:ro"  # a file by itself: what replaces it is another one


def touch(one: Deployed) -> str:
    """Change the page in the tree by hand, as an editor that writes in place does; its path."""
    path = f"$(echo /var/lib/leger/store/{one.name}-*/page/index)"
    return one.machine.sh(f"echo changed >{path}; echo {path}").stdout.strip()


def page(machine: Machine, name: str) -> str:
    return machine.run("podman", "exec", name, "cat", "/index").stdout.strip()


def drift(machine: Machine) -> list[str]:
    shown = json.loads(machine.run("leger", "status", "--json", check=False).stdout)
    return [item["kind"] for item in shown["drift"]]


def test_the_only_container_of_a_pod_runs_again_when_its_file_is_mended(deployed: Deployed) -> None:
    """Trap 7: a restart of it alone ends with both inactive."""
    machine = deployed.machine
    tree = {
        "alone.pod": "[Pod]\n",
        "alone.container": container("Pod=alone.pod", PAGE),
        "page/index": "good\n",
    }
    deployed.install(tree)
    touch(deployed)
    assert page(machine, "systemd-alone") == "changed"
    said = machine.run("leger", "apply").stdout
    assert active(machine, "alone.service", "alone-pod.service") == ["active", "active"]
    assert page(machine, "systemd-alone") == "good"
    assert "restart alone.service: /var/lib/leger/store/" in said
    assert "restart alone-pod.service: stops together with what changed" in said
    assert "alone.service: /var/lib/leger" in machine.run("leger", "history").stdout
    assert machine.run("leger", "apply").stdout == "nothing to do\n"


def test_a_socket_that_was_overridden_listens_again_beside_its_service(deployed: Deployed) -> None:
    """Trap 14: a restart of it alone is refused while its service is active."""
    machine = deployed.machine
    text = "[Socket]\nListenStream=/run/over-{}\n[Install]\nWantedBy=sockets.target\n"
    service = "[Service]\nExecStart=/bin/sleep infinity\n"
    deployed.install({"over.socket": text.format("a"), "over.service": service})
    machine.push(text.format("b"), "/etc/systemd/system/over.socket")
    machine.sh("systemctl daemon-reload; systemctl restart over.socket; systemctl start over")
    machine.run("test", "-S", "/run/over-b")
    machine.run("leger", "apply")
    assert active(machine, "over.socket", "over.service") == ["active", "active"]
    machine.run("test", "-S", "/run/over-a")
    assert drift(machine) == []


def test_a_plan_mends_nothing_and_the_apply_after_it_restarts_who_read_it(
    deployed: Deployed,
) -> None:
    machine = deployed.machine
    deployed.install({"reader.container": container(PAGE), "page/index": "good\n"})
    path = touch(deployed)
    for _ in range(2):
        assert f"{path.rpartition('/page')[0]} was changed by hand: page/index" in (
            machine.run("leger", "plan", deployed.name).stdout
        )
    assert machine.run("cat", path).stdout == "changed\n"
    machine.run("leger", "apply", deployed.name)
    assert page(machine, "systemd-reader") == "good"


def test_a_restart_that_was_not_come_to_is_owed(deployed: Deployed) -> None:
    """Here because a commit came with it that was not well."""
    machine = deployed.machine
    tree = {
        "owed.container": container(PAGE),
        "other.container": container(),
        "page/index": "good\n",
    }
    deployed.install(tree)
    touch(deployed)
    deployed.commit(tree | {"other.container": container("Exec=/nothing")})
    machine.run("leger", "plan")
    assert machine.run("leger", "apply", check=False).code == 1
    machine.run("leger", "apply")
    assert page(machine, "systemd-owed") == "good"
    assert drift(machine) == []
