"""What goes back when units are not well: their group, nothing else, whatever comes between."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator

import pytest
from machine import Machine
from system.deployment import Deployed, active, container, pid

ALL = """
import sys
sys.path.insert(0, "/usr/lib/leger")
from leger import deploying, systemd, wanted
from leger.errors import LegerError
from leger.scope import Scope
from leger.switch import Host
scope = Scope.system()
host = Host(scope, systemd.connect(scope), print)
try:
    found = wanted.deployments(scope).deployments
    deploying.deploy(host, list(found.values()), deploying.Options())
except LegerError as error:
    sys.exit(f"{type(error).__name__}: {error}\\n{getattr(error, 'returned', '')}")
"""
SWITCH = "/var/lib/leger/switch.json"
BAD = "Volume=/no/such/folder:/x"
WEB = container("Network=shop.network", "Environment=VERSION={}")


@pytest.fixture(scope="module")
def three(shared_machine: Machine) -> Iterator[dict[str, Deployed]]:
    """shop and web, which uses the network of shop, and apart, which refers to neither."""
    found = {name: Deployed(shared_machine, name) for name in ("shop", "web", "apart")}
    for name, one in found.items():
        one.install(tree(name, 1))
    yield found
    for name in ("web", "shop", "apart"):
        shared_machine.run("leger", "deploy", "remove", name, "--yes", check=False)


def tree(name: str, version: int, *more: str) -> dict[str, str]:
    lines = [f"Environment=VERSION={version}", f"ContainerName={name}", *more]
    if name == "apart":
        return {"apart.container": container(*lines)}
    found = {f"{name}.container": container("Network=shop.network", *lines)}
    return found | ({"shop.network": "[Network]\n"} if name == "shop" else {})


def version(machine: Machine, name: str) -> str:
    env = machine.run("podman", "exec", name, "env", check=False).stdout
    return next((line for line in env.splitlines() if line.startswith("VERSION=")), "")


def deploy_all(machine: Machine) -> str:
    """All three in one switch; what was said when it failed, "" otherwise."""
    done = machine.run("python3", "-c", ALL, check=False, timeout=180)
    return done.stderr if done.code else ""


def deployed(machine: Machine) -> dict[str, str]:
    rows = json.loads(machine.run("leger", "deploy", "list", "--json").stdout)
    return {row["name"]: row["commit"] for row in rows}


def wait(condition: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.1)


def test_the_group_goes_back_and_the_others_stay(three: dict[str, Deployed]) -> None:
    machine = three["web"].machine
    before = deployed(machine)
    three["shop"].commit(tree("shop", 2))
    three["web"].commit(tree("web", 2, BAD))
    three["apart"].commit(tree("apart", 2))
    said = deploy_all(machine)
    assert said.startswith("NotHealthyError: web.service failed to start")
    assert "shop, web went back to what was there before" in said
    assert [version(machine, name) for name in three] == ["VERSION=1", "VERSION=1", "VERSION=2"]
    after = deployed(machine)
    assert [after[name] == before[name] for name in three] == [True, True, False]
    for name in ("shop", "web"):
        assert f"deployment='{name}'" in said
    status = json.loads(machine.run("leger", "status", "--json").stdout)
    assert (status["confirmed"], status["problems"]) == (True, [])
    history = json.loads(machine.run("leger", "history", "--json").stdout)
    assert history[-1]["why"].startswith("back from generation ")
    assert "web.service failed to start" in history[-2]["bad"]


def test_what_stayed_is_not_started_anew(three: dict[str, Deployed]) -> None:
    machine = three["web"].machine
    three["web"].commit(tree("web", 3, BAD))
    one = pid(machine, "apart")
    assert deploy_all(machine)
    assert pid(machine, "apart") == one
    assert version(machine, "web") == "VERSION=1"


def test_two_groups_that_fail_one_after_the_other_both_go_back(
    three: dict[str, Deployed],
) -> None:
    """The second is found bad in the quiet time, when the first has gone back already."""
    machine = three["web"].machine
    three["web"].commit(tree("web", 4, BAD))
    late = tree("apart", 4)
    late["apart.container"] = late["apart.container"].replace(
        "Exec=sleep infinity", "Exec=sh -c 'sleep 2; exit 1'"
    )
    late |= {".leger.yaml": "health: {timeout: 30s, quiet: 20s}\n"}
    three["apart"].commit(late, quick=False)
    said = deploy_all(machine)
    assert "web.service failed to start" in said
    assert "apart.service failed soon after its start" in said
    assert [version(machine, name) for name in three] == ["VERSION=1", "VERSION=1", "VERSION=2"]


def test_a_deployment_that_was_new_is_removed_again(three: dict[str, Deployed]) -> None:
    machine = three["web"].machine
    fresh = Deployed(machine, "fresh")
    said = fresh.fail({"fresh.container": container(BAD, "Network=shop.network")})
    assert "fresh" in said
    assert "fresh" not in deployed(machine)
    assert machine.run("test", "-e", "/etc/leger/deployments.d/fresh.yaml", check=False).code
    assert active(machine, "shop.service", "web.service", "apart.service") == ["active"] * 3
    state = machine.run("systemctl", "show", "-P", "LoadState", "fresh.service").stdout
    assert state == "not-found\n"


def test_killed_on_the_way_back_it_goes_back_without_help(three: dict[str, Deployed]) -> None:
    machine = three["web"].machine
    three["web"].commit(tree("web", 5, BAD))
    machine.sh("mkdir -p /run/systemd/system/shop.service.d")
    machine.push(
        "[Service]\nExecStartPre=/bin/sleep 5\n", "/run/systemd/system/shop.service.d/slow.conf"
    )
    three["shop"].commit(tree("shop", 5))
    machine.run("systemctl", "daemon-reload")
    driver = ("systemd-run", "--wait", "--pipe", "--collect", "--unit=leger-driver")
    with machine.spawn(*driver, "python3", "-c", ALL) as command:
        wait(lambda: "deployment" in machine.run("cat", SWITCH, check=False).stdout)
        machine.run("systemctl", "kill", "-s", "KILL", "leger-driver.service")
        command.wait(30)
    machine.sh("rm -r /run/systemd/system/shop.service.d; systemctl daemon-reload")
    machine.run("leger", "settle", check=False, timeout=180)
    assert [version(machine, name) for name in three] == ["VERSION=1", "VERSION=1", "VERSION=2"]
    status = json.loads(machine.run("leger", "status", "--json").stdout)
    assert (status["confirmed"], status["problems"]) == (True, [])


SERVER = "Exec=busybox httpd -f -p 8080 -h /www"


def page(machine: Machine) -> str:
    return machine.run("busybox", "wget", "-qO-", "http://127.0.0.1:8080/health").stdout


def web_server(name: str, *more: str) -> dict[str, str]:
    lines = [
        "Network=host",
        "Volume=./www:/www:ro",
        "Label=x-health-url=http://127.0.0.1:8080/health x-health-timeout=4s",
        SERVER,
        *more,
    ]
    return {f"{name}.container": container(*lines), "www/health": "well\n"}


def test_a_server_that_does_not_answer_well_goes_back(shared_machine: Machine) -> None:
    one = Deployed(shared_machine, "served")
    one.install(web_server("served"))
    one.fail(web_server("served", BAD))
    assert page(shared_machine) == "well\n"
    bad = web_server("served") | {"www/other": "no page of health\n"}
    del bad["www/health"]
    said = one.fail(bad)
    assert (
        "served.service is not healthy: http://127.0.0.1:8080/health answers 404, after 4 s" in said
    )
    assert "/no/such/folder" not in said  # the reason of the failure before
    assert page(shared_machine) == "well\n"
    one.remove()


def test_a_label_that_cannot_be_understood_is_a_fault(shared_machine: Machine) -> None:
    one = Deployed(shared_machine, "labelled")
    said = one.fail(web_server("labelled", "Label=x-health-expected=fine"))
    assert "labelled.container:" in said
    assert "x-health-expected: 'fine' is not a status" in said


def test_crash_loops_are_not_well_and_ended_jobs_are(shared_machine: Machine) -> None:
    one = Deployed(shared_machine, "judged")
    loop = container("Exec=false", service=("Restart=always", "RestartSec=100ms"))
    late = container("Exec=sh -c 'sleep 1; exit 3'", service=("Restart=always", "RestartSec=10ms"))
    for text in (loop, late):
        slow = {"judged.container": text, ".leger.yaml": "health: {quiet: 20s}\n"}
        one.commit(slow, quick=False)
        argv = ("leger", "deploy", "install", "judged", one.repository)
        said = shared_machine.run(*argv, check=False, timeout=120).stderr
        assert "judged.service ended soon after its start" in said
    well = {
        "judged-once.container": container("Exec=true", service=("Type=oneshot",)),
        "judged-end.container": container("Exec=true"),
    }
    assert one.install(well)["start"] == ["judged-end.service", "judged-once.service"]
    one.remove()


def test_notify_healthy_decides_where_it_is_asked_for(shared_machine: Machine) -> None:
    one = Deployed(shared_machine, "notified")
    lines = ("Notify=healthy", "HealthInterval=1s", "HealthRetries=1")
    one.install({"notified.container": container(*lines, "HealthCmd=true")})
    bad = container(*lines, "HealthCmd=false", service=("TimeoutStartSec=5",))
    assert "notified.service" in one.fail({"notified.container": bad})
    assert active(shared_machine, "notified.service") == ["active"]
    one.remove()


def marked(machine: Machine, name: str) -> str:
    """The file /marked of the container's image."""
    return machine.run("podman", "exec", name, "cat", "/marked", check=False).stdout.strip()


