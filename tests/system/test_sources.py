"""A host of a fleet, and plain units beside quadlets, on a real machine."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import webgit
from machine import Machine
from system.application import commit
from system.deployment import QUICK, Deployed, active, container

FLEET = "/srv/fleet"
CONFIG = "/etc/leger/config.yaml"
DEFINITIONS = "/etc/leger/deployments.d"


def configure(machine: Machine, *tags: str) -> None:
    text = f"fleet: {{source: {FLEET}}}\nhost: {{name: web-1, tags: [{', '.join(tags)}]}}\n"
    machine.sh(f"printf %s {shlex.quote(text)} >{CONFIG}")


@pytest.fixture
def member(shared_machine: Machine) -> Iterator[Machine]:
    """A machine that belongs to a fleet of which nothing is deployed yet."""
    machine = shared_machine
    machine.sh(f"rm -rf {FLEET} /srv/app {DEFINITIONS}; mkdir -p {DEFINITIONS}; leger sync || true")
    configure(machine)
    yield machine
    machine.sh(f": >{CONFIG}; leger sync || true")


def deployed(machine: Machine) -> dict[str, str]:
    rows = json.loads(machine.run("leger", "deploy", "list", "--json").stdout)
    return {row["name"]: row["source"] for row in rows if row["commit"]}


def test_a_host_has_what_its_fleet_gives_it(member: Machine) -> None:
    quadlet = container("Label=port={{ port }}", "Label=host={{ host.name }}")
    commit(member, {"app.container.j2": quadlet, ".leger.yaml": QUICK}, "/srv/app")
    files = {
        "deployments.d/app.yaml": "source: /srv/app\nhosts: [web-*]\n",
        "deployments.d/edge.yaml": "source: /srv/app\nhosts: ['tag:edge']\n",
        "deployments.d/broken.yaml": "sorce: /srv/app\n",
        "values/all.yaml": "port: 1\n",
        "values/host-web-1.yaml": "port: 2\n",
    }
    commit(member, files, FLEET)
    done = member.run("leger", "sync", check=False, timeout=120)
    assert "broken.yaml:1: unknown key 'sorce'" in done.stderr
    assert deployed(member) == {"app": "/srv/app"}
    labels = member.run("podman", "inspect", "-f", "{{json .Config.Labels}}", "systemd-app").stdout
    assert json.loads(labels)["port"] == "2"
    assert json.loads(labels)["host"] == "web-1"
    assert member.sh(f"ls {DEFINITIONS}").stdout == ""
    refused = member.run("leger", "deploy", "remove", "app", "--yes", check=False)
    assert refused.code == 2
    assert "defined by the fleet" in refused.stderr
    # Offline, what was fetched last counts: nothing is removed.
    member.sh(f"mv {FLEET} {FLEET}.away")
    done = member.run("leger", "sync", check=False, timeout=120)
    assert done.code == 1
    assert "fleet: " in done.stderr
    assert deployed(member) == {"app": "/srv/app"}
    member.sh(f"mv {FLEET}.away {FLEET}")
    del files["deployments.d/broken.yaml"]
    files["deployments.d/app.yaml"] = "source: /srv/app\nhosts: [db-*]\n"
    commit(member, files, FLEET)
    member.run("leger", "sync", timeout=120)
    assert deployed(member) == {}
    assert active(member, "app.service") == ["inactive"]


UNITS = {
    "web.container": container(),
    "web.service.d/nice.conf": "[Service]\nCPUWeight=77\n",
    "job.service": "[Service]\nType=oneshot\nExecStart=/bin/touch /run/plain-job\n",
    "job.timer": "[Timer]\nOnActiveSec=1s\nAccuracySec=100ms\n[Install]\nWantedBy=timers.target\n",
    "echo.socket": "[Socket]\nListenStream=/run/plain-echo\nAccept=yes\n"
    "[Install]\nWantedBy=sockets.target\n",
    "echo@.service": "[Service]\nExecStart=/bin/cat\nStandardInput=socket\n",
    "see.path": "[Path]\nPathExists=/run/plain-see\n[Install]\nWantedBy=paths.target\n",
    "see.service": "[Service]\nType=oneshot\nRemainAfterExit=yes\n"
    "ExecStart=/bin/touch /run/plain-seen\n",
    "all.target": "[Unit]\nWants=aside.service\n[Install]\nWantedBy=multi-user.target\n",
    "aside.service": "[Service]\nExecStart=/bin/sleep infinity\n",
}
TALK = (
    "import socket; s = socket.socket(socket.AF_UNIX); s.connect('/run/plain-echo');"
    "s.send(b'hello'); print(s.recv(9).decode())"
)
ALL = ("web.service", "job.timer", "echo.socket", "see.path", "all.target", "aside.service")


def await_file(machine: Machine, path: str) -> None:
    machine.sh(f"until test -e {path}; do sleep 0.2; done", timeout=120)


def test_plain_units_beside_quadlets_work_and_go_with_them(shared_machine: Machine) -> None:
    machine = shared_machine
    machine.sh("rm -f /run/plain-*")
    plain = Deployed(machine, "plain")
    plain.install(UNITS)
    assert active(machine, *ALL) == ["active"] * len(ALL)
    weight = machine.run("systemctl", "show", "-P", "CPUWeight", "web.service").stdout
    assert weight == "77\n"
    await_file(machine, "/run/plain-job")
    said = machine.run("python3", "-c", TALK)
    assert "hello" in said.stdout
    machine.sh("touch /run/plain-see")
    await_file(machine, "/run/plain-seen")
    # A commit that takes the path unit away, and changes when the timer is due.
    changed = {name: text for name, text in UNITS.items() if name not in ("see.path",)}
    changed["job.timer"] = changed["job.timer"].replace("1s", "1h")
    plain.install(changed)
    assert active(machine, "see.path", "job.timer", "web.service") == [
        "inactive",
        "active",
        "active",
    ]
    plain.remove()
    assert active(machine, *ALL) == ["inactive"] * len(ALL)
    assert machine.sh("ls /run/systemd/generator | grep -c plain || true").stdout == "0\n"


READ = """
import sys
sys.path.insert(0, "/usr/lib/leger")
from leger import credentials
print(credentials.read(sys.argv[1]).decode())
"""


def test_a_credential_is_found_where_systemd_looks_for_it(shared_machine: Machine) -> None:
    machine = shared_machine
    machine.sh(
        "mkdir -p /etc/credstore /etc/credstore.encrypted\n"
        "echo plain >/etc/credstore/git-plain\n"
        "printf sealed | systemd-creds encrypt --with-key=host --name=git-sealed - "
        "/etc/credstore.encrypted/git-sealed"
    )
    for name in ("plain", "sealed"):
        said = machine.run("python3", "-I", "-c", READ, f"git-{name}").stdout
        assert said.strip() == name
    assert "sealed" not in machine.sh("cat /etc/credstore.encrypted/git-sealed").stdout


SERVE = """
import sys, time
from pathlib import Path
sys.path.insert(0, "/srv")
import webgit
folder = Path("/srv/webgit")
folder.mkdir(exist_ok=True)
both = webgit.certificate(folder)
text = both.read_text()
trusted = Path("/usr/local/share/ca-certificates/webgit.crt")
trusted.write_text(text[text.index("-----BEGIN CERTIFICATE"):])
with webgit.Web(Path("/srv/private"), both, token="canary-of-git").served() as web:
    (folder / "url").write_text(web.url)
    time.sleep(100_000)
