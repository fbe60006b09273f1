"""A secret gets another value: the units that have it follow, as each says, and no others."""

from __future__ import annotations

import json

import pytest
from machine import Machine
from system.application import IMAGE, commit

UNIT = f"""[Container]
Image={IMAGE}
ContainerName=NAME
Exec=/bin/sh -c 'trap exit TERM; while :; do sleep 0.2; done'
StopTimeout=2
MORE
[Install]
WantedBy=multi-user.target
"""
RELOADS = """Secret=token
[Service]
ExecReload=/bin/touch /run/reloaded
[X-Leger]
OnSecretChange=reload
"""
ALONE = """Secret=token
[X-Leger]
OnSecretChange=none
"""
NOTIFY = "notify: {command: [/usr/local/bin/tell, it]}\n"
TELL = "#!/bin/sh\ncat >>/root/told\n"


def container(name: str, more: str) -> str:
    return UNIT.replace("NAME", name).replace("MORE", more)


@pytest.fixture(scope="module")
def host(shared_machine: Machine) -> Machine:
    """Four units: one restarts, one reloads, one leaves it alone, one has another secret."""
    machine = shared_machine
    machine.push(NOTIFY, "/etc/leger/config.yaml")
    machine.push(TELL, "/usr/local/bin/tell", 0o755)
    machine.sh("for n in token other; do printf one | leger secrets set prod/$n -; done")
    commit(
        machine,
        {
            "restarts.container": container("restarts", "Secret=token"),
            "reloads.container": container("reloads", RELOADS),
            "alone.container": container("alone", ALONE),
            "other.container": container("other", "Secret=other"),
            ".leger.yaml": "health: {quiet: 200ms}\n",
        },
    )
    bind = ("--bind-secret", "token=prod/token", "--bind-secret", "other=prod/other")
    machine.run("leger", "deploy", "install", "app", "/srv/repository", *bind, timeout=180)
    return machine


def processes(machine: Machine) -> dict[str, str]:
    names = ("restarts", "reloads", "alone", "other")
    form = "{{.Name}} {{.State.Pid}}"
    text = machine.run("podman", "inspect", "--format", form, *names).stdout
    return dict(line.split() for line in text.splitlines())


def value(machine: Machine, name: str) -> str:
    return machine.run("podman", "exec", name, "cat", "/run/secrets/token").stdout


def rotate(machine: Machine, text: str, secret: str = "prod/token") -> None:
    machine.run("leger", "secrets", "set", secret, "-", input=text)


def told(machine: Machine) -> list[dict[str, object]]:
    """What the notify command got since it was asked last."""
    text = machine.sh("cat /root/told 2>/dev/null || :; rm -f /root/told").stdout
    return [json.loads(line) for line in text.splitlines()]


def test_sync_restarts_who_has_a_value_of_before(host: Machine) -> None:
    [first] = told(host)
    assert (first["result"], first["why"], first["generation"]) == ("ok", "deploy app", 1)
    before = processes(host)
    assert host.run("leger", "plan", "--exit-code").code == 0
    rotate(host, "two")
    planned = host.run("leger", "plan", "--exit-code", check=False)
    assert planned.code == 10
    assert planned.stdout.splitlines() == [
        "reload reloads.service: secret token has version 2 of prod/token",
        "restart restarts.service: secret token has version 2 of prod/token",
    ]
    assert processes(host) == before
    host.run("systemctl", "start", "leger-sync.service", timeout=120)
    after = processes(host)
    assert {name for name in after if after[name] != before[name]} == {"restarts"}
    assert value(host, "restarts") == "two"
    host.sh("test -e /run/reloaded")
    [summary] = told(host)
    assert summary["result"] == "ok"
    assert summary["units"] == {
        "reloads.service": "secret token has version 2 of prod/token",
        "restarts.service": "secret token has version 2 of prod/token",
    }
    assert "two" not in json.dumps(summary).split('"')
    assert host.run("leger", "sync").stdout.endswith("nothing new\n")
    assert processes(host) == after