def build(machine: Machine, mark: str) -> None:
    """Have localhost/moving:1 mean another image, as a pull or podman auto-update does."""
    machine.sh(
        f"mkdir -p /root/moving; echo {mark} >/root/moving/marked\n"
        "printf 'FROM localhost/hello:1\\nCOPY marked /marked\\n' >/root/moving/Containerfile\n"
        "podman build -q --pull=never -t localhost/moving:1 /root/moving",
        timeout=120,
    )


def test_going_back_takes_the_image_that_ran_although_its_name_has_moved(
    shared_machine: Machine,
) -> None:
    """Trap 11: the tree of before with the image of now is not what ran before."""
    machine = shared_machine
    build(machine, "one")
    one = Deployed(machine, "moved")

    def tree(version: int, *more: str) -> dict[str, str]:
        text = container(f"Environment=VERSION={version}", "ContainerName=moved", *more)
        return {"moved.container": text.replace("localhost/hello:1", "localhost/moving:1")}

    one.install(tree(1))
    build(machine, "two")
    machine.run("podman", "image", "prune", "--force")
    one.fail(tree(2, BAD))
    assert (version(machine, "moved"), marked(machine, "moved")) == ("VERSION=1", "one")
    build(machine, "three")
    one.install(tree(3))
    assert marked(machine, "moved") == "three"
    machine.run("podman", "image", "prune", "--force")
    machine.run("leger", "rollback", "--deployment", "moved")
    assert (version(machine, "moved"), marked(machine, "moved")) == ("VERSION=1", "one")
    one.remove()