"""


def test_the_timers_service_opens_a_private_repository(shared_machine: Machine) -> None:
    """In its sandbox: the token lies in memory, which Git's helper reads below /proc."""
    machine = shared_machine
    machine.push(Path(webgit.__file__), "/srv/webgit.py")
    machine.push(SERVE, "/srv/serve.py")
    commit(machine, {"inside.container": container(), ".leger.yaml": QUICK}, "/srv/private/r")
    machine.sh(
        "systemd-run --quiet --unit=webgit.service --collect python3 /srv/serve.py\n"
        "until test -e /srv/webgit/url; do sleep 0.2; done\nupdate-ca-certificates\n"
        f"mkdir -p {DEFINITIONS} /etc/credstore; echo canary-of-git >/etc/credstore/git-canary\n"
        "printf 'source: %s/r\\nauth: {token: git-canary}\\n' "
        f"$(cat /srv/webgit/url) >{DEFINITIONS}/inside.yaml"
    )
    done = machine.run("systemctl", "start", "leger-sync.service", check=False, timeout=120)
    said = machine.journal("-u", "leger-sync.service")
    assert done.code == 0, said
    assert "inside" in deployed(machine)
    assert active(machine, "inside.service") == ["active"]
    assert "canary-of-git" not in machine.journal()
    assert machine.run("grep", "-rl", "canary-of-git", "/var/lib/leger", check=False).stdout == ""
    machine.sh(f"rm {DEFINITIONS}/inside.yaml; leger sync; systemctl stop webgit.service")


