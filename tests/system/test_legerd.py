"""legerd under systemd: activation, who may call, what it cannot do, restarts, lost keys."""

from __future__ import annotations

import json
import re
import time

import pytest
from machine import Machine, Result

ROOT, USERS = "/run/legerd/root.sock", "/run/legerd/users.sock"
CALL = r"""
import http.client, socket, sys
class Connection(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(20)
        self.sock.connect(sys.argv[1])
connection = Connection("localhost")
headers = {"Content-Type": "application/json", "Sec-X-Tailscale-No-Browsers": "setec"}
connection.request("POST", "/api/" + sys.argv[2], sys.argv[3], headers)
answer = connection.getresponse()
print(answer.status, answer.read().decode().strip())
"""
# Clients that keep their connection and call on, while the service is restarted.
KEEP_CALLING = r"""
import http.client, json, socket, subprocess, sys, threading, time
class Connection(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(30)
        self.sock.connect("/run/legerd/root.sock")
headers = {"Content-Type": "application/json", "Sec-X-Tailscale-No-Browsers": "setec"}
pauses = [0, 0, 0.01, 0.1, 0.5, 0.9]
calls, lost, stop = [0] * len(pauses), [], threading.Event()
def work(index):
    connection = Connection("localhost")
    while not stop.is_set():
        try:
            connection.request("POST", "/api/get", b'{"Name":"kept"}', headers)
            answer = connection.getresponse()
            body = answer.read()
            if (answer.status, body) != (200, b'{"Value":"dg==","Version":1}'):
                lost.append([answer.status, body.decode()])
            calls[index] += 1
        except (OSError, http.client.HTTPException) as error:
            lost.append(repr(error))
            connection.close()
        time.sleep(pauses[index])
threads = [threading.Thread(target=work, args=(index,)) for index in range(len(pauses))]
for thread in threads:
    thread.start()
for _ in range(int(sys.argv[1])):
    time.sleep(0.3)
    subprocess.run(["systemctl", "restart", "legerd.service"], check=True)
while sum(calls) < int(sys.argv[2]):
    time.sleep(0.1)
stop.set()
for thread in threads:
    thread.join()
print(json.dumps({"calls": calls, "lost": lost[:10]}))
"""
IMAGE = "localhost/host:1"
MOUNTS = ("-v", "/usr:/usr:ro", "-v", "/run:/run/host", "-v", "/srv/call.py:/call.py:ro")


@pytest.fixture(scope="module")
def host(shared_machine: Machine) -> Machine:
    """A machine with a secret "kept" in its vault and a policy that names nobody."""
    machine = shared_machine
    machine.push(CALL, "/srv/call.py")
    machine.push(KEEP_CALLING, "/srv/keep_calling.py")
    folders = "mkdir -p /srv/i/{usr,run,tmp,etc,proc,sys,dev}; cd /srv/i; "
    links = "for d in bin lib lib64 sbin; do ln -sfn usr/$d $d; done; "
    machine.sh(f"{folders}{links}tar -c . | podman import -q - {IMAGE}", timeout=120)
    machine.add_user("bob")
    assert call(machine, "put", '{"Name":"kept","Value":"dg=="}') == "200 1"
    return machine


def call(machine: Machine, name: str, body: str, *, socket: str = ROOT, user: str = "") -> str:
    command = ["python3", "/srv/call.py", socket, name, body]
    return said(machine.run(*(["runuser", "-u", user, "--"] if user else []), *command))


def get(machine: Machine, *, socket: str = ROOT, user: str = "") -> str:
    return call(machine, "get", '{"Name":"kept"}', socket=socket, user=user)


def said(result: Result) -> str:
    return str(result.stdout).strip()


def policy(machine: Machine, *rules: str) -> None:
    text = (
        "rules: []\n" if not rules else "rules:\n" + "".join(f"  - {{{rule}}}\n" for rule in rules)
    )
    machine.push(text, "/etc/leger/policy.yaml")


def audit(machine: Machine) -> list[dict[str, object]]:
    text = machine.pull("/var/lib/legerd/audit.log").decode()
    return [json.loads(line) for line in text.splitlines()]


def shown(machine: Machine, unit: str, *names: str) -> dict[str, str]:
    text = said(machine.run("systemctl", "show", unit, "-p", ",".join(names)))
    return dict(line.split("=", 1) for line in text.splitlines())


