"""legerd on the tailnet: another node is served, whatever runs on this one is nobody there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from machine import Machine

NODE, OTHER, PORT = "100.64.0.7", "100.64.0.9", "8080"
FAKE = Path(__file__).resolve().parents[1] / "legerd/tailscaled.py"
RUN_FAKE = f"""
import sys, threading
from pathlib import Path
sys.path.insert(0, "/srv")
import tailscaled
Path("/run/tailscaled.sock").unlink(missing_ok=True)
server = tailscaled.Tailscaled(Path("/run/tailscaled.sock"))
Path("/run/tailscaled.sock").chmod(0o666)
server.known = "{OTHER}:"
server.state = tailscaled.status("{NODE}")
server.serve_forever()
"""
CALL = """
import http.client, sys
connection = http.client.HTTPConnection(sys.argv[1], 8080, timeout=10)
headers = {"Content-Type": "application/json", "Sec-X-Tailscale-No-Browsers": "setec"}
headers.update(dict(argument.split("=") for argument in sys.argv[2:]))
try:
    connection.request("POST", "/api/list", "{}", headers)
    answer = connection.getresponse()
    print(answer.status, answer.read().decode().strip())
except OSError as error:
    print(type(error).__name__)
"""
NETWORK = f"""
ip link add tail0 type veth peer name peer0
ip netns add other
ip link set peer0 netns other
ip addr add {NODE}/10 dev tail0
ip link set tail0 up
ip netns exec other ip addr add {OTHER}/10 dev peer0
ip netns exec other ip link set peer0 up
ip netns exec other ip link set lo up
"""
IMAGE = "localhost/host:1"
NOBODY = "500 unable to identify caller"
LISTENS = (
    f"for i in $(seq 150); do ss -Hltn | grep -q {NODE}:{PORT} && exit; sleep 0.1; done; false"
)
GONE = LISTENS.replace("&& exit", "|| exit 0")
MAKE_IMAGE = f"""
mkdir -p /srv/i/{{usr,run,tmp,etc,proc,sys,dev}}; cd /srv/i
for d in bin lib lib64 sbin; do ln -sfn usr/$d $d; done
tar -c . | podman import -q - {IMAGE}
podman save -q {IMAGE} -o /tmp/i.tar; chmod 644 /tmp/i.tar
"""


@pytest.fixture(scope="module")
def node(shared_machine: Machine) -> Machine:
    """A machine that is a node, as far as its tailscaled says, and another node beside it."""
    machine = shared_machine
    machine.push(FAKE, "/srv/tailscaled.py")
    machine.push(CALL, "/srv/call.py")
    machine.push(RUN_FAKE, "/srv/run.py")
    machine.sh(NETWORK)
    machine.run("systemd-run", "--unit=tailscaled", "python3", "/srv/run.py")
    options = f"--tailnet-port {PORT} --tailscaled-socket /run/tailscaled.sock"
    machine.push(f'LEGERD_OPTIONS="{options}"\n', "/etc/default/legerd")
    machine.run("systemctl", "restart", "legerd.service")
    script = (
        f"for i in $(seq 100); do ss -Hltn | grep -q {NODE}:{PORT} && exit; sleep 0.1; done; exit 1"
    )
    machine.sh(script)
    return machine


def other(machine: Machine, *arguments: str, address: str = NODE) -> str:
    command = ("ip", "netns", "exec", "other", "python3", "/srv/call.py", address, *arguments)
    return str(machine.run(*command).stdout).strip()


def test_another_node_is_served_by_its_capabilities(node: Machine) -> None:
    assert other(node) == "200 null"
    line = node.pull("/var/lib/legerd/audit.log").decode().splitlines()[-1]
    assert f'"ip":"{OTHER}","user":"user@example.com"' in line


def test_a_foreign_host_or_a_forged_header_is_refused(node: Machine) -> None:
    assert other(node, "Host=evil.example") == "403 access denied"
    assert other(node, "Host=box1") == "200 null"
    assert other(node, f"X-Forwarded-For={NODE}") == "200 null"
    line = node.pull("/var/lib/legerd/audit.log").decode().splitlines()[-1]
    assert f'"ip":"{OTHER}"' in line
    assert NODE not in line
    assert other(
        node, "Sec-X-Tailscale-No-Browsers=x", "Sec_X_Tailscale_No_Browsers=setec"
    ).startswith("403")


def test_another_node_may_read_metrics_and_the_page_by_its_capabilities(node: Machine) -> None:
    reading = (
        "import http.client, sys; c = http.client.HTTPConnection(sys.argv[1], 8080, timeout=10)"
    )
    node.push(f"{reading}; c.request('GET', sys.argv[2]); r = c.getresponse();"
              " print(r.status, r.read().decode())", "/srv/read.py")  # fmt: skip
    for path, wanted in (("/metrics", "legerd_secrets 0"), ("/debug/vars", "setec_server"),
                         ("/", "There is no secret that")):  # fmt: skip
        command = ("ip", "netns", "exec", "other", "python3", "/srv/read.py", NODE, path)
        told = str(node.run(*command).stdout)
        assert told.startswith("200 ")
        assert wanted in told
        here = str(node.run("python3", "/srv/read.py", NODE, path).stdout)
        assert here.startswith(NOBODY)


def test_this_host_is_nobody_at_its_own_address(node: Machine) -> None:
    here = str(node.run("python3", "/srv/call.py", NODE).stdout).strip()
    assert here == "500 unable to identify caller"
    shown = str(node.run("ip", "-o", "addr").stdout)
    elsewhere = set(re.findall(r"inet6? ([0-9a-f.:]+)/", shown)) - {NODE}
    assert elsewhere >= {"127.0.0.1"}
    for address in (*elsewhere, "localhost"):
        if not address.startswith("fe80"):
            told = str(node.run("python3", "/srv/call.py", address).stdout)
            assert "ConnectionRefusedError" in told, address
    listening = str(node.run("ss", "-Hltnp", f"sport = :{PORT}").stdout)
    assert listening.count("LISTEN") == 1


PASTA = "pasta:-a,10.99.0.2,-n,24,-g,10.99.0.1"  # by itself it takes the node's own address


@pytest.mark.parametrize(
    ("network", "wanted"),
    [("host", NOBODY), ("bridge", "TimeoutError"), (PASTA, NOBODY)],
    ids=["host", "bridge", "pasta"],
)
def test_a_container_of_this_host_is_nobody(node: Machine, network: str, wanted: str) -> None:
    """From a bridge the packets do not pass the service's IPAddressDeny= at all."""
    node.sh(f"[ -e /tmp/i.tar ] || {{ {MAKE_IMAGE} }}", timeout=120)
    run = ["podman", "run", "--rm", f"--network={network}", "-v", "/usr:/usr:ro"]
    ask = [*run, "-v", "/srv/call.py:/call.py:ro", IMAGE, "python3", "/call.py", NODE]
    user = "bob" if network == PASTA else ""
    if user:
        node.add_user(user)
        node.run("podman", "load", "-qi", "/tmp/i.tar", user=user, timeout=120)
    assert str(node.run(*ask, user=user, timeout=60).stdout).strip() == wanted


def test_it_follows_a_logout(node: Machine) -> None:
    node.run("systemctl", "stop", "tailscaled.service")
    node.sh(GONE)
    assert other(node) == "ConnectionRefusedError"