def test_refresh_does_so_by_name_and_says_what(host: Machine) -> None:
    rotate(host, "three")
    before = processes(host)
    for words in (("prod/other",), ("--deployment", "none"), ("--dry-run",)):
        host.run("leger", "secrets", "refresh", *words)
        assert processes(host) == before
    done = json.loads(host.run("leger", "secrets", "refresh", "prod/token", "--json").stdout)
    assert done["failed"] == {}
    assert set(done["refreshed"]) == {"restarts.service", "reloads.service"}
    assert value(host, "restarts") == "three"
    assert "every unit has" in host.run("leger", "secrets", "refresh").stdout


def test_a_value_that_cannot_be_had_stops_nothing(host: Machine) -> None:
    before = processes(host)
    rotate(host, "")
    told(host)
    done = host.run("leger", "sync", check=False)
    assert done.code == 1
    assert "restarts.service did not get its secrets" in done.stderr
    assert "is empty" in done.stderr
    assert processes(host) == before
    assert [one["result"] for one in told(host)] == ["failed"]
    assert host.run("leger", "sync", check=False).code == 1
    assert told(host) == []
    host.run("leger", "secrets", "activate", "prod/token", "3")
    assert "nothing new" in host.run("leger", "sync").stdout


def test_without_legerd_sync_says_so_and_goes_on(host: Machine) -> None:
    before = processes(host)
    host.sh("systemctl stop legerd.socket legerd-users.socket legerd.service")
    done = host.run("leger", "sync")
    assert "rotated secrets are not looked for" in done.stderr
    assert processes(host) == before
    host.sh("systemctl start legerd.socket legerd-users.socket")


def test_prune_removes_what_nobody_needs(host: Machine) -> None:
    labels = ("--label", "io.leger.source=prod/old")
    host.sh(f"printf x | podman secret create {' '.join(labels)} old -")
    host.sh("printf x | podman secret create mine -")
    assert host.run("leger", "secrets", "prune", "--dry-run").stdout == "old: would be removed\n"
    assert json.loads(host.run("leger", "secrets", "prune", "--json").stdout) == {
        "removed": ["old"]
    }
    left = host.run("podman", "secret", "ls", "--format", "{{.Name}}").stdout.split()
    assert sorted(left) == ["mine", "other", "token"]


def test_a_bad_commit_is_told_with_what_was_tried(host: Machine) -> None:
    told(host)
    tree = {"bad.container": container("bad", "[Service]\nExecStartPre=false")}
    commit_id = commit(host, tree, "/srv/bad")
    done = host.run("leger", "deploy", "install", "bad", "/srv/bad", check=False, timeout=120)
    assert done.code == 1
    [summary] = told(host)
    assert (summary["result"], summary["why"]) == ("rolled back", "deploy bad")
    assert summary["deployments"] == [{"name": "bad", "before": "", "after": commit_id}]
    assert "bad.service" in str(summary["message"])


def test_a_webhook_on_the_host_gets_it_from_the_timers_service(host: Machine) -> None:
    server = (
        "import http.server, sys\n"
        "class H(http.server.BaseHTTPRequestHandler):\n"
        "    def do_POST(self):\n"
        "        data = self.rfile.read(int(self.headers['Content-Length']))\n"
        "        open('/root/posted', 'ab').write(data)\n"
        "        self.send_response(204); self.end_headers()\n"
        "http.server.HTTPServer(('127.0.0.1', 8099), H).serve_forever()\n"
    )
    host.push(server, "/root/server.py")
    host.run("systemd-run", "--unit=server", "python3", "/root/server.py")
    host.sh("until (echo >/dev/tcp/127.0.0.1/8099) 2>/dev/null; do sleep 0.1; done")
    host.push("http://127.0.0.1:8099/leger\n", "/etc/leger/webhook", 0o600)
    host.push("notify: {webhook: /etc/leger/webhook}\n", "/etc/leger/config.yaml")
    host.push("source: /nowhere/at-all\n", "/etc/leger/deployments.d/lost.yaml")
    host.run("systemctl", "start", "leger-sync.service", check=False, timeout=120)
    posted = json.loads(host.pull("/root/posted"))
    assert posted["result"] == "failed"
    assert "/nowhere/at-all" in posted["message"]
    host.sh("systemctl stop server; rm /etc/leger/deployments.d/lost.yaml")


