"""What root defines for a user, and the timer that follows it, from install to remove."""

from __future__ import annotations

import json

import pytest
from machine import Machine
from system.application import IMAGE

POLICY = 'rules:\n  - user: ada\n    action: get\n    secret: "web/*"\n'
CONTAINER = f"""[Container]
Image={IMAGE}
Exec=sleep infinity
RunInit=true
StopTimeout=1
Label=version=1
Secret=token
[Quadlet]
DefaultDependencies=false
[Install]
WantedBy=default.target
"""
TELL = "#!/bin/sh\ncat >>/root/told\n"
DEFINITION = "/etc/leger/users/ada/deployments.d/web.yaml"


@pytest.fixture(scope="module")
def host(shared_machine: Machine) -> Machine:
    """A machine with a user who has no lingering manager, and a repository of that user's."""
    machine = shared_machine
    machine.add_user("ada")
    machine.import_image(IMAGE, user="ada")
    machine.push(POLICY, "/etc/leger/policy.yaml")
    machine.push(TELL, "/usr/local/bin/tell", 0o755)
    machine.push("notify: {command: [/usr/local/bin/tell]}\n", "/etc/leger/config.yaml", 0o600)
    machine.sh("mkdir /srv/web; chown ada /srv/web")
    machine.sh("cd /srv/web; git init -q -b main", user="ada")
    commit(machine, CONTAINER)
    machine.sh("loginctl disable-linger ada; until ! test -e /run/user/1000; do sleep 0.1; done")
    return machine


def commit(machine: Machine, text: str) -> None:
    machine.push(text, "/srv/web/web.container")
    machine.sh(
        "cd /srv/web; printf 'health: {quiet: 200ms}\\n' >.leger.yaml; git add -A\n"
        "git -c user.name=a -c user.email=a@example.com commit -qm change",
        user="ada",
    )


def version(machine: Machine) -> str:
    read = ("podman", "inspect", "--format", '{{index .Config.Labels "version"}}', "systemd-web")
    return machine.run(*read, user="ada").stdout.strip()


def token(machine: Machine) -> str:
    return machine.run(
        "podman", "exec", "systemd-web", "cat", "/run/secrets/token", user="ada"
    ).stdout


def told(machine: Machine) -> list[tuple[object, ...]]:
    """What root's notify command got since it was asked last."""
    text = machine.sh("cat /root/told 2>/dev/null || :; rm -f /root/told").stdout
    keys = ("scope", "who", "result")
    return [tuple(json.loads(line)[key] for key in keys) for line in text.splitlines()]


def users_status(machine: Machine) -> dict[str, object]:
    found = json.loads(machine.run("leger", "status", "--json").stdout)
    users = found["users"]
    assert isinstance(users, dict)
    return users


def test_a_failed_install_leaves_no_definition(host: Machine) -> None:
    install = ("leger", "deploy", "install", "web", "/srv/web", "--scope", "ada")
    done = host.run(*install, check=False)
    assert "user ada: lingering enabled" in done.stderr
    assert done.code in (1, 4)
    assert told(host) == [("ada", "root(0)", "rolled back")]
    host.sh("! test -e /etc/leger/users/ada")
    done = host.run(*install, "--dry-run", "--allow-missing-secrets")
    assert "web: would be deployed" in done.stdout
    host.sh("! test -e /etc/leger/users/ada")
    for wrong, code in (("nobody-there", 2), ("root", 2)):
        assert host.run(*install[:-1], wrong, check=False).code == code


def test_root_deploys_for_a_user_and_the_timer_follows(host: Machine) -> None:
    host.run("leger", "secrets", "set", "web/token", "-", input="one")
    installed = host.run("leger", "deploy", "install", "web", "/srv/web", "--scope", "ada")
    assert "linger" not in installed.stderr
    assert host.pull(DEFINITION) == b"source: /srv/web\n"
    assert (version(host), token(host)) == ("1", "one")
    assert host.sh("find /home/ada -uid 0").stdout == ""
    assert host.run("podman", "ps", "-q").stdout == ""
    assert told(host) == [("ada", "root(0)", "ok")]

    _is_not_the_users_to_change(host)
    _is_shown_to_root(host)
    _a_fault_of_one_user_holds_back_nobody(host)

    commit(host, CONTAINER.replace("version=1", "version=2"))
    host.run("systemctl", "start", "leger-sync.service", timeout=120)
    assert version(host) == "2"
    assert told(host) == [("ada", "root(0)", "ok")]
    commit(host, CONTAINER.replace("version=1", "version=3") + "[Service]\nExecStartPre=false\n")
    bad = host.run("systemctl", "start", "leger-sync.service", check=False, timeout=120)
    assert bad.code != 0
    assert version(host) == "2"
    assert told(host) == [("ada", "root(0)", "rolled back")]
    assert "web: waits for a new commit" in host.run("leger", "sync").stdout
    history = host.run("leger", "--scope", "ada", "history").stdout
    assert "root(0)" in history
    assert "back from generation" in history

    host.run("leger", "secrets", "set", "web/token", "-", input="two")
    shown = host.run("leger", "plan").stdout
    assert "restart web.service: secret token has version 2 of web/token" in shown
    host.run("leger", "sync")
    assert (version(host), token(host)) == ("2", "two")

    host.sync()
    host.reboot()
    up = "until systemctl --user is-active -q web.service; do sleep 0.2; done"
    host.sh(up, user="ada", timeout=60)
    assert (version(host), token(host)) == ("2", "two")

    removed = host.run("leger", "deploy", "remove", "web", "--yes", "--scope", "ada")
    assert "web: removed" in removed.stdout
    host.sh(f"! test -e {DEFINITION}")
    assert host.run("podman", "ps", "-aq", user="ada").stdout == ""


def _is_not_the_users_to_change(host: Machine) -> None:
    for words in (("remove", "web", "--yes"), ("install", "web", "/srv/web", "--ref", "x")):
        done = host.run("leger", "--user", "deploy", *words, user="ada", check=False)
        assert done.code == 3
        assert f"web is defined by root, in {DEFINITION}" in done.stderr
    done = host.run("leger", "--scope", "root", "deploy", "list", user="ada", check=False)
    assert done.code == 3
    assert version(host) == "1"


def _is_shown_to_root(host: Machine) -> None:
    text = host.run("leger", "status").stdout
    assert text.index("user ada") < text.index("web.service  active  running")
    [row] = json.loads(host.run("leger", "deploy", "list", "--json").stdout)
    assert (row["name"], row["user"]) == ("web", "ada")
    assert host.run("leger", "plan", "--exit-code").code == 0


def _a_fault_of_one_user_holds_back_nobody(host: Machine) -> None:
    host.add_user("bob", linger=False)
    host.push("source: /nowhere\n", "/etc/leger/users/bob/deployments.d/app.yaml")
    host.push("source: /nowhere\n", "/etc/leger/users/nobody-there/deployments.d/app.yaml")
    status = host.run("leger", "status", check=False)
    assert "web.service  active  running" in status.stdout
    assert "user bob: no service manager runs" in status.stderr
    assert "there is no user nobody-there" in status.stderr
    done = host.run("leger", "sync", "--json", check=False)
    assert done.code == 1
    assert told(host) == [("bob", "root(0)", "failed")]
    users = json.loads(done.stdout)["users"]
    assert users["ada"]["failed"] == {}
    assert "/nowhere" in users["bob"]["failed"]["app"]
    host.sh("loginctl disable-linger bob; rm -r /etc/leger/users/bob /etc/leger/users/nobody-there")
