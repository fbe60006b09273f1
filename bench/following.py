"""Following a repository with 1,000 quadlets, in a test machine: sync, apply, the first deploy.

Beside each figure stands what nobody can do without: `git ls-remote`, one run of the quadlet
generator, one daemon-reload, one restart of the unit. The containers are not started, but for the
one that is changed; the quiet time after a start is set to none.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

from bench.figures import Figure

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from machine import Machine

GROUP = "following"
COUNT = 1000
DEPLOYMENTS, EACH = 200, 5
TIMER = r"""
import json, os, pathlib, resource, shutil, subprocess, sys, time
count, deployments, each = map(int, sys.argv[1:4])
QUADLET = "/usr/libexec/podman/quadlet"
def run(*command, **options):
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                   **options)
def timed(*command, **options):
    began = time.perf_counter()
    run(*command, **options)
    return (time.perf_counter() - began) * 1000
def best(*command, rounds=7):
    return min(timed(*command) for _ in range(rounds))
def commit(folder):
    run("git", "-C", folder, "add", "-A")
    run("git", "-C", folder, "commit", "-qm", "change")
def quadlet(name, version=1):
    lines = ["[Container]", "Image=localhost/hello:1", f"ContainerName={name}",
             "Exec=/bin/sh -c 'trap exit TERM; while :; do sleep 0.2; done'", "StopTimeout=2",
             f"Label=version={version}"]
    lines += [f"Environment=KEY{number}=value{number}" for number in range(6)]
    lines += ["HealthCmd=true", "DropCapability=all", "ReadOnly=true"]
    return "\n".join([*lines, ""])
def fill(folder, names):
    for name in names:
        path = pathlib.Path(folder, f"{name}.container")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(quadlet(path.stem))
def generator(trees):
    out = "/dev/shm/out"
    times = []
    for _ in range(3):
        shutil.rmtree(out, ignore_errors=True)
        os.mkdir(out)
        environ = {**os.environ, "QUADLET_UNIT_DIRS": ":".join(map(str, trees))}
        times.append(timed(QUADLET, "-no-kmsg-log", out, out, out, env=environ))
    return min(times)
def trees(pattern):
    return sorted(pathlib.Path("/var/lib/leger/store").glob(pattern))
def inside(*command):
    return timed(*command, env={**os.environ, "LEGER_INSIDE": "1"})
found = {}
for folder in ("/srv/big", "/srv/many"):
    run("git", "init", "-q", "-b", "main", folder)
    run("git", "-C", folder, "config", "user.name", "bench")
    run("git", "-C", folder, "config", "user.email", "bench@example.com")
fill("/srv/big", [f"u{number}" for number in range(count)])
pathlib.Path("/srv/big/.leger.yaml").write_text("health: {quiet: 0s}\n")
commit("/srv/big")
found["first"] = inside("leger", "deploy", "install", "big", "/srv/big")
found["peak"] = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
found["generator"] = generator(trees("big-*"))
found["reload"] = best("systemctl", "daemon-reload", rounds=3)
found["remote"] = best("git", "ls-remote", "/srv/big", "HEAD")
found["sync"] = best("leger", "sync")
found["help"] = best("leger", "--help")
found["status"] = best("leger", "status")
run("systemctl", "start", "u7.service")
applied, restarted = [], []
for version in range(2, 9):
    pathlib.Path("/srv/big/u7.container").write_text(quadlet("u7", version))
    commit("/srv/big")
    run("leger", "plan")
    applied.append(timed("leger", "apply"))
    restarted.append(timed("systemctl", "restart", "u7.service"))
found["apply"], found["restart"] = min(applied), min(restarted)
run("systemctl", "stop", "u7.service")
run("leger", "deploy", "remove", "big", "--yes")
for number in range(deployments):
    fill("/srv/many", [f"d{number}/d{number}-{one}" for one in range(each)])
commit("/srv/many")
os.makedirs("/etc/leger/deployments.d", exist_ok=True)
for number in range(deployments):
    pathlib.Path(f"/etc/leger/deployments.d/d{number}.yaml").write_text(
        f"source: /srv/many\npath: d{number}\n")
found["first-many"] = inside("leger", "sync")
found["generator-many"] = generator(trees("d*-*"))
found["sync-many"] = best("leger", "sync", rounds=3)
found["status-many"] = best("leger", "status", rounds=3)
print(json.dumps(found))
"""


def figures() -> Iterator[Figure]:
    """Whole processes, the best of some rounds; the first deploy once."""
    with Machine.boot("forky", installed=True) as machine:
        machine.import_image("localhost/hello:1")
        machine.push(TIMER, "/srv/timer.py")
        command = ("python3", "/srv/timer.py", str(COUNT), str(DEPLOYMENTS), str(EACH))
        found = json.loads(machine.run(*command, timeout=1800).stdout.splitlines()[-1])
    remote = f"git ls-remote alone {found['remote']:.0f} ms"
    limit = found["remote"] + 150
    yield Figure(
        GROUP, f"sync, nothing new, {COUNT} quadlets", found["sync"], "ms", limit, note=remote
    )
    parts = found["generator"] + found["reload"] + found["restart"]
    note = f"generator, reload and restart alone {parts:.0f} ms"
    yield Figure(GROUP, f"apply, one of {COUNT} changed", found["apply"], note=note)
    yield Figure(GROUP, "apply, share of that", found["apply"] / parts, "ratio", 1.5, note=note)
    note = f"generator and reload alone {found['generator'] + found['reload']:.0f} ms"
    yield Figure(GROUP, f"first deploy of {COUNT} quadlets", found["first"], note=note)
    yield Figure(GROUP, "first deploy, peak memory", found["peak"], "MiB", 200)
    what = f"{DEPLOYMENTS} deployments of {EACH}"
    note = f"generator alone {found['generator-many']:.0f} ms"
    yield Figure(GROUP, f"first sync of {what}", found["first-many"], note=note)
    yield Figure(GROUP, f"sync, nothing new, {what}", found["sync-many"], note=remote)
    yield Figure(GROUP, f"status, {what}", found["status-many"])
    yield Figure(GROUP, f"status, {COUNT} quadlets", found["status"], limit=150)
    yield Figure(GROUP, "leger --help", found["help"], limit=150)
