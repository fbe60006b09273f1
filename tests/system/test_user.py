"""The same for a user with linger: own deployments, own manager, secrets by the user's uid."""

from __future__ import annotations

import json

import pytest
from machine import Machine
from system.application import IMAGE

POLICY = """rules:
  - user: ada
    action: [get, info, put, activate, delete]
    secret: "ada/*"
"""
CONTAINER = f"""[Container]
Image={IMAGE}
Exec=sleep infinity
RunInit=true
StopTimeout=1
Secret=token
User=7
Volume=notes.volume:/notes
[Quadlet]
# else podman waits 90 s for the network, which these machines do not have
DefaultDependencies=false
[Install]
WantedBy=default.target
"""


@pytest.fixture
def ada(leger_machine: Machine) -> Machine:
    """A machine with the user ada, who may use the secrets below ada/."""
    leger_machine.add_user("ada")
    leger_machine.import_image(IMAGE, user="ada")
    leger_machine.push(POLICY, "/etc/leger/policy.yaml")
    leger_machine.sh(
        "mkdir -p ~/web; cd ~/web; git init -q -b main\n"
        "git config user.name ada; git config user.email ada@example.com\n"
        f"cat >web.container <<'X'\n{CONTAINER}X\n"
        "printf '[Volume]\\nUser=7\\n[Quadlet]\\nDefaultDependencies=false\\n' >notes.volume\n"
        "printf 'health: {quiet: 200ms}\\n' >.leger.yaml\n"
        "git add -A; git commit -qm one",
        user="ada",
    )
    return leger_machine


def test_a_user_deploys_and_it_survives_a_reboot(ada: Machine) -> None:
    ada.run("leger", "secrets", "set", "ada/token", "-", input="sesame", user="ada")
    install = ("leger", "--user", "deploy", "install", "web", "/home/ada/web")
    ada.run(*install, "--bind-secret", "token=ada/token", user="ada", timeout=120)
    read = ("podman", "exec", "systemd-web", "cat", "/run/secrets/token")
    assert ada.run(*read, user="ada").stdout == "sesame"
    status = json.loads(ada.run("leger", "--user", "status", "--json", user="ada").stdout)
    assert status["problems"] == []
    active = [unit["active"] for unit in status["deployments"][0]["units"]]
    assert active == ["active", "active"]
    back_up_and_restore(ada)
    ada.sync()
    ada.reboot()
    ada.sh(
        "until systemctl --user is-active -q web.service; do sleep 0.2; done",
        user="ada",
        timeout=60,
    )
    assert ada.run(*read, user="ada").stdout == "sesame"
    ada.run("leger", "--user", "deploy", "remove", "web", "--yes", user="ada")
    assert ada.run("podman", "ps", "-aq", user="ada").stdout == ""
    assert ada.run("podman", "secret", "ls", "-q", user="ada").stdout == ""


def test_what_a_shell_says_of_folders_does_not_count(ada: Machine) -> None:
    leger = "XDG_CONFIG_HOME=/home/ada/else XDG_STATE_HOME= leger --user"
    ada.run("leger", "secrets", "set", "ada/token", "-", input="sesame", user="ada")
    install = f"{leger} deploy install web ~/web --bind-secret token=ada/token"
    ada.sh(install, user="ada", timeout=120)
    [deployed] = json.loads(ada.sh(f"{leger} status --json", user="ada").stdout)["deployments"]
    assert deployed["name"] == "web"
    ada.sh("cd ~/web; sed -i s/User=7/User=8/ web.container; git commit -qam two", user="ada")
    assert "restart web.service" in ada.sh(f"{leger} plan", user="ada").stdout
    assert "web: deployed at" in ada.sh(f"{leger} sync", user="ada", timeout=120).stdout

    # the last definition goes
    ada.sh("rm ~/.config/leger/deployments.d/web.yaml", user="ada")
    ada.run("systemctl", "--user", "start", "leger-sync.service", user="ada", timeout=120)
    assert ada.run("podman", "ps", "-aq", user="ada").stdout == ""


def back_up_and_restore(ada: Machine) -> None:
    """What a sub-uid of ada's owns is saved and put back with that owner."""
    look = ("podman", "exec", "systemd-web", "sh", "-c", "cat /notes/f; stat -c '%u %a' /notes/f")
    for value in ("one", "two"):
        script = f"umask 77; echo {value} >/notes/f"
        ada.run("podman", "exec", "systemd-web", "sh", "-c", script, user="ada")
        if value == "one":
            ada.run("leger", "--user", "backup", "create", "web", user="ada")
    ada.run("leger", "--user", "backup", "restore", "web", "--yes", user="ada")
    assert ada.run(*look, user="ada").stdout == "one\n7 600\n"


def test_who_is_denied_is_told_what_to_ask_for(ada: Machine) -> None:
    done = ada.run("leger", "secrets", "get", "prod/token", user="ada", check=False)
    assert done.code == 3
    assert "ada" in done.stderr
    assert 'secret: "prod/token"' in done.stderr
    assert "action: get" in done.stderr


def test_the_systems_deployments_are_roots(ada: Machine) -> None:
    done = ada.run("leger", "deploy", "update", "--all", user="ada", check=False)
    assert done.code == 3
    assert "use sudo, or leger --user" in done.stderr