def test_an_image_that_podman_updated_is_no_drift(shared_machine: Machine) -> None:
    """`podman auto-update` pulls the name anew and restarts the unit."""
    machine = shared_machine
    build(machine, "one")
    one = Deployed(machine, "updated")
    text = container("ContainerName=updated", "AutoUpdate=local")
    tree = {"updated.container": text.replace("localhost/hello:1", "localhost/moving:1")}
    one.install(tree)
    build(machine, "two")
    machine.run("podman", "auto-update", timeout=120)
    assert marked(machine, "updated") == "two"
    before = pid(machine, "updated")
    assert json.loads(machine.run("leger", "status", "--json").stdout)["problems"] == []
    assert machine.run("leger", "plan", "--exit-code", check=False).code == 0
    one.install(tree)
    assert pid(machine, "updated") == before
    one.remove()


def test_a_secret_bound_elsewhere_reloads_what_asks_for_that(shared_machine: Machine) -> None:
    machine = shared_machine
    for name, value in (("prod/old", b"old"), ("prod/new", b"new")):
        machine.run("leger", "secrets", "set", name, "-", input=value)
    one = Deployed(machine, "reloaded")
    service = ("ExecReload=/bin/sh -c 'podman secret inspect --showsecret key >/run/reloaded'",)
    tree = {
        "reloaded.container": container("Secret=key,type=mount", service=service),
        ".leger.yaml": "health: {timeout: 30s, quiet: 200ms}\non-secret-change: reload\n",
    }
    one.commit(tree, quick=False)
    argv = ("leger", "deploy", "install", "reloaded", one.repository, "--json")
    machine.run(*argv, "--bind-secret", "key=prod/old")
    before = pid(machine, "systemd-reloaded")
    done = machine.run(*argv, "--bind-secret", "key=prod/new").stdout
    assert json.loads(done)["changes"]["reload"] == ["reloaded.service"]
    assert json.loads(done)["why"]["reloaded.service"] == "secret key is bound to prod/new"
    assert pid(machine, "systemd-reloaded") == before
    assert json.loads(machine.pull("/run/reloaded"))[0]["SecretData"] == "new"
    one.remove()


