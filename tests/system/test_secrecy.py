"""Where a secret's value and name must not be found: everywhere but where they are kept."""

from __future__ import annotations

import base64
import json
import secrets

import pytest
from machine import Machine
from system import application
from system.application import commit, files

pytestmark = pytest.mark.machine

# Looks for every spelling of every canary in what was written since the boot; prints its place.
SEARCH = r"""
import base64, json, os, stat, sys
canaries = json.load(sys.stdin)
spellings = {}
for name, text in canaries.items():
    raw = text.encode()
    spellings[(name, "raw")] = raw
    spellings[(name, "hex")] = raw.hex().encode()
    spellings[(name, "HEX")] = raw.hex().upper().encode()
    spellings[(name, "utf-16le")] = text.encode("utf-16-le")
    spellings[(name, "utf-16be")] = text.encode("utf-16-be")
    for offset in range(3):
        coded = base64.b64encode(b"\0" * offset + raw)
        cut = [0, 2, 3][offset]
        spellings[(name, f"base64+{offset}")] = coded[cut : len(coded) - 4]
def look(place, data):
    for key, value in spellings.items():
        if value in data:
            print(place, *key, flush=True)
"""

FILES = (
    SEARCH
    + r"""
SKIP = ("/proc", "/sys", "/dev/pts", "/run/.proc", "/srv/host")
began = os.stat("/proc/1").st_ctime - 1
allowed = tuple(sys.argv[1:])
for folder, folders, names in os.walk("/"):
    folders[:] = [f for f in folders if not os.path.join(folder, f).startswith(SKIP + allowed)]
    for name in names:
        path = os.path.join(folder, name)
        try:
            state = os.lstat(path)
            if stat.S_ISREG(state.st_mode) and state.st_ctime >= began:
                with open(path, "rb") as file:
                    look(path, file.read())
        except OSError:
            pass
"""
)

WATCH = (
    SEARCH.replace("json.load(sys.stdin)", "json.load(open('/dev/shm/canaries'))")
    + r"""
os.unlink("/dev/shm/canaries")
print("watching", flush=True)
import time
end = time.monotonic() + 300
seen = set()
while time.monotonic() < end and not os.path.exists("/run/watch-ends"):
    for pid in filter(str.isdigit, os.listdir("/proc")):
        for what in ("cmdline", "environ"):
            try:
                with open(f"/proc/{pid}/{what}", "rb") as file:
                    data = file.read()
                comm = open(f"/proc/{pid}/comm").read().strip()
                inside = "libpod" in open(f"/proc/{pid}/cgroup").read()
            except OSError:
                continue
            if (pid, what, hash(data)) in seen or (inside and what == "environ"):
                continue
            seen.add((pid, what, hash(data)))
            look(f"/proc/{pid}/{what} ({comm})", data)
print("looked at", len(seen), flush=True)
"""
)

# What podman itself keeps in plain, as docs/security.md says.
PODMAN = ("/var/lib/containers", "/run/containers", "/run/crun", "/var/lib/leger/data")

MALFORMED = r"""
import socket, sys
canary = sys.stdin.read()
head = (
    "POST /api/put HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    "Sec-X-Tailscale-No-Browsers: setec\r\n"
)
body = '{"Name":"bad","Value":"%s"}' % canary
full = head + "Content-Length: %d\r\n\r\n" % len(body) + body
chunked = head + "Transfer-Encoding: chunked\r\n\r\n"
cases = [
    full.replace('"Value"', "Value"),
    full.replace("POST", canary),
    full.replace("POST", "P\x00ST"),
    full.replace("/api/put", "/" + canary),
    full.replace("/api/put", "/api/put?" + canary),
    full.replace("HTTP/1.1", "HTTP/9." + canary),
    full.replace("Host: localhost", "Host: " + canary),
    full.replace("Host: localhost", canary),
    full.replace("Host: localhost", "X-Long: " + canary * 3000),
    full.replace("application/json", canary),
    full.replace("setec", canary),
    head + "Content-Length: 5\r\nContent-Length: 9\r\n\r\n" + canary,
    head + "Content-Length: -1\r\n\r\n" + canary,
    head + "Content-Length: " + canary + "\r\n\r\n",
    head + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n" + canary,
    chunked + canary + "\r\n",
    chunked + "zz\r\n" + canary + "\r\n0\r\n\r\n",
    chunked + "5\r\n" + canary,
    head + "Transfer-Encoding: " + canary + "\r\n\r\n",
    head + "Content-Length: 99999999999\r\n\r\n" + canary,
    head + "Content-Length: 100000\r\n\r\n" + body,
    full.replace(canary, canary + "\\u12"),
    full.replace(canary, '{"a":' * 5000 + canary),
    full.replace('"bad"', "1" * 6000 + canary),
    canary * 100,
    "\x16\x03\x01" + canary,
]
for case in cases:
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(2)
    connection.connect("/run/legerd/root.sock")
    try:
        connection.sendall(case.encode())
        connection.shutdown(socket.SHUT_WR)
        answer = connection.recv(65536)
    except OSError:
        answer = b""
    if canary.encode() in answer:
        print("echoed:", case[:60])
    connection.close()
print(len(cases))
"""


