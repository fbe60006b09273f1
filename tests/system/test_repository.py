"""A repository with every kind of file, on a real machine: what is mounted, written, kept apart."""

from pathlib import Path

import pytest
from machine import Machine

FIXTURE = Path(__file__).resolve().parents[1] / "data/repositories/everything"
REPOSITORY = "/srv/everything"
SECRETS = (
    "db-password", "api-key", "other", "fifth", "fourth", "worker-1", "database/password",
    "bundle/token",
)  # fmt: skip


@pytest.fixture(scope="module")
def everything(shared_machine: Machine) -> Machine:
    machine = shared_machine
    machine.push(FIXTURE, REPOSITORY)
    machine.sh(
        f"cd {REPOSITORY}; git init -q -b main; git config user.name a; git config user.email a@b\n"
        "mkdir -p data/uploads; : >data/uploads/.gitkeep\n"
        "ln -sf worker@.container worker@1.container\n"
        "git add -Af; git commit -qm everything"
    )
    for name in SECRETS:
        machine.run("leger", "secrets", "set", f"everything/{name}", "-", input=f"value of {name}")
    for version in (2, 3):
        machine.run("leger", "secrets", "set", "everything/other", "-", input=f"third {version}")
    deploy(machine)
    return machine


def deploy(machine: Machine) -> str:
    arguments = ["deploy", "install", "everything", REPOSITORY, "--set", "title=Hello"]
    return machine.run("leger", *arguments, timeout=180).stdout


def inside(machine: Machine, script: str, container: str = "systemd-web") -> str:
    return machine.run("podman", "exec", container, "sh", "-c", script).stdout


def test_secrets_arrive_in_every_spelling(everything: Machine) -> None:
    assert inside(everything, "echo $DB_PASSWORD").strip() == "value of db-password"
    assert inside(everything, "cat /run/secrets/api-key") == "value of api-key"
    assert inside(everything, "cat /third") == "third 3"
    assert inside(everything, "cat /run/secrets/fifth") == "value of fifth"
    assert inside(everything, "echo $fourth").strip() == "value of fourth"
    assert inside(everything, "cat /run/secrets/worker-1", "systemd-worker_1") == (
        "value of worker-1"
    )
    assert inside(everything, "echo $PASSWORD, $token", "app-app").strip() == (
        "value of database/password, value of bundle/token"
    )


def test_what_the_repository_has_is_read_only_and_rendered(everything: Machine) -> None:
    assert inside(everything, "cat /page.html") == "<h1>Hello on 8080</h1>\n"
    for path in ("/page.html", "/etc/web/x"):
        refused = everything.run("podman", "exec", "systemd-web", "touch", path, check=False)
        assert "Read-only file system" in refused.stderr


def test_what_is_the_containers_own_is_copied_once_and_kept(everything: Machine) -> None:
    inside(everything, "echo mine >/seed/start.txt; : >/uploads/new; : >/logs/new; ls /store")
    everything.sh(
        f"cd {REPOSITORY}; echo second >data/seed/start.txt; git add -A; git commit -qm seed"
    )
    deploy(everything)
    data = "/var/lib/leger/data/everything"
    assert everything.pull(f"{data}/data/seed/start.txt") == b"mine\n"
    everything.run("test", "-e", f"{data}/data/uploads/new", "-a", "-e", f"{data}/web/logs/new")
    everything.run("test", "-d", f"{data}/work-1")


def test_what_a_container_writes_is_never_read_as_a_definition(everything: Machine) -> None:
    """A container plants quadlets and drop-ins that would run as root on the host."""
    inside(
        everything,
        "cd /uploads; printf '[Container]\\nImage=localhost/hello:1\\n[Service]\\n"
        "ExecStartPre=/bin/touch /pwned\\n' >evil.container; : >.x.container\n"
        "mkdir -p two.container.d; printf '[Service]\\nExecStartPre=/bin/touch /pwned\\n'"
        " >two.container.d/1.conf",
    )
    everything.run("systemctl", "daemon-reload")
    deploy(everything)
    everything.run("systemctl", "restart", "two.service")
    everything.run("test", "!", "-e", "/pwned")
    assert everything.run("systemctl", "cat", "evil.service", check=False).code != 0


def test_a_link_that_a_container_made_is_not_followed(everything: Machine) -> None:
    inside(everything, "ln -s /etc /uploads/sub")
    everything.sh(
        f"cd {REPOSITORY}; printf '[Container]\\nImage=localhost/hello:1\\n"
        "Volume=./data/uploads/sub/x:/x\\n' >link.container; git add -A; git commit -qm link"
    )
    refused = everything.run(
        *("leger", "deploy", "install", "everything", REPOSITORY, "--set", "title=Hello"),
        check=False,
        timeout=120,
    )
    assert refused.code != 0
    assert "data/everything/data/uploads/sub/x: cannot be made" in refused.stderr
    everything.run("test", "!", "-e", "/etc/x")
    assert "systemd-web" in everything.run("podman", "ps", "--format", "{{.Names}}").stdout
    everything.sh(f"cd {REPOSITORY}; git rm -q link.container; git commit -qm back")
    deploy(everything)


def test_the_plain_timer_runs_its_job(everything: Machine) -> None:
    assert "job.timer" in everything.run("systemctl", "list-timers", "--all").stdout
    everything.run("systemctl", "start", "job.service")


def test_adding_a_tree_of_the_same_content_touches_no_container(everything: Machine) -> None:
    listing = ("podman", "ps", "--no-trunc", "--format", "{{.ID}}")
    before = everything.run(*listing).stdout
    everything.sh(f"cd {REPOSITORY}; echo new >README; git add -A; git commit -qm readme")
    deploy(everything)
    assert everything.run(*listing).stdout == before
