"""The RPM on a machine with dnf: what it installs, what an upgrade and a removal do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from machine import Machine, why_not

pytestmark = [
    pytest.mark.machine,
    pytest.mark.skipif(bool(why_not()), reason=why_not() or "machines can run"),
]

ROOT = Path(__file__).resolve().parents[2]
SHARED = "/srv/host"
NEXT = "99"
OUTSIDE_OF_THE_MODULES = {
    "/etc/default/legerd",
    "/etc/leger",
    "/etc/leger/deployments.d",
    "/etc/leger/policy.yaml",
    "/etc/leger/users",
    "/usr/bin/leger",
    "/usr/bin/legerd",
    "/usr/lib/leger",
    "/usr/lib/systemd/system-generators/leger-generator",
    "/usr/lib/systemd/system-preset/90-leger.preset",
    "/usr/lib/systemd/system/leger-resume.service",
    "/usr/lib/systemd/system/leger-retry.service",
    "/usr/lib/systemd/system/leger-settle.service",
    "/usr/lib/systemd/system/leger-sync.service",
    "/usr/lib/systemd/system/leger-sync.timer",
    "/usr/lib/systemd/system/legerd-keygen.service",
    "/usr/lib/systemd/system/legerd-users.socket",
    "/usr/lib/systemd/system/legerd.service",
    "/usr/lib/systemd/system/legerd.socket",
    "/usr/lib/systemd/user-generators/leger-generator",
    "/usr/lib/systemd/user-preset/90-leger.preset",
    "/usr/lib/systemd/user/leger-resume.service",
    "/usr/lib/systemd/user/leger-settle.service",
    "/usr/lib/systemd/user/leger-sync.service",
    "/usr/lib/systemd/user/leger-sync.timer",
    "/usr/lib/sysusers.d/legerd.conf",
    "/usr/lib/tmpfiles.d/leger.conf",
    "/usr/lib/tmpfiles.d/legerd.conf",
    "/usr/libexec/leger",
    "/usr/libexec/leger/secrets-hook",
    "/var/lib/leger",
}
QUADLET = """
[Container]
ContainerName=web
Image=localhost/hello:1
Exec=sleep infinity
RunInit=true
Secret=password
[Install]
WantedBy=default.target
"""


@pytest.fixture(scope="module")
def installed() -> Iterator[Machine]:
    """A machine after `dnf install leger`; its tests change nothing."""
    with Machine.boot("forky", installed=True) as machine:
        yield machine


@pytest.fixture
def in_use() -> Iterator[Machine]:
    """A machine with one deployment that runs and has read its secret."""
    with Machine.boot("forky", installed=True, share=ROOT) as machine:
        machine.push(QUADLET, "/srv/web/web.container")
        machine.sh(
            "cd /srv/web; git init -q -b main; git add .\n"
            "git -c user.name=a -c user.email=a@example.org commit -q -m web\n"
            "printf sesame | leger secrets set web/password -\n"
            "leger deploy install web /srv/web\n"
            "podman exec web cat /run/secrets/password | grep -qx sesame\n",
            timeout=120,
        )
        yield machine


def running_since(machine: Machine) -> str:
    return machine.run(
        "podman", "inspect", "-f", "{{.State.Pid}} {{.State.StartedAt}}", "web"
    ).stdout


def upgrade(machine: Machine) -> str:
    build = f"{SHARED}/tests/packaging/build-repository {SHARED} /srv/packages {NEXT}"
    machine.sh(build, timeout=300)
    return machine.run("dnf", "--assumeyes", "upgrade", "leger", timeout=300).stdout


def test_the_sockets_listen_and_settle_is_enabled(installed: Machine) -> None:
    units = ("legerd.socket", "legerd-users.socket", "leger-settle.service")
    assert installed.run("systemctl", "is-enabled", *units).stdout.split() == ["enabled"] * 3
    assert installed.run("systemctl", "is-active", *units[:2]).stdout.split() == ["active"] * 2
    installed.run("systemctl", "--global", "is-enabled", "leger-settle.service")


def test_the_units_of_users_pass_systemd_s_own_check(installed: Machine) -> None:
    units = [path for path in OUTSIDE_OF_THE_MODULES if path.startswith("/usr/lib/systemd/user/")]
    verify = ("systemd-analyze", "--user", "verify", "--man=no", *sorted(units))
    checked = installed.run(*verify, check=False, env={"XDG_RUNTIME_DIR": "/tmp"})
    assert (checked.code, checked.stderr) == (0, "")


def test_the_first_call_makes_the_key(installed: Machine) -> None:
    installed.run("leger", "secrets", "list")
    assert (
        installed.run("stat", "-c", "%U %a", "/var/lib/legerd-key/kek.cred").stdout == "root 600\n"
    )
    assert installed.run("stat", "-c", "%U", "/var/lib/legerd/secrets.db").stdout == "legerd\n"


def test_the_package_holds_what_the_layout_says(installed: Machine) -> None:
    listed = set(installed.run("rpm", "-q", "--list", "leger").stdout.split())
    documents = ("/usr/lib/leger/", "/usr/share/doc/", "/usr/share/licenses/", "/usr/share/man/")
    assert {path for path in listed if not path.startswith(documents)} == OUTSIDE_OF_THE_MODULES
    modules = {path.split("/")[4] for path in listed if path.startswith("/usr/lib/leger/")}
    assert modules == {"leger", "leger_generator", "leger_hook", "legerd"}
    assert {Path(path).name for path in listed if "/licenses/" in path} >= {
        "LICENSE",
        "LICENSE.legerd",
    }


def test_every_module_is_compiled(installed: Machine) -> None:
    listed = installed.run("rpm", "-q", "--list", "leger").stdout.split()
    sources = {path for path in listed if path.endswith(".py")}
    compiled = {
        re.sub(r"__pycache__/(.+)\.cpython-\d+\.pyc$", r"\1.py", path)
        for path in listed
        if path.endswith(".pyc")
    }
    assert sources
    assert compiled == sources


def test_nothing_differs_from_the_package_after_use(installed: Machine) -> None:
    installed.sh("leger status; leger deploy list; leger secrets list; systemctl daemon-reload")
    changed = installed.run("rpm", "-V", "leger", check=False)
    assert changed.stdout == ""


def test_the_configuration_is_marked_as_such(installed: Machine) -> None:
    files = installed.run("rpm", "-q", "--configfiles", "leger").stdout.split()
    assert files == ["/etc/default/legerd", "/etc/leger/policy.yaml"]


def test_units_pass_systemd_s_own_check(installed: Machine) -> None:
    units = [path for path in OUTSIDE_OF_THE_MODULES if path.startswith("/usr/lib/systemd/system/")]
    checked = installed.run("systemd-analyze", "verify", "--man=no", *sorted(units), check=False)
    assert checked.stderr == ""
    assert checked.code == 0


def test_an_upgrade_restarts_no_container_and_keeps_the_configuration(in_use: Machine) -> None:
    in_use.sh("echo '# mine' | tee -a /etc/leger/policy.yaml /etc/default/legerd")
    before = running_since(in_use)
    daemon = in_use.run("systemctl", "show", "-P", "MainPID", "legerd.service").stdout
    upgrade(in_use)
    assert in_use.run("rpm", "-q", "--qf", "%{RELEASE}", "leger").stdout == NEXT
    assert running_since(in_use) == before
    assert "# mine" in in_use.pull("/etc/leger/policy.yaml").decode()
    assert "# mine" in in_use.pull("/etc/default/legerd").decode()
    assert in_use.run("leger", "secrets", "get", "web/password").stdout.strip() == "sesame"
    assert in_use.run("systemctl", "show", "-P", "MainPID", "legerd.service").stdout != daemon
    assert in_use.run("systemctl", "show", "-P", "NeedDaemonReload", "web.service").stdout == "no\n"


def test_a_removal_names_the_deployments_that_are_left(in_use: Machine) -> None:
    removal = in_use.run("dnf", "--assumeyes", "remove", "leger", timeout=300)
    said = removal.stdout + removal.stderr
    assert re.search(r"these deployments are left .*: web\b", said)
    assert in_use.run("podman", "ps", "--format", "{{.Names}}").stdout.split() == ["web"]
    in_use.sh("test -e /etc/leger/deployments.d/web.yaml; test -e /var/lib/legerd/secrets.db")
    in_use.sh("! systemctl is-active legerd.socket; ! command -v leger")


def test_removed_and_installed_again_it_goes_on(in_use: Machine) -> None:
    in_use.run("dnf", "--assumeyes", "remove", "leger", timeout=300)
    in_use.run("dnf", "--assumeyes", "install", "leger", timeout=300)
    assert in_use.run("systemctl", "is-enabled", "leger-sync.timer").stdout == "enabled\n"
    assert in_use.run("systemctl", "is-active", "leger-sync.timer").stdout == "active\n"
    in_use.run("systemctl", "--global", "is-enabled", "leger-sync.timer")
    assert in_use.run("leger", "secrets", "get", "web/password").stdout.strip() == "sesame"
    in_use.run("leger", "deploy", "remove", "--yes", "web", timeout=120)
    assert in_use.run("podman", "ps", "--quiet").stdout == ""


def test_a_removal_without_deployments_says_nothing(installed: Machine) -> None:
    script = installed.run("rpm", "-q", "--scripts", "leger").stdout
    before_removal = script.partition("preuninstall scriptlet")[2].partition("scriptlet (")[0]
    start = before_removal.index("if [")
    said = installed.run(
        "sh", "-c", before_removal[start : before_removal.index("\nfi") + 3], "sh", "0"
    )
    assert said.stderr == ""


def test_where_selinux_is_on_the_trees_get_labels_that_containers_may_read() -> None:
    """With stand-ins for SELinux's programs: the labels' effect cannot be tried here."""
    with Machine.boot("forky", installed=True) as machine:
        for program in ("selinuxenabled", "semanage", "restorecon"):
            script = f'#!/bin/sh\necho {program} "$@" >>/root/selinux.log\n'
            machine.push(script, f"/usr/sbin/{program}", 0o755)
        machine.run("dnf", "--assumeyes", "reinstall", "leger", timeout=300)
        said = machine.pull("/root/selinux.log").decode()
        add = "semanage fcontext --add --type"
        assert f"{add} container_ro_file_t /var/lib/leger/store(/.*)?" in said
        assert f"{add} container_file_t /var/lib/leger/data(/.*)?" in said
        assert said.rstrip().endswith("restorecon -R /var/lib/leger")
        machine.run("dnf", "--assumeyes", "remove", "leger", timeout=300)
        said = machine.pull("/root/selinux.log").decode()
        assert "semanage fcontext --delete /var/lib/leger/store(/.*)?" in said
        assert "semanage fcontext --delete /var/lib/leger/data(/.*)?" in said