def canary() -> str:
    """A text that stands nowhere by chance, of letters that no encoding changes."""
    return "CANARY" + secrets.token_hex(24)


@pytest.fixture
def application_with_secret(leger_machine: Machine) -> Machine:
    """A machine with a repository whose container wants one secret, not yet deployed."""
    leger_machine.import_image(application.IMAGE)
    commit(leger_machine, files(1))
    return leger_machine


def search(machine: Machine, canaries: dict[str, str]) -> str:
    """Every place of the machine's disk, /run and /tmp where a canary lies open."""
    return machine.run(
        "python3", "-c", FILES, *PODMAN, input=json.dumps(canaries), timeout=300
    ).stdout


@pytest.mark.timeout(900)
def test_values_are_nowhere_but_in_podmans_own_store(application_with_secret: Machine) -> None:
    machine = application_with_secret
    canaries = {f"value{number}": canary() for number in range(6)}
    small, large, huge, giant, changed, sent = canaries.values()
    machine.push(json.dumps(canaries), "/dev/shm/canaries")
    with machine.spawn("python3", "-c", WATCH) as watcher:
        assert watcher.stdout is not None
        assert watcher.stdout.read(9) == b"watching\n"
        _use(machine, small, changed)
        for value, size in ((large, 150 << 10), (huge, 600 << 10), (giant, 4 << 20)):
            _put_and_get(machine, value * (size // len(value)))
        cases = machine.run("python3", "-c", MALFORMED, input=sent, timeout=120).stdout
        assert int(cases) >= 20, cases
        machine.run("touch", "/run/watch-ends")
        watched = watcher.stdout.read().decode()
    assert watched.startswith("looked at"), watched
    machine.run("systemctl", "kill", "-s", "ABRT", "legerd.service", check=False)
    machine.sync()
    assert search(machine, canaries) == ""
    journal = machine.run("journalctl", "-o", "export", "--no-pager").stdout
    assert [name for name, text in canaries.items() if text in journal] == []


def _use(machine: Machine, value: str, changed: str) -> None:
    """Deploy with one value, change it, restart: the container has the new one."""
    machine.run("leger", "secrets", "set", application.SECRET, "-", input=value)
    bind = f"token={application.SECRET}"
    machine.run(
        *("leger", "deploy", "install", "app", application.REPOSITORY, "--bind-secret", bind),
        timeout=120,
    )
    machine.run("leger", "secrets", "set", application.SECRET, "-", input=changed)
    machine.run("systemctl", "restart", "alpha.service")
    inside = machine.run("podman", "exec", "alpha", "cat", "/run/secrets/token").stdout
    assert inside == changed
    machine.run("leger", "status")
    machine.run("leger", "secrets", "info", application.SECRET)


def _put_and_get(machine: Machine, value: str) -> None:
    machine.run("leger", "secrets", "set", "large/value", "-", input=value)
    assert machine.run("leger", "secrets", "get", "large/value").stdout == value


def test_names_and_values_are_not_readable_in_the_database(leger_machine: Machine) -> None:
    canaries = {"name": canary(), "value": canary(), "name2": canary()}
    name, value, other = canaries.values()
    leger_machine.run("leger", "secrets", "set", f"deep/{name}", "-", input=value)
    leger_machine.run("leger", "secrets", "set", other, "-", input=value)
    script = (
        FILES.replace('os.walk("/")', 'os.walk("/var/lib/legerd")')
        + '\nprint(sorted(os.listdir("/var/lib/legerd")))'
    )
    found = leger_machine.run("python3", "-c", script, input=json.dumps(canaries)).stdout
    *lines, listing = found.strip().split("\n")
    assert "secrets.db-wal" in listing
    assert [line for line in lines if "audit.log" not in line] == []
    assert not [line for line in lines if "value" in line.split()[1]]


def test_base64_of_the_canary_would_be_found(leger_machine: Machine) -> None:
    """The search itself can fail: a planted value is found in each spelling."""
    text = canary()
    for offset in range(3):
        planted = base64.b64encode(b"x" * offset + text.encode() + b"yy")
        leger_machine.push(planted, f"/var/tmp/planted-{offset}")
    leger_machine.push(text.encode("utf-16-le"), "/var/tmp/planted-wide")
    leger_machine.push(text.encode().hex(), "/var/tmp/planted-hex")
    found = search(leger_machine, {"planted": text})
    for spelling in ("base64+0", "base64+1", "base64+2", "utf-16le", "hex"):
        assert f" planted {spelling}\n" in found, spelling
