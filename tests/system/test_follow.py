"""A host that follows its repositories: plan, sync, stage and apply, on a real machine."""

from __future__ import annotations

import json
import os

import pytest
from machine import SUITES, Machine
from system.application import IMAGE, commit
from system.following import FOLDER, answer, author, container, define, process, versions

SOAK = os.environ.get("LEGER_SOAK") == "1"


@pytest.fixture(scope="module", params=SUITES if SOAK else SUITES[:1])
def suite(request: pytest.FixtureRequest) -> str:
    """Nothing of this depends on podman's version: one suite does, but for the long series."""
    return str(request.param)


@pytest.fixture
def host(shared_machine: Machine) -> Machine:
    """The machine with one deployment, whatever the test before left."""
    machine = shared_machine
    machine.sh(
        f"rm -rf {FOLDER} /srv/*/; mkdir -p {FOLDER}; : >/etc/leger/config.yaml\n"
        "leger sync --retry || true\n"
        "rm -rf /var/lib/leger/sources/*"
    )
    assert versions(machine) == {}
    define(machine, "web")
    author(machine, "web", 1)
    machine.run("leger", "sync")
    assert versions(machine) == {"web": "1"}
    return machine


SNAPSHOT = r"""
systemctl list-units --all --no-legend --plain --type=service,socket,timer,target,mount \
  | grep -v 'leger-\|machine-run\|user-runtime\|user@\|session' | awk '{print $1,$2,$3,$4}' | sort
podman ps --all --no-trunc --format '{{.ID}} {{.State}}'; podman volume ls -q; podman secret ls -q
find / -xdev \( -path /proc -o -path /sys -o -path /dev -o -path /srv/host -o -path /tmp \
  -o -path /var/lib/leger/sources -o -path /var/lib/leger/store \
  -o -path /var/log/journal -o -path /run -o -path /root/.cache -o -name __pycache__ \) \
  -prune -o -printf '%p %y %m %U %s %T@ %l\n' \
  | grep -v '^/var/lib/leger d\|db.sql-\|/tmp d\|/run/lock d' | sort
find /etc /run/systemd /run/leger -xdev -type f ! -path '/run/systemd/journal/*' \
  ! -name 'machine-run-*' -exec sha256sum {} + 2>/dev/null | sort
"""


def test_a_plan_changes_nothing_but_sources_and_store(host: Machine) -> None:
    """One deployment is the host's own, one is its fleet's."""
    commit(host, {"deployments.d/db.yaml": "source: /srv/db\n"}, "/srv/fleet")
    host.sh("echo 'fleet: {source: /srv/fleet}' >/etc/leger/config.yaml")
    author(host, "db", 1)
    author(host, "web", 2)
    before = host.sh(SNAPSHOT).stdout.splitlines()
    done = host.run("leger", "plan", "--exit-code", check=False)
    assert done.code == 10, done.stderr
    assert "restart web.service: web.container changed" in done.stdout
    assert "start db.service: new" in done.stdout
    assert "author <author@example.com>: change" in done.stdout
    assert "\x1b" not in done.stdout
    after = host.sh(SNAPSHOT).stdout.splitlines()
    assert sorted(set(before) ^ set(after)) == []
    assert len(before) > 1000


def test_what_is_planned_is_what_apply_does(host: Machine) -> None:
    author(host, "web", 2)
    planned = answer(host, "plan")
    author(host, "web", 3)
    applied = answer(host, "apply")
    (deployment,) = planned["deployments"]
    assert applied["applied"] == {"web": deployment["to"]}
    assert versions(host) == {"web": "2"}, "apply fetches nothing"
    assert host.run("leger", "plan", "--exit-code", check=False).code == 10
    host.run("leger", "apply")
    assert host.run("leger", "plan", "--exit-code").stdout == "nothing to do\n"
    assert versions(host) == {"web": "3"}


