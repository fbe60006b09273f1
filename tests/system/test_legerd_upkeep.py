"""legerd's keys are changed while it runs, and a host that is destroyed comes back on another."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

from machine import Machine, Result

FETCH = r"""
import http.client, socket
class Connection(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect("/run/legerd/root.sock")
connection = Connection("localhost")
headers = {"Content-Type": "application/json", "Sec-X-Tailscale-No-Browsers": "setec"}
for call, body in (("fetch", '{"Secrets":[{"Name":"web/db"}]}'), ("status", "{}")):
    connection.request("POST", "/api/leger/" + call, body, headers)
    print(connection.getresponse().read().decode())
"""
KEYS = "/var/lib/legerd-key"


def said(result: Result) -> str:
    return str(result.stdout).strip()


def state(machine: Machine) -> tuple[Any, Any]:
    """What legerd hands out, tag included, and how it says that its vault is."""
    machine.push(FETCH, "/srv/fetch.py")
    fetched, status = said(machine.run("python3", "/srv/fetch.py")).splitlines()
    return json.loads(fetched), json.loads(status)


def killed_while_it_works(machine: Machine, delay: float) -> None:
    """A rekey that is killed with what it started, after `delay` seconds; legerd starts anew."""
    machine.run("timeout", "-s", "KILL", f"{delay:.2f}", "legerd", "rekey", check=False)
    machine.run("systemctl", "restart", "legerd.service")


def test_a_host_gets_new_keys_is_destroyed_and_comes_back_elsewhere(
    shared_machine: Machine,
    new_machine: Callable[..., Machine],
    suite: str,
    rng: random.Random,
    soak: bool,
) -> None:
    host = shared_machine
    host.sh("printf 'the value' | leger secrets set web/db -")
    host.run("legerd", "recovery-key", "--output", "/root/recovery")
    told = state(host)[0]

    for _ in range(30 if soak else 3):
        killed_while_it_works(host, rng.uniform(0.1, 1.2))
        assert state(host)[0] == told
    before = host.pull(f"{KEYS}/kek.cred")
    host.run("legerd", "rekey")
    assert host.pull(f"{KEYS}/kek.cred") != before
    assert said(host.run("ls", KEYS)) == "kek.cred"
    host.run("legerd", "rekey", "--data-key")
    host.run("systemctl", "restart", "legerd.service")
    fetched, status = state(host)
    assert fetched == told
    assert status["Keys"] == [status["Key"]]
    assert "1 secrets and" in str(host.run("legerd", "check").stderr)

    path = said(host.run("legerd", "backup", "--to", "/srv/backups", "--keep", "3"))
    kept, recovery = host.pull(path), host.pull("/root/recovery")
    assert b"the value" not in kept
    host.cut()

    fresh = new_machine(suite, installed=True)
    fresh.push(kept, path)
    fresh.push(recovery, "/root/recovery", 0o600)
    fresh.run("systemctl", "stop", "legerd.socket", "legerd-users.socket", "legerd.service")
    restored = fresh.run("legerd", "restore", path, "--recovery-key", "/root/recovery", "--replace")
    assert "sealed to this host" in str(restored.stderr)
    fresh.run("systemctl", "start", "legerd.socket", "legerd-users.socket")
    assert said(fresh.run("leger", "secrets", "get", "web/db")) == "the value"
    assert state(fresh)[0] == told
    assert "1 secrets and" in str(fresh.run("legerd", "check").stderr)
    fresh.reboot()
    assert said(fresh.run("leger", "secrets", "get", "web/db")) == "the value"