def test_the_timer_ticks_with_a_delay_of_the_hosts_own(host: Machine) -> None:
    units = [f"/usr/lib/systemd/system/leger-sync.{kind}" for kind in ("service", "timer")]
    checked = host.run("systemd-analyze", "verify", "--man=no", *units)
    assert checked.stderr == ""
    host.run("systemctl", "start", "leger-sync.timer")
    keys = "Persistent,FixedRandomDelay,RandomizedDelayUSec,Unit"
    shown = host.run("systemctl", "show", "--property", keys, "leger-sync.timer").stdout
    assert set(shown.split()) == {
        "Persistent=yes",
        "FixedRandomDelay=yes",
        "RandomizedDelayUSec=10min",
        "Unit=leger-sync.service",
    }
    next_ = host.run("systemctl", "show", "-P", "NextElapseUSecRealtime", "leger-sync.timer")
    assert next_.stdout.strip()
    host.run("systemctl", "stop", "leger-sync.timer")


LENT = """Secret=lent-token,target=token
[Service]
User=bert
Environment=HOME=/home/bert
"""


def lent(machine: Machine) -> str:
    """What the other user's container has; `podman exec` may not enter the unit's control group."""
    argv = ("podman", "inspect", "--format", "{{.State.Pid}}", "lent")
    pid = machine.run(*argv, user="bert").stdout.strip()
    return machine.run("cat", f"/proc/{pid}/root/run/secrets/token").stdout


def test_a_unit_of_the_systems_that_runs_as_another_user_follows_too(
    host: Machine, suite: str
) -> None:
    """The secret is in that user's Podman, and what it got is root's to note."""
    if suite == "trixie":
        pytest.skip("units of podman 5.4 write the container's id to /run, which only root may")
    host.add_user("bert")
    host.push("rules:\n- {user: bert, action: [get], secret: [lent/*]}\n", "/etc/leger/policy.yaml")
    host.sh("systemctl reload legerd.service; printf one | leger secrets set lent/lent-token -")
    host.sh(f"podman save -q -o /tmp/image.tar {IMAGE}; chmod 644 /tmp/image.tar")
    host.run("podman", "load", "-q", "-i", "/tmp/image.tar", user="bert")
    host.run("systemctl", "--user", "start", "podman.socket", user="bert")
    quick = {".leger.yaml": "health: {quiet: 200ms}\n"}
    commit(host, {"lent.container": container("lent", LENT), **quick}, "/srv/lent")
    done = host.run("leger", "deploy", "install", "lent", "/srv/lent", check=False, timeout=180)
    assert done.code == 0, host.journal("-u", "lent.service")
    assert lent(host) == "one"
    assert "every unit has" in host.run("leger", "secrets", "refresh").stdout
    rotate(host, "two", "lent/lent-token")
    host.run("leger", "sync", timeout=120)
    assert lent(host) == "two"
    assert "every unit has" in host.run("leger", "secrets", "refresh").stdout
    host.sh("sed -i s,lent/,none/, /etc/leger/policy.yaml; systemctl reload legerd.service")
    rotate(host, "three", "lent/lent-token")
    done = host.run("leger", "secrets", "refresh", check=False)
    assert "lent.service did not get its secrets" in done.stderr
    assert lent(host) == "two"