def test_good_bad_and_unreachable_sources_at_once(host: Machine) -> None:
    for name in ("away", "broken", "fine", "nosecret"):
        define(host, name)
    author(host, "fine", 1)
    author(host, "broken", 1)
    host.run("leger", "sync", check=False)
    commit(host, {"broken.container": "[Container]\nImage=x\nNoSuchKey=1\n"}, "/srv/broken")
    quadlet = container(1, "Secret=token")
    commit(host, {"nosecret.container": quadlet}, "/srv/nosecret")
    author(host, "fine", 2)
    author(host, "web", 2)
    strict = host.run("leger", "sync", "--strict", check=False)
    assert strict.code != 0
    assert versions(host) == {"broken": "1", "fine": "1", "web": "1"}
    done = host.run("leger", "sync", check=False)
    assert done.code == 1
    assert versions(host) == {"broken": "1", "fine": "2", "web": "2"}
    assert "/srv/away: cannot be fetched" in done.stderr
    assert "broken: broken.container:3" in done.stderr
    assert "nosecret: the secret token is missing" in done.stderr
    shown = answer(host, "plan", code=4)
    assert [item["deployment"] for item in shown["missing_secrets"]] == ["nosecret"]
    author(host, "broken", 2)
    again = host.run("leger", "sync", check=False)
    assert (again.code, versions(host)["broken"]) == (1, "2"), "the good commit is applied"


def test_staged_waits_is_replaced_by_a_newer_one_and_is_applied_or_discarded(host: Machine) -> None:
    define(host, "web", "update: stage")
    author(host, "web", 2)
    first = process(host, "web")
    assert "staged" in host.run("leger", "sync").stdout
    assert host.run("leger", "sync").stdout == "nothing new\n"
    newest = author(host, "web", 3)
    assert answer(host, "sync")["staged"] == {"web": newest}
    assert newest[:12] in host.run("leger", "staged", "list").stdout
    assert "+Label=version=3" in host.run("leger", "staged", "diff").stdout
    assert (versions(host), process(host, "web")) == ({"web": "1"}, first)
    author(host, "web", 4)
    host.run("leger", "staged", "apply", "web")
    assert versions(host) == {"web": "3"}
    assert answer_rows(host) == []
    host.run("leger", "sync")
    host.run("leger", "staged", "discard", "--all")
    assert answer_rows(host) == []
    assert versions(host) == {"web": "3"}
    assert host.run("leger", "staged", "apply", "web", check=False).code == 2
    host.run("leger", "deploy", "update", "web", "--stage")
    assert len(answer_rows(host)) == 1
    host.run("leger", "deploy", "update", "web")
    assert versions(host) == {"web": "4"}
    assert answer_rows(host) == [], "what is deployed does not wait"
    author(host, "new", 1)
    host.run("leger", "deploy", "install", "new", "/srv/new", "--stage")
    assert versions(host) == {"web": "4"}
    host.run("leger", "staged", "apply", "new")
    assert versions(host) == {"new": "1", "web": "4"}


def test_what_is_built_for_a_staged_deployment_does_not_run_before_it_is_applied(
    host: Machine,
) -> None:
    def build(version: int) -> None:
        tree = {
            "web.container": container(1, image="web.build"),
            "web.build": "[Build]\nImageTag=localhost/web\nSetWorkingDirectory=unit\nPull=never\n",
            "Containerfile": f"FROM {IMAGE}\nENV BUILT={version}\n",
        }
        commit(host, tree, "/srv/web")

    def built() -> str:
        return host.run("podman", "exec", "systemd-web", "sh", "-c", "echo $BUILT").stdout.strip()

    build(1)
    host.run("leger", "sync", timeout=120)
    define(host, "web", "update: stage")
    build(2)
    host.run("leger", "sync", timeout=120)
    assert len(answer_rows(host)) == 1
    host.run("systemctl", "restart", "web.service")
    assert built() == "1"
    host.run("leger", "staged", "discard", "web")
    host.run("systemctl", "restart", "web.service")
    assert built() == "1"
    host.run("leger", "sync", timeout=120)
    host.run("leger", "staged", "apply", "web", timeout=120)
    assert built() == "2"


def answer_rows(machine: Machine) -> list[object]:
    rows: list[object] = json.loads(machine.run("leger", "staged", "list", "--json").stdout)
    return rows