def test_a_member_stopped_by_hand_stays_stopped_when_its_pod_changes(
    shared_machine: Machine,
) -> None:
    """Trap 9: the pod's unit wants all of its members."""
    machine = shared_machine
    one = Deployed(machine, "held")
    tree = {
        "held.pod": "[Pod]\n",
        "held-a.container": container("Pod=held.pod"),
        "held-b.container": container("Pod=held.pod"),
    }
    one.install(tree)
    machine.run("systemctl", "stop", "held-b.service")
    one.install(tree | {"held.pod": "[Pod]\nPublishPort=127.0.0.1:8099:80\n"})
    assert active(machine, "held-pod.service", "held-a.service") == ["active", "active"]
    assert active(machine, "held-b.service") != ["active"]
    one.remove()


def test_a_changed_drop_in_of_a_service_restarts_it(shared_machine: Machine) -> None:
    machine = shared_machine
    one = Deployed(machine, "dropped")
    tree = {
        "dropped.container": container(),
        "dropped.service.d/a.conf": "[Service]\nEnvironment=A=1\n",
    }
    one.install(tree)
    tree["dropped.service.d/a.conf"] = "[Service]\nEnvironment=A=2\n"
    assert one.install(tree)["restart"] == ["dropped.service"]
    one.remove()


def test_what_has_nothing_to_go_back_to_is_told_and_tried_no_more(shared_machine: Machine) -> None:
    """What it was before does not come up either: the host has to be mended first."""
    machine = shared_machine
    one = Deployed(machine, "lost")

    def tree(version: int) -> dict[str, str]:
        lines = ("Volume=/srv/outside:/x", f"Environment=VERSION={version}", "ContainerName=lost")
        return {"lost.container": container(*lines)}

    def history() -> list[str]:
        rows = json.loads(machine.run("leger", "history", "--json").stdout)
        return [row["why"] for row in rows]

    machine.run("mkdir", "-p", "/srv/outside")
    one.install(tree(1))
    machine.run("rmdir", "/srv/outside")
    said = one.fail(tree(2))
    assert "lost went back to what was there before" in said
    assert "nothing to go back to for lost.service" in said
    assert json.loads(machine.run("leger", "status", "--json").stdout)["confirmed"] is False
    before = history()
    machine.run("leger", "settle", check=False, timeout=120)
    machine.run("leger", "settle", check=False, timeout=120)
    assert history() == before
    machine.run("mkdir", "-p", "/srv/outside")
    one.install(tree(2))
    assert version(machine, "lost") == "VERSION=2"
    assert json.loads(machine.run("leger", "status", "--json").stdout)["confirmed"] is True
    one.remove()
