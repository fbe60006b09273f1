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

ROOT, USERS = "/run/legerd/root.sock", "/run/legerd/users.sock"
WRITER = r"""
import base64, http.client, json, socket, sys
who, start, path = sys.argv[1], int(sys.argv[2]), sys.argv[3]
class Connection(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(path)
connection = Connection("localhost")
headers = {"Content-Type": "application/json", "Sec-X-Tailscale-No-Browsers": "setec"}
def call(method, **body):
    connection.request("POST", "/api/" + method, json.dumps(body), headers)
    answer = connection.getresponse()
    return answer.status, answer.read()
for number in range(start, start + 100000):
    name = f"cut/{who}/{number}"
    value = base64.b64encode(f"value of {name}".encode()).decode()
    put, named = {"Name": name, "Value": value}, {"Name": name}
    for method, body in (("put", put), ("get", named), ("info", named), ("list", {})):
        status, _ = call(method, **body)
        sys.stdout.write(f"{method} {name if body else '-'} {status}\n")
        sys.stdout.flush()
"""

CHECKER = r"""
import base64, collections, json, sys
exec(open("/srv/writer.py").read().split("for number in")[0])
wanted = sys.stdin.read().split("\n")
audit = collections.Counter()
for line in open("/var/lib/legerd/audit.log"):
    entry = json.loads(line)
    action = entry["action"] if "secret" in entry else "list"
    audit[action, entry.get("secret", "-"), entry["authorized"]] += 1
for line in filter(None, wanted):
    method, name, status = line.split(" ")
    place = method, name, status == "200"
    audit[place] -= 1
    if audit[place] < 0:
        print("no audit line:", line)
    if method != "put" or status != "200":
        continue
    status, body = call("get", Name=name)
    value = base64.b64decode(json.loads(body)["Value"]).decode() if status == 200 else ""
    if value != f"value of {name}":
        print("lost:", line, status)
"""


@pytest.mark.timeout(1800)
def test_what_legerd_acknowledged_survives_a_cut(
    leger_machine: Machine, rng: random.Random, soak: bool
) -> None:
    leger_machine.push(WRITER, "/srv/writer.py")
    leger_machine.push(CHECKER, "/root/checker.py")
    leger_machine.sync()
    for series in range(POINTS if soak else SAMPLE):
        notes = _write_until_cut(leger_machine, series, rng.uniform(0, 3))
        assert notes, "no call was acknowledged before the cut"
        leger_machine.start()
        checked = leger_machine.run(
            "python3", "/root/checker.py", "x", "0", ROOT, input="\n".join(notes), timeout=300
        )
        assert checked.stdout == ""


def _write_until_cut(machine: Machine, series: int, seconds: float) -> list[str]:
    """Eight clients write until the power goes, a ninth may not; what the host noted of it."""
    notes: list[str] = []
    with contextlib.ExitStack() as stack:
        clients = [
            stack.enter_context(
                machine.spawn("python3", "/srv/writer.py", f"{series}-{client}", "0", ROOT)
            )
            for client in range(8)
        ]
        denied = ("runuser", "-u", "nobody", "--", "python3", "/srv/writer.py")
        clients.append(stack.enter_context(machine.spawn(*denied, f"{series}-no", "0", USERS)))
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
