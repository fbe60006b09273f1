"""From a repository to running units and back: what `leger deploy` promises."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from machine import Machine
from system.application import IMAGE, commit

EXAMPLE = Path(__file__).resolve().parents[2] / "docs/example"
REPOSITORY = "/srv/shop"
SECRETS = {
    "shop/db-password": "sesame",
    "shop/api-token": "tok en",
    "shop/session-key": "k" * 40,
    "shop/report-keys/token": "report-me",
}
UNITS = (
    "back-pod.service",
    "mail@orders.service",
    "report.service",
    "shop-network.service",
    "shop-volume.service",
    "web.service",
    "worker.service",
)


def container(*lines: str) -> str:
    return "\n".join(
        [
            "[Container]",
            f"Image={IMAGE}",
            "Exec=sleep infinity",
            "RunInit=true",
            "StopTimeout=1",
            *lines,
            "[Install]",
            "WantedBy=multi-user.target",
            "",
        ]
    )


def set_secrets(machine: Machine) -> None:
    for name, value in SECRETS.items():
        machine.run("leger", "secrets", "set", name, "-", input=value)


def states(machine: Machine, *names: str) -> dict[str, str]:
    shown = machine.run("systemctl", "is-active", *names, check=False).stdout.split()
    return dict(zip(names, shown, strict=True))


def expect_shop(machine: Machine) -> None:
    """Every unit of the example runs, and its containers read their secrets."""
    assert set(states(machine, *UNITS).values()) == {"active"}, machine.run("leger", "status")
    inside = machine.run("podman", "exec", "shop-web", "env").stdout
    assert "DB_PASSWORD=sesame\n" in inside
    assert f"SESSION_KEY={'k' * 40}\n" in inside
    assert "SHOP_CURRENCY=EUR\n" in inside
    assert machine.run("podman", "exec", "shop-web", "cat", "/run/secrets/payment").stdout == (
        "tok en"
    )
    assert "REPORT_TOKEN=report-me\n" in (
        machine.run("podman", "exec", "shop-report-writer", "env").stdout
    )
    assert "Good morning" in machine.run("curl", "-sS", "http://127.0.0.1:8080/").stdout
    assert "QUEUE=orders\n" in machine.run("podman", "exec", "shop-mail-orders", "env").stdout


@pytest.fixture(scope="module")
def shop(shared_machine: Machine) -> Machine:
    """The example, deployed by one command."""
    machine = shared_machine
    machine.push(EXAMPLE, f"{REPOSITORY}/quadlets")
    machine.sh(
        f"cd {REPOSITORY}; git init -q -b main; git config user.name a; git config user.email a@b\n"
        "git add -A; git commit -qm shop"
    )
    set_secrets(machine)
    machine.run(
        *("leger", "deploy", "install", "shop", REPOSITORY, "--path", "quadlets"),
        *("--set", "greeting=Good morning"),
        timeout=120,
    )
    return machine


def test_one_command_deploys_every_kind(shop: Machine) -> None:
    expect_shop(shop)
    listed = json.loads(shop.run("leger", "deploy", "list", "--json").stdout)
    assert [(item["name"], item["source"]) for item in listed] == [("shop", REPOSITORY)]
    status = json.loads(shop.run("leger", "status", "--json").stdout)
    assert status["confirmed"] is True
    shown = {unit["name"]: unit for unit in status["deployments"][0]["units"]}
    assert shown.keys() >= set(UNITS)
    assert not [unit for unit in shown.values() if unit["load"] != "loaded"]


def test_legerds_page_names_the_units_that_use_a_secret(shop: Machine) -> None:
    read = ("curl", "-sS", "--unix-socket", "/run/legerd/root.sock", "http://localhost/")
    page = shop.run(*read, "--get", "--data", "name=shop/api-token").stdout
    assert page.count("<article>") == 1
    assert "<bdi>web.service</bdi>" in page
    assert "<bdi>unix:root(0)</bdi>" in page
    assert not [value for value in SECRETS.values() if value in page]


def test_the_same_again_changes_nothing(shop: Machine) -> None:
    before = shop.pull("/etc/leger/units.json")
    ids = shop.run("podman", "ps", "-q", "--no-trunc").stdout
    shop.run("leger", "deploy", "update", "shop")
    assert shop.pull("/etc/leger/units.json") == before
    assert shop.run("podman", "ps", "-q", "--no-trunc").stdout == ids


def test_a_changed_file_restarts_its_readers_only(shop: Machine) -> None:
    ids = shop.run("podman", "inspect", "-f", "{{.State.Pid}}", "shop-worker").stdout
    shop.sh(f"cd {REPOSITORY}/quadlets; echo SHOP_LANGUAGE=de >>web.env; git commit -qam language")
    done = json.loads(shop.run("leger", "deploy", "update", "shop", "--json").stdout)
    assert {what: units for what, units in done["changes"].items() if units} == {
        "restart": ["web.service"]
    }
    assert shop.run("podman", "inspect", "-f", "{{.State.Pid}}", "shop-worker").stdout == ids
    assert "SHOP_LANGUAGE=de" in shop.run("podman", "exec", "shop-web", "env").stdout


def test_a_secret_that_was_set_anew_comes_with_the_next_restart(shop: Machine) -> None:
    shop.run("leger", "secrets", "set", "shop/api-token", "-", input="another")
    shop.run("systemctl", "restart", "web.service")
    read = ("podman", "exec", "shop-web", "cat", "/run/secrets/payment")
    assert shop.run(*read).stdout == "another"
    shop.run("leger", "secrets", "set", "shop/api-token", "-", input="tok en")
    shop.run("systemctl", "restart", "web.service")
    assert shop.run(*read).stdout == "tok en"


def test_a_reboot_without_network_brings_all_of_it_back(shop: Machine) -> None:
    shop.sync()
    assert shop.reboot() == "running"
    shop.run("systemctl", "start", "leger-settle.service")
    expect_shop(shop)


def test_a_broken_commit_is_refused_and_what_ran_runs_on(shop: Machine) -> None:
    before = shop.pull("/etc/leger/units.json")
    shop.sh(
        f"cd {REPOSITORY}/quadlets\n"
        "sed -i 's/^Exec=httpd/NoSuchKey=1\\nExec=httpd/' web.container\n"
        "git commit -qam broken"
    )
    line = shop.sh(f"grep -n NoSuchKey {REPOSITORY}/quadlets/web.container").stdout.partition(":")[
        0
    ]
    refused = shop.run("leger", "deploy", "update", "shop", check=False)
    assert refused.code == 4
    assert f"web.container:{line}: " in refused.stderr
    assert "NoSuchKey" in refused.stderr
    assert shop.pull("/etc/leger/units.json") == before
    shop.run("systemctl", "daemon-reload")
    expect_shop(shop)
    shop.sh(f"cd {REPOSITORY}; git revert --no-edit HEAD >/dev/null")
    shop.run("leger", "deploy", "update", "shop")


def test_a_commit_that_does_not_come_up_goes_back(shop: Machine) -> None:
    """The image is there and the unit is valid, but the program ends at once.

    The restarts before it have used up systemd's start limit of web.service and of its build.
    """
    shop.sh("for _ in 1 2 3 4; do systemctl restart web.service; done")
    before = json.loads(shop.run("leger", "status", "--json").stdout)["deployments"][0]["commit"]
    shop.sh(
        f"cd {REPOSITORY}/quadlets\n"
        "sed -i 's/^Exec=httpd.*/Exec=no-such-program/' web.container; git commit -qam ends"
    )
    failed = shop.run("leger", "deploy", "update", "shop", check=False, timeout=120)
    assert failed.code == 1
    assert "web.service ended soon after its start" in failed.stderr
    assert "journalctl -b -u web.service" in failed.stderr
    status = json.loads(shop.run("leger", "status", "--json").stdout)
    assert status["deployments"][0]["commit"] == before
    assert status["confirmed"] is True
    expect_shop(shop)
    shop.sh(f"cd {REPOSITORY}; git revert --no-edit HEAD >/dev/null")


def test_a_missing_secret_is_told_before_anything_happens(shop: Machine) -> None:
    commit(shop, {"lone.container": container("Secret=nowhere")}, "/srv/lone")
    refused = shop.run("leger", "deploy", "install", "lone", "/srv/lone", check=False)
    assert refused.code == 4
    assert "legerd has no lone/nowhere" in refused.stderr
    assert "leger secrets set lone/nowhere -" in refused.stderr
    assert "lone" not in shop.run("leger", "deploy", "list").stdout
    assert shop.run("systemctl", "cat", "lone.service", check=False).code != 0


def test_two_deployments_with_one_unit_name_are_refused(shop: Machine) -> None:
    commit(shop, {"web.container": container()}, "/srv/twin")
    refused = shop.run("leger", "deploy", "install", "twin", "/srv/twin", check=False)
    assert refused.code == 4
    assert "web.container" in refused.stderr
    assert "shop" in refused.stderr


def test_a_dry_run_switches_nothing(shop: Machine) -> None:
    commit(shop, {"dry.container": container()}, "/srv/dry")
    before = shop.pull("/etc/leger/units.json")
    done = shop.run("leger", "deploy", "install", "dry", "/srv/dry", "--dry-run")
    assert "start dry.service: new" in done.stdout
    assert shop.pull("/etc/leger/units.json") == before
    assert "dry" not in shop.run("leger", "deploy", "list").stdout


def test_adopting_takes_over_the_hosts_own_quadlet(shop: Machine) -> None:
    own = "/etc/containers/systemd/own.container"
    shop.push(container("Environment=FROM=host", "ContainerName=own"), own)
    shop.sh("systemctl daemon-reload; systemctl start own.service")
    tree = {"own.container": container("Environment=FROM=git", "ContainerName=own")}
    commit(shop, tree, "/srv/own")
    refused = shop.run("leger", "deploy", "install", "own", "/srv/own", check=False)
    assert refused.code == 4
    assert "--adopt" in refused.stderr
    shop.run("leger", "deploy", "install", "own", "/srv/own", "--adopt")
    assert "FROM=git" in shop.run("podman", "exec", "own", "env").stdout
    assert shop.run("test", "-e", own, check=False).code != 0
    shop.run("leger", "deploy", "remove", "own", "--yes")


def test_removing_leaves_only_what_is_the_users(shop: Machine) -> None:
    """The last test of this machine: the shop goes."""
    shop.sh("echo mine >/var/lib/leger/data/shop/uploads/file")
    done = shop.run("leger", "deploy", "remove", "shop", "--yes")
    assert "shop: removed" in done.stdout
    assert "left: volume" in done.stdout
    assert "left: data /var/lib/leger/data/shop" in done.stdout
    assert shop.run("podman", "ps", "-aq").stdout == ""
    assert shop.run("podman", "secret", "ls", "-q").stdout == ""
    networks = shop.run("podman", "network", "ls", "--format", "{{.Name}}").stdout.split()
    assert networks == ["podman"]
    assert "shop-web" not in shop.run("podman", "images").stdout
    assert shop.run("podman", "volume", "ls", "-q").stdout.split()
    assert shop.pull("/var/lib/leger/data/shop/uploads/file") == b"mine\n"
    assert "no deployments" in shop.run("leger", "deploy", "list").stderr
    left = shop.sh("ls /etc/leger/deployments.d /var/lib/leger/sources /run/systemd/generator")
    assert "shop" not in left.stdout
    assert states(shop, "web.service") == {"web.service": "inactive"}