def test_the_first_call_starts_it(host: Machine) -> None:
    modes = said(host.run("stat", "-c", "%a %U %n", ROOT, USERS, "/run/legerd"))
    assert modes.splitlines() == [f"600 root {ROOT}", f"666 root {USERS}", "755 root /run/legerd"]
    host.run("systemctl", "stop", "legerd.service")
    assert shown(host, "legerd.service", "ActiveState") == {"ActiveState": "inactive"}
    assert get(host) == '200 {"Value":"dg==","Version":1}'
    service = shown(host, "legerd.service", "ActiveState", "Type", "NRestarts", "User", "SubState")
    assert service == {
        "ActiveState": "active",
        "SubState": "running",
        "Type": "notify",
        "NRestarts": "0",
        "User": "legerd",
    }
    assert shown(host, "legerd-users.socket", "ActiveState") == {"ActiveState": "active"}


def test_hundreds_of_starts_at_once_are_one_start(host: Machine) -> None:
    host.run("systemctl", "stop", "legerd.service")
    many = "for i in $(seq 200); do python3 -IS /srv/call.py "
    many += f'{ROOT} get \'{{"Name":"kept"}}\' & done; wait'
    answers = said(host.sh(many, timeout=120)).splitlines()
    assert answers == ['200 {"Value":"dg==","Version":1}'] * 200
    assert shown(host, "legerd.socket", "Result", "ActiveState")["Result"] == "success"


def test_another_user_gets_what_the_policy_says(host: Machine) -> None:
    policy(host)
    assert get(host, socket=USERS, user="bob") == "403 access denied"
    assert call(host, "list", "{}", socket=USERS, user="bob") == "200 null"
    denied = host.run("runuser", "-u", "bob", "--", "python3", "/srv/call.py", ROOT, "list", "{}",
                      check=False)  # fmt: skip
    assert "PermissionError" in str(denied.stderr)
    policy(host, "user: bob, action: get, secret: 'k*'")
    assert get(host, socket=USERS, user="bob") == '200 {"Value":"dg==","Version":1}'
    assert call(host, "put", '{"Name":"kept"}', socket=USERS, user="bob") == "403 access denied"
    last = audit(host)[-1]
    uid = said(host.run("id", "-u", "bob"))
    assert last["principal"] == {"hostname": host.hostname, "ip": "", "user": f"unix:bob({uid})"}
    assert (last["action"], last["authorized"], last["secret"]) == ("put", False, "kept")
    policy(host, "user: bob, action: gte, secret: 'k*'")
    assert get(host, socket=USERS, user="bob").startswith("200 ")
    assert "policy.yaml:2: 'gte' is not one of get" in host.journal("-u", "legerd")
    policy(host)


def in_container(machine: Machine, *options: str, socket: str = ROOT, user: str = "") -> str:
    inner = socket.replace("/run/", "/run/host/")
    ask = ("python3", "/call.py", inner, "get", '{"Name":"kept"}')
    command = ["podman", "run", "--rm", *options, *MOUNTS, IMAGE, *ask]
    if user:
        command = ["systemd-run", "-q", "--wait", "--pipe", "--user", "-M", f"{user}@", *command]
    return said(machine.run(*command, timeout=120))


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--privileged",),
        ("--pid=host",),
        ("--cgroupns=host",),
        ("--cgroups=disabled",),
        ("--network=host", "--ipc=host", "--uts=host"),
    ],
    ids=" ".join,
)
def test_root_in_a_container_gets_nothing(host: Machine, options: tuple[str, ...]) -> None:
    before = len(audit(host))
    assert in_container(host, *options) == "403 access denied"
    assert in_container(host, *options, socket=USERS) == "403 access denied"
    assert [line["authorized"] for line in audit(host)[before:]] == [False, False]


def test_a_user_in_a_container_gets_nothing(host: Machine) -> None:
    uid = said(host.run("id", "-u", "bob"))
    policy(host, "user: bob, action: get, secret: '*'")
    before = len(audit(host))
    assert in_container(host, "--user", uid, socket=USERS) == "403 access denied"
    tar = f"podman save -q {IMAGE} -o /tmp/i.tar; chmod 644 /tmp/i.tar"
    host.sh(tar, timeout=60)
    load = ["systemd-run", "-q", "--wait", "--user", "-M", "bob@", "podman", "load", "-qi"]
    host.run(*load, "/tmp/i.tar", timeout=120)
    assert in_container(host, socket=USERS, user="bob") == "403 access denied"
    name = {"hostname": host.hostname, "ip": "", "user": f"unix:bob({uid})"}
    denied = [(line["principal"], line["authorized"]) for line in audit(host)[before:]]
    assert denied == [(name, False)] * 2
    assert get(host, socket=USERS, user="bob").startswith("200 ")
    policy(host)


