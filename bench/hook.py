"""The hook against `podman secret create`, in one test machine with a real legerd."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

from bench.figures import Figure

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from machine import Machine

GROUP = "hook"
HOOK = "/usr/libexec/leger/secrets-hook"
ROUNDS = 15
TIMER = r"""
import json, subprocess, sys, time
hook, rounds = sys.argv[1], int(sys.argv[2])
def run(*command, data=b""):
    subprocess.run(command, input=data, check=True, stdout=subprocess.DEVNULL)
def timed(call):
    began = time.perf_counter()
    call()
    return (time.perf_counter() - began) * 1000
def remove():
    names = subprocess.run(["podman", "secret", "ls", "-q"], capture_output=True).stdout.split()
    if names:
        run("podman", "secret", "rm", *names)
def create():
    for number in range(50):
        run("podman", "secret", "create", f"s{number}", "-", data=b"value %d" % number)
for number in range(50):
    run("leger", "secrets", "set", f"bench/{number}", "-", data=b"value %d" % number)
words = [f"s{number}=bench/{number}" for number in range(50)]
run("systemctl", "start", "podman.socket")
new, made, one = [], [], []
for _ in range(5):
    remove()
    run("systemctl", "stop", "podman.service")
    new.append(timed(lambda: run(hook, *words)))
    remove()
    made.append(timed(create))
remove()
run(hook, *words)
inspect = ["podman", "secret", "inspect", "--showsecret", *(f"s{n}" for n in range(5))]
five, fifty, podman = [], [], []
for _ in range(rounds):
    five.append(timed(lambda: run(hook, *words[:5])))
    fifty.append(timed(lambda: run(hook, *words)))
    podman.append(timed(lambda: run(*inspect)))
named = {"five": five, "fifty": fifty, "podman": podman, "new": new, "made": made}
print(json.dumps({name: min(times) for name, times in named.items()}))
"""


def figures() -> Iterator[Figure]:
    """Whole processes, the best of some rounds; the start of podman.service counts for new ones."""
    with Machine.boot("forky", installed=True) as machine:
        machine.push(TIMER, "/srv/timer.py")
        found = json.loads(
            machine.run(
                "python3", "/srv/timer.py", HOOK, str(ROUNDS), timeout=300
            ).stdout.splitlines()[-1]
        )
    podman = f"`podman secret inspect` alone: {found['podman']:.0f} ms"
    yield Figure(GROUP, "5 secrets, unchanged", found["five"], limit=80.0, note=podman)
    yield Figure(GROUP, "50 secrets, unchanged", found["fifty"], note=podman)
    create = f"50 calls of `podman secret create`: {found['made']:.0f} ms"
    yield Figure(GROUP, "50 new secrets", found["new"], note=create)
    share = found["new"] / found["made"]
    yield Figure(GROUP, "50 new secrets, share of podman", share, "", limit=0.25, note=create)