def test_a_deployment_whose_definition_is_gone_goes_in_the_same_switch(host: Machine) -> None:
    define(host, "old")
    tree = {"old.container": container(1, "Volume=keep.volume:/data"), "keep.volume": "[Volume]\n"}
    commit(host, tree, "/srv/old")
    host.run("leger", "sync")
    assert versions(host) == {"old": "1", "web": "1"}
    author(host, "web", 2)
    host.run("rm", f"{FOLDER}/old.yaml")
    before = answer(host, "status")["generation"]
    done = answer(host, "sync")
    assert (done["removed"], versions(host)) == (["old"], {"web": "2"})
    assert done["generation"] == before + 1
    assert "systemd-keep" in host.run("podman", "volume", "ls", "-q").stdout
    host.run("podman", "volume", "rm", "systemd-keep")
    host.run("mv", FOLDER, f"{FOLDER}.away")
    kept = host.run("leger", "sync", check=False)
    assert "web: stays" in kept.stderr
    assert versions(host) == {"web": "2"}
    host.run("mv", f"{FOLDER}.away", FOLDER)


def test_a_bad_commit_is_given_up_until_a_new_one_comes(host: Machine) -> None:
    define(host, "db")
    author(host, "db", 1)
    host.run("leger", "sync")
    author(host, "db", 2)
    bad = author(host, "web", 2, run="false")
    assert host.run("leger", "sync", check=False).code == 1
    assert versions(host) == {"db": "2", "web": "1"}, "the other stays applied"
    running = process(host, "web")
    waiting = host.run("leger", "sync")
    assert f"web: waits for a new commit: {bad[:12]} was given up" in waiting.stdout
    assert f"{bad[:12]} was given up" in host.run("leger", "apply").stdout
    assert process(host, "web") == running
    retried = host.run("leger", "sync", "--retry", check=False)
    assert (retried.code, versions(host)["web"]) == (1, "1")
    author(host, "web", 3)
    host.run("leger", "sync")
    assert versions(host) == {"db": "2", "web": "3"}
    assert "waits" not in host.run("leger", "sync").stdout


def test_apply_mends_what_drifted_and_leaves_what_was_stopped(host: Machine) -> None:
    tree = {
        "web.container": container(1, "Volume=./page:/page:ro"),
        "page/index": "as committed\n",
        "db.container": container(1),
    }
    commit(host, tree, "/srv/web")
    host.run("leger", "sync")
    first, other = process(host, "web"), process(host, "db")
    host.sh("echo changed >$(echo /var/lib/leger/store/web-*/page/index | tr ' ' '\\n' | tail -1)")
    touched = host.sh("grep -l changed /var/lib/leger/store/web-*/page/index").stdout.strip()
    assert "changed by hand" in host.run("leger", "plan").stdout
    host.run("leger", "apply")
    assert host.run("cat", touched).stdout == "as committed\n"
    inside = host.run("podman", "exec", "systemd-web", "cat", "/page/index").stdout
    assert inside == "as committed\n"
    assert process(host, "web") != first, "it had read what was changed"
    assert process(host, "db") == other
    host.sh("podman rm --force --time 0 systemd-web; systemctl stop db.service")
    host.run("leger", "apply")
    assert versions(host) == {"web": "1"}
    host.run("leger", "apply", "--start")
    assert versions(host) == {"db": "1", "web": "1"}
    assert host.run("leger", "apply").stdout == "nothing to do\n"


def test_what_only_a_target_has_that_nobody_started_is_left_alone(host: Machine) -> None:
    """Until that target is started: then it is missed like everything else."""
    later = container(1).replace("multi-user.target", "later.target")
    tree = {"web.container": container(1), "later.target": "[Unit]\n", "job.container": later}
    commit(host, tree, "/srv/web")
    host.run("leger", "sync")
    host.reboot()
    host.run("systemctl", "start", "leger-settle.service")
    assert versions(host) == {"web": "1"}
    assert answer(host, "status")["drift"] == []
    assert host.run("leger", "apply").stdout == "nothing to do\n"
    said = host.run("leger", "why", "job.service", check=False).stdout
    assert "only later.target starts it, which is not active" in said
    host.sh("systemctl start later.target; podman rm --force --time 0 systemd-job")
    host.run("leger", "apply")
    assert versions(host) == {"web": "1", "job": "1"}


UNITS = "/etc/systemd/system"
OTHER = "[Service]\nExecStart=/bin/sleep {}\n"


def override(machine: Machine, unit: str, seconds: int, *instances: str) -> None:
    """A file of the host that wins over a deployment's unit, and runs."""
    machine.push(OTHER.format(seconds), f"{UNITS}/{unit}")
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "restart", *(instances or (unit,)))