def test_the_timers_service_follows_a_repository_of_another_user(shared_machine: Machine) -> None:
    machine = shared_machine
    commit(machine, {"theirs.container": container(), ".leger.yaml": QUICK}, "/srv/theirs")
    machine.sh(
        "chown -R nobody /srv/theirs\n"
        f"mkdir -p {DEFINITIONS}; echo 'source: /srv/theirs' >{DEFINITIONS}/theirs.yaml"
    )
    done = machine.run("systemctl", "start", "leger-sync.service", check=False, timeout=120)
    assert done.code == 0, machine.journal("-u", "leger-sync.service")
    assert active(machine, "theirs.service") == ["active"]
    machine.sh(f"rm {DEFINITIONS}/theirs.yaml; leger sync")


SSHD = """
mkdir -p /etc/credstore /run/sshd /srv/ssh
cd /srv/ssh
for name in host client other; do ssh-keygen -q -t ed25519 -N '' -f $name; done
useradd --create-home --shell /bin/bash --password '*' git
install -d -m 700 -o git -g git /home/git/.ssh
install -m 600 -o git -g git client.pub /home/git/.ssh/authorized_keys
mv client /etc/credstore/git-client
chmod 600 /etc/credstore/git-client
printf '[127.0.0.1]:2222 %s\n' "$(cat host.pub)" >known
chown -R git: /srv/shared
systemd-run --quiet --unit=sshd-of-git.service --service-type=notify --property=NotifyAccess=all \
    /usr/sbin/sshd -D -e -f /dev/null -o Port=2222 -o ListenAddress=127.0.0.1 \
    -o HostKey=/srv/ssh/host -o UsePAM=no
"""


def test_the_timers_service_fetches_by_ssh(shared_machine: Machine) -> None:
    """From a real sshd, with a key that only systemd's credentials have."""
    machine = shared_machine
    commit(machine, {"far.container": container(), ".leger.yaml": QUICK}, "/srv/shared/r")
    machine.sh(SSHD)
    definition = (
        "source: ssh://git@127.0.0.1:2222/srv/shared/r\n"
        "auth: {ssh-key: %s, known-hosts: /srv/ssh/known}\n"
    )

    def synced(key: str) -> str:
        text = shlex.quote(definition % key)
        machine.sh(f"mkdir -p {DEFINITIONS}; printf %s {text} >{DEFINITIONS}/far.yaml")
        began = machine.sh("date +@%s.%N").stdout.strip()
        machine.run("systemctl", "start", "leger-sync.service", check=False, timeout=120)
        return machine.journal("-u", "leger-sync.service", f"--since={began}")

    assert "auth: {ssh-key" in synced("/srv/ssh/other")
    machine.sh("mv /srv/ssh/known /srv/ssh/away; touch /srv/ssh/known")
    assert "known-hosts" in synced("git-client")
    machine.sh("mv /srv/ssh/away /srv/ssh/known")
    said = synced("git-client")
    assert active(machine, "far.service") == ["active"], said
    assert "PRIVATE KEY" not in machine.journal()
    assert machine.run("grep", "-rl", "PRIVATE KEY", "/var/lib/leger", check=False).stdout == ""
    machine.sh(f"rm {DEFINITIONS}/far.yaml; leger sync; systemctl stop sshd-of-git.service")
