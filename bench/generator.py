"""The generator against podman's own, on the same quadlets, into a tmpfs of a test machine."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

from bench.figures import Figure

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from machine import Machine
from system.compiled import QUADLET, Plan, container, write

GROUP = "generator"
ROUNDS = 9
GENERATOR = "/usr/lib/systemd/system-generators/leger-generator"
TIMER = r"""
import json, os, shutil, statistics, subprocess, sys, time
out, rounds = "/dev/shm/out", int(sys.argv[1])
def median(environ, *command):
    times = []
    for _ in range(rounds):
        shutil.rmtree(out, ignore_errors=True)
        os.mkdir(out)
        began = time.perf_counter()
        subprocess.run([*command, out, out, out], check=True, env={"PATH": "/usr/bin", **environ})
        times.append((time.perf_counter() - began) * 1000)
    return statistics.median(times), sum(len(names) for _, _, names in os.walk(out))
store = {"QUADLET_UNIT_DIRS": "/var/lib/leger/store/app-1"}
quadlet = median(store, sys.argv[3], "-no-kmsg-log")
leger = median({}, sys.argv[2])
print(json.dumps({"quadlet": quadlet, "leger": leger}))
"""


def figures() -> Iterator[Figure]:
    """Whole processes, medians: 10, 100 and 1000 units, each with a link and a drop-in."""
    with Machine.boot("forky", installed=True) as machine:
        for count in (10, 100, 1000):
            yield from _measure(machine, count)


def _measure(machine: Machine, count: int) -> Iterator[Figure]:
    names = [f"u{number}" for number in range(count)]
    machine.run("rm", "-rf", "/var/lib/leger/store/app-1")
    plan = Plan(
        quadlets={f"{name}.container": _quadlet(name) for name in names},
        hooks={f"{name}.service": ["db=web/db"] for name in names},
    )
    _push(machine, plan)
    machine.push(TIMER, "/srv/timer.py")
    timed = machine.run(
        "python3", "/srv/timer.py", str(ROUNDS), GENERATOR, QUADLET, timeout=300
    ).stdout
    found = json.loads(timed)
    (quadlet, _), (leger, files) = found["quadlet"], found["leger"]
    assert files == 3 * count, f"{files} files for {count} units"
    note = f"podman's own: {quadlet:.1f} ms, without the drop-ins"
    yield Figure(GROUP, f"{count} units", leger, limit=25.0 if count == 10 else None, note=note)
    if count == 1000:
        ratio = leger / quadlet
        yield Figure(GROUP, "1000 units, share of podman's own", ratio, "", limit=0.25, note=note)


def _quadlet(name: str) -> str:
    """About what people write: thirty lines."""
    lines = ["Secret=db", "Volume=/srv/data:/data:Z", "PublishPort=8080:80", "UserNS=auto"]
    lines += [f"Environment=KEY{number}=value{number}" for number in range(6)]
    lines += [f"Label=label{number}=value{number}" for number in range(6)]
    lines += ["HealthCmd=true", "HealthInterval=30s", "DropCapability=all", "ReadOnly=true"]
    lines += ["Tmpfs=/tmp", "AutoUpdate=registry", "[Service]", "Restart=always"]
    return container(*lines, name=name)


def _push(machine: Machine, plan: Plan) -> None:
    """All quadlets by one command, then units.json as `write` makes it."""
    script = "import json, os, sys\nos.makedirs('/var/lib/leger/store/app-1')\n"
    script += "for name, text in json.load(sys.stdin).items():\n"
    script += "    open(f'/var/lib/leger/store/app-1/{name}', 'w').write(text)\n"
    machine.run("python3", "-c", script, input=json.dumps(dict(plan.quadlets)))
    write(machine, plan, pushed=True)