def test_a_container_whose_unit_is_named_gets_its_share(host: Machine) -> None:
    inner = ROOT.replace("/run/", "/run/host/")
    mounts = "\n".join(f"Volume={mount}" for mount in MOUNTS[1::2])
    quadlet = f"""[Container]
Image={IMAGE}
Exec=python3 /call.py {inner} get '{{"Name":"kept"}}'
{mounts}
[Service]
Type=oneshot
"""
    host.push(quadlet, "/etc/containers/systemd/asks.container")
    host.run("systemctl", "daemon-reload")
    host.run("systemctl", "start", "asks.service", timeout=60)
    assert "403 access denied" in host.journal("-u", "asks")
    policy(host, "unit: asks.service, action: get, secret: kept")
    host.run("systemctl", "start", "asks.service", timeout=60)
    assert '200 {"Value":"dg==","Version":1}' in host.journal("-u", "asks")
    assert in_container(host) == "403 access denied"
    policy(host)


def test_the_service_can_do_nothing_but_serve(host: Machine) -> None:
    get(host)
    text = said(host.run("systemd-analyze", "security", "--no-pager", "legerd.service"))
    exposure = re.search(r"Overall exposure level for legerd.service: ([0-9.]+)", text)
    assert exposure
    assert float(exposure[1]) <= 1.5
    pid = shown(host, "legerd.service", "MainPID")["MainPID"]
    status = dict(
        line.split(":\t", 1) for line in host.pull(f"/proc/{pid}/status").decode().splitlines()
    )
    assert {status[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {
        "0" * 16
    }
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    owner = said(host.run("stat", "-c", "%U", f"/proc/{pid}/environ"))
    assert owner == "root", "it can be traced or dumped"
    limits = host.pull(f"/proc/{pid}/limits").decode()
    assert re.search(r"Max core file size +0 +0 ", limits)
    allowed = re.search(r"Max locked memory +\S+ +(\S+)", limits)
    assert allowed
    locked = int(status["VmLck"].split()[0])
    if allowed[1] == "unlimited":
        assert locked > 10_000
    else:
        complaint = "warning: memory cannot be locked and may be swapped out"
        assert host.journal("-u", "legerd", "--invocation=0").count(complaint) == 1
        assert locked == 0
        print(f"memory locking was not tried: the hard limit here is {allowed[1]}")


def test_it_has_no_network_but_what_it_listens_on(host: Machine) -> None:
    pid = shown(host, "legerd.service", "MainPID")["MainPID"]
    open_ = said(host.run("ss", "-Hanp", "-f", "inet")) + said(
        host.run("ss", "-Hanp", "-f", "inet6")
    )
    assert f"pid={pid}," not in open_
    unit = shown(
        host, "legerd.service", "IPAddressDeny", "IPAddressAllow", "RestrictAddressFamilies"
    )
    assert set(unit["IPAddressDeny"].split()) == {"::/0", "0.0.0.0/0"}
    assert set(unit["IPAddressAllow"].split()) == {"100.64.0.0/10", "fd7a:115c:a1e0::/48"}
    assert set(unit["RestrictAddressFamilies"].split()) == {"AF_UNIX", "AF_INET", "AF_INET6"}


def test_metrics_are_for_who_has_a_rule(host: Machine) -> None:
    read = ("curl", "-sS", "--unix-socket", USERS, "http://localhost/metrics")
    policy(host)
    assert said(host.run("runuser", "-u", "bob", "--", *read)) == "access denied"
    policy(host, "user: bob, action: metrics")
    told = said(host.run("runuser", "-u", "bob", "--", *read))
    assert "\nlegerd_secrets 1\n" in told
    assert get(host, socket=USERS, user="bob") == "403 access denied"
    policy(host)


def test_a_restart_loses_no_call(host: Machine, soak: bool) -> None:
    restarts, calls = ("20", "10000") if soak else ("4", "500")
    text = said(host.run("python3", "/srv/keep_calling.py", restarts, calls, timeout=300))
    found = json.loads(text)
    assert found["lost"] == []
    assert min(found["calls"]) > 1


def test_a_reload_follows_logrotate(host: Machine) -> None:
    get(host)
    host.run("mv", "/var/lib/legerd/audit.log", "/var/lib/legerd/rotated")
    host.run("systemctl", "reload", "legerd.service")
    for _ in range(50):
        get(host)
        if host.run("test", "-e", "/var/lib/legerd/audit.log", check=False).code == 0:
            break
    assert [line["action"] for line in audit(host)] == ["get"]


def test_a_recovery_key_is_shown_to_nobody_but_root(host: Machine) -> None:
    assert '"Recovery":""' in call(host, "leger/status", "{}")
    assert call(host, "leger/status", "{}", socket=USERS, user="bob") == "403 access denied"
    refused = host.run("sh", "-c", "legerd recovery-key | cat; true")
    assert "a recovery key is shown on a terminal only" in str(refused.stderr)
    host.run("legerd", "recovery-key", "--output", "/root/recovery")
    assert said(host.run("stat", "-c", "%a %U", "/root/recovery")) == "600 root"
    assert audit(host)[-1]["action"] == "recovery"
    assert re.search(r'"Recovery":"[0-9a-f]{8}"', call(host, "leger/status", "{}"))
    again = host.run("legerd", "recovery-key", "--output", "/root/recovery", check=False)
    assert again.code == 1
    body = '{"PublicKey":"%s"}' % ("A" * 43 + "=")
    assert call(host, "leger/recovery", body, socket=USERS, user="bob") == "403 access denied"


def test_check_reads_everything(host: Machine) -> None:
    assert "1 secrets and" in str(host.run("legerd", "check").stderr)
    host.run("systemctl", "stop", "legerd.socket", "legerd-users.socket", "legerd.service")
    assert "1 secrets and" in str(host.run("legerd", "check").stderr)
    host.run("systemctl", "start", "legerd.socket", "legerd-users.socket")


def test_a_lost_key_is_said_and_nothing_is_written_until_it_is_back(host: Machine) -> None:
    host.run("systemctl", "stop", "legerd.service")
    digest = "sha256sum /var/lib/legerd/secrets.db /var/lib/legerd/sequence"
    before = said(host.sh(digest))
    host.run("mv", "/var/lib/legerd-key/kek.cred", "/root/kek.cred")
    assert host.run("systemctl", "start", "legerd.service", check=False).code
    for _ in range(3):
        time.sleep(1)
        assert shown(host, "legerd.socket", "ActiveState") == {"ActiveState": "active"}
    journal = host.journal("-u", "legerd-keygen", "-u", "legerd")
    assert "kek.cred is gone" in journal
    assert "hint: put /var/lib/legerd-key/kek.cred back" in journal
    assert "243/CREDENTIALS" in journal
    assert said(host.sh(digest)) == before
    host.run("mv", "/root/kek.cred", "/var/lib/legerd-key/kek.cred")
    host.run("systemctl", "restart", "legerd.service")
    assert get(host) == '200 {"Value":"dg==","Version":1}'


def test_a_lost_vault_is_said_and_none_is_made_in_its_place(host: Machine) -> None:
    host.sh("systemctl stop legerd.service; mv /var/lib/legerd /var/lib/legerd.away")
    assert host.run("systemctl", "start", "legerd.service", check=False).code
    time.sleep(2)
    journal = host.journal("-u", "legerd", "-n", "30")
    assert "legerd: error:" in journal
    assert "legerd: hint:" in journal
    made = said(host.run("find", "/var/lib/legerd", "-name", "secrets.db"))
    assert made == ""
    host.sh("systemctl stop legerd.service; rm -rf /var/lib/legerd")
    host.sh("mv /var/lib/legerd.away /var/lib/legerd; systemctl start legerd.service")
    assert get(host) == '200 {"Value":"dg==","Version":1}'


def test_a_full_disk_refuses_and_later_works_again(host: Machine) -> None:
    host.sh("""
systemctl stop legerd.service
mkdir /srv/away; cp -a /var/lib/legerd/. /srv/away/
mount -t tmpfs -o size=2M,mode=700,uid=legerd,gid=legerd tmpfs /var/lib/legerd
cp -a /srv/away/. /var/lib/legerd/
systemctl start legerd.service
""")
    try:
        put = '{"Name":"full/%d","Value":"' + "A" * 4000 + '"}'
        host.sh("dd if=/dev/zero of=/var/lib/legerd/filler bs=4k 2>/dev/null || true")
        answers = [call(host, "put", put % number) for number in range(12)]
        assert "500 internal error" in answers
        acknowledged = [n for n, answer in enumerate(answers) if answer == "200 1"]
        assert "room" in host.journal("-u", "legerd") or "No space" in host.journal("-u", "legerd")
        host.run("rm", "/var/lib/legerd/filler")
        assert call(host, "put", put % 99) == "200 1"
        for number in (*acknowledged, 99):
            got = call(host, "get", f'{{"Name":"full/{number}"}}')
            assert got.startswith("200 ")
        assert audit(host)[-1]["action"] == "get"
    finally:
        host.sh("systemctl stop legerd.service; umount /var/lib/legerd")
    assert get(host) == '200 {"Value":"dg==","Version":1}'


def test_after_a_cut_it_answers_as_before(host: Machine) -> None:
    assert call(host, "put", '{"Name":"cut","Value":"Y3V0"}') == "200 1"
    lines = len(audit(host))
    host.cut()
    host.start()
    assert len(audit(host)) == lines
    assert call(host, "get", '{"Name":"cut"}') == '200 {"Value":"Y3V0","Version":1}'
    assert get(host) == '200 {"Value":"dg==","Version":1}'
