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
ROUNDS = 15
GENERATOR = "/usr/lib/systemd/system-generators/leger-generator"
TIMER = r"""
import json, os, shutil, subprocess, sys, time
out, rounds, leger, quadlet = "/dev/shm/out", int(sys.argv[1]), sys.argv[2], sys.argv[3]
def once(environ, *command):
    shutil.rmtree(out, ignore_errors=True)
    os.mkdir(out)
    began = time.perf_counter()
    subprocess.run([*command, out, out, out], check=True, env={"PATH": "/usr/bin", **environ})
    return (time.perf_counter() - began) * 1000
store = {"QUADLET_UNIT_DIRS": "/var/lib/leger/store/app-1"}
times = [(once(store, quadlet, "-no-kmsg-log"), once({}, leger)) for _ in range(rounds)]
files = sum(len(names) for _, _, names in os.walk(out))
print(json.dumps({"quadlet": min(a for a, _ in times), "leger": min(b for _, b in times),
                  "files": files}))
"""


def figures() -> Iterator[Figure]:
    """Whole processes, the best of some rounds in turn, which other work disturbs least.

    Each unit has the link that starts it; with secrets, a drop-in besides.
    """
    with Machine.boot("forky", installed=True) as machine:
        for count in (10, 100, 1000):
            quadlet, leger = _measure(machine, count, files=2)
            note = f"podman's own: {quadlet:.1f} ms"
            limit = 25.0 if count == 10 else None
            yield Figure(GROUP, f"{count} units", leger, limit=limit, note=note)
        share = leger / quadlet
        yield Figure(GROUP, "1000 units, share of podman's own", share, "", limit=0.25, note=note)
        _, leger = _measure(machine, 1000, files=3)
        yield Figure(GROUP, "1000 units, each with secrets", leger, note="podman's own: no drop-in")


def _measure(machine: Machine, count: int, files: int) -> tuple[float, float]:
    """Milliseconds of podman's generator and of Leger's, which writes `files` files a unit."""
    names = [f"u{number}" for number in range(count)]
    machine.run("rm", "-rf", "/var/lib/leger/store/app-1")
    hooks = {f"{name}.service": ["db=web/db"] for name in names} if files == 3 else {}
    _push(machine, Plan({f"{name}.container": _quadlet(name) for name in names}, hooks=hooks))
    machine.push(TIMER, "/srv/timer.py")
    command = ("python3", "/srv/timer.py", str(ROUNDS), GENERATOR, QUADLET)
    found = json.loads(machine.run(*command, timeout=300).stdout)
    assert found["files"] == files * count, f"{found['files']} files for {count} units"
    return found["quadlet"], found["leger"]


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