def test_what_overrides_a_unit_is_moved_aside_by_apply_and_never_by_the_timer(
    host: Machine,
) -> None:
    override(host, "web.service", 1001)
    assert versions(host) == {}
    (found,) = answer(host, "status")["drift"]
    assert (found["kind"], found["file"]) == ("overridden", f"{UNITS}/web.service")
    author(host, "web", 2)
    host.run("systemctl", "start", "leger-sync.service", check=False, timeout=120)
    assert "sleep 1001" in host.run("systemctl", "cat", "web.service").stdout
    assert versions(host) == {}
    planned = host.run("leger", "plan", "--exit-code", check=False)
    assert f"mend web.service: overridden by {UNITS}/web.service" in planned.stdout
    assert "sleep 1001" in host.pull(f"{UNITS}/web.service").decode()
    said = host.run("leger", "apply").stderr
    assert f"{UNITS}/web.service is now {UNITS}/web.service.replaced-by-leger" in said
    assert versions(host) == {"web": "2"}
    assert answer(host, "status")["drift"] == []
    assert host.run("leger", "plan", "--exit-code").stdout == "nothing to do\n"
    override(host, "web.service", 1002)
    host.run("leger", "apply")
    assert versions(host) == {"web": "2"}
    kept = host.sh(f"cat {UNITS}/web.service*").stdout
    assert (kept.count("sleep 1001"), kept.count("sleep 1002")) == (1, 1)
    host.sh(f"rm {UNITS}/web.service*")


def test_what_overrides_a_template_is_moved_aside_once(host: Machine) -> None:
    tree = {"web.container": container(1), "many@.container": container(1)}
    commit(host, tree, "/srv/web")
    host.run("leger", "sync")
    instances = ("many@a.service", "many@b.service")
    override(host, "many@.service", 1001, *instances)
    assert len(answer(host, "status")["drift"]) == 2
    host.run("leger", "apply")
    assert host.run("systemctl", "is-active", *instances).stdout == "active\nactive\n"
    assert len(versions(host)) == 3
    assert answer(host, "status")["drift"] == []
    host.sh(f"rm {UNITS}/many@.service*; systemctl stop {' '.join(instances)}")


def test_the_company_of_a_bad_commit_is_tried_with_the_next_one_of_the_guilty(
    host: Machine,
) -> None:
    def shop(version: int) -> None:
        text = container(version, "Network=shop.network")
        commit(host, {"shop.container": text, "shop.network": "[Network]\n"}, "/srv/shop")

    def web(version: int, *lines: str) -> str:
        text = container(version, "Network=shop.network", *lines)
        return commit(host, {"web.container": text}, "/srv/web")

    def expect_waiting(commit: str) -> None:
        before = answer(host, "status")["generation"]
        waiting = host.run("leger", "sync").stdout
        assert f"web: waits for a new commit: {commit[:12]} was given up: web.service" in waiting
        assert "shop: waits for a new commit: " in waiting
        assert "shop: waits for a new commit: " in host.run("leger", "apply").stdout
        assert answer(host, "status")["generation"] == before
        assert versions(host) == {"shop": "1", "web": "1"}

    define(host, "shop")
    shop(1)
    web(1)
    host.run("leger", "sync")
    shop(2)
    bad = web(2, "Volume=/no/such/folder:/x")
    assert host.run("leger", "sync", check=False).code == 1
    expect_waiting(bad)
    for command in ("sync", "apply"):
        before = answer(host, "status")["generation"]
        assert host.run("leger", command, "--retry", check=False).code == 1
        assert answer(host, "status")["generation"] > before
        expect_waiting(bad)
    worse = web(3, "Volume=/no/such/folder:/x")
    assert host.run("leger", "sync", check=False).code == 1
    expect_waiting(worse)
    web(4)
    host.run("leger", "sync")
    assert versions(host) == {"shop": "2", "web": "4"}
    assert host.run("leger", "sync").stdout == "nothing new\n"


def test_two_syncs_at_once(host: Machine) -> None:
    author(host, "web", 2)
    script = "leger sync >/tmp/one 2>&1 & leger sync >/tmp/two 2>&1; wait; cat /tmp/one /tmp/two"
    said = host.sh(script).stdout
    assert said.count("deployed at") == 1, said
    assert versions(host) == {"web": "2"}


def test_only_root_plans_for_the_system(host: Machine) -> None:
    done = host.run("setpriv", "--reuid=65534", "--clear-groups", "leger", "plan", check=False)
    assert done.code == 3
    assert "sudo" in done.stderr
