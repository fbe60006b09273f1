"""Power cuts under the writers of legerd: what it acknowledged is there afterwards."""

from __future__ import annotations

import contextlib
import random
import threading
import time

import pytest
from machine import Machine

POINTS = 25
SAMPLE = 4

pytestmark = pytest.mark.machine

WRITER = r"""
import base64, http.client, json, socket, sys
who, start = sys.argv[1], int(sys.argv[2])
class Connection(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect("/run/legerd/root.sock")
connection = Connection("localhost")
headers = {"Content-Type": "application/json", "Sec-X-Tailscale-No-Browsers": "setec"}
def call(method, **body):
    connection.request("POST", "/api/" + method, json.dumps(body), headers)
    answer = connection.getresponse()
    return answer.status, answer.read()
for number in range(start, start + 100000):
    name = f"cut/{who}/{number}"
    value = base64.b64encode(f"value of {name}".encode()).decode()
    for method, body in (("put", {"Name": name, "Value": value}), ("get", {"Name": name})):
        status, _ = call(method, **body)
        if status == 200:
            sys.stdout.write(f"{method} {name}\n")
            sys.stdout.flush()
"""

CHECKER = r"""
import json, sys, base64
exec(open("/root/writer.py").read().split("for number in")[0])
wanted = sys.stdin.read().split("\n")
audit = set()
for line in open("/var/lib/legerd/audit.log"):
    entry = json.loads(line)
    audit.add((entry["action"], entry.get("secret", "")))
for line in filter(None, wanted):
    method, name = line.split(" ")
    if (method, name) not in audit:
        print("no audit line:", line)
    status, body = call("get", Name=name)
    value = base64.b64decode(json.loads(body)["Value"]).decode() if status == 200 else ""
    if value != f"value of {name}":
        print("lost:", line, status)
"""


@pytest.mark.timeout(1800)
def test_what_legerd_acknowledged_survives_a_cut(
    leger_machine: Machine, rng: random.Random, soak: bool
) -> None:
    leger_machine.push(WRITER, "/root/writer.py")
    leger_machine.push(CHECKER, "/root/checker.py")
    leger_machine.sync()
    for series in range(POINTS if soak else SAMPLE):
        notes = _write_until_cut(leger_machine, series, rng.uniform(0, 3))
        assert notes, "no call was acknowledged before the cut"
        leger_machine.start()
        checked = leger_machine.run(
            "python3", "/root/checker.py", "x", "0", input="\n".join(notes), timeout=300
        )
        assert checked.stdout == ""


def _write_until_cut(machine: Machine, series: int, seconds: float) -> list[str]:
    """Four clients write until the power goes; what they were told, as the host noted it."""
    notes: list[str] = []
    with contextlib.ExitStack() as stack:
        clients = [
            stack.enter_context(
                machine.spawn("python3", "/root/writer.py", f"{series}-{client}", "0")
            )
            for client in range(4)
        ]
        readers = [threading.Thread(target=_note, args=(one.stdout, notes)) for one in clients]
        for reader in readers:
            reader.start()
        end = time.monotonic() + 60
        while not notes and time.monotonic() < end:
            time.sleep(0.01)
        time.sleep(seconds)
        machine.cut()
        for reader in readers:
            reader.join(30)
    return notes


def _note(pipe: object, notes: list[str]) -> None:
    """Take whole lines only: what the cut tore in half was not told."""
    rest = b""
    while data := pipe.read(65536):  # type: ignore[attr-defined]
        *lines, rest = (rest + data).split(b"\n")
        notes.extend(line.decode() for line in lines)
