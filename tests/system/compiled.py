"""Units in a machine without the compile: its own quadlet's output, put into units.json by hand.

So the generator and the hook are tested on their own; settling is masked, since there are no
generations behind this units.json.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from machine import Machine

QUADLET = "/usr/libexec/podman/quadlet"
COMPILER = r"""
import json, os, shutil, subprocess, sys
sys.path.insert(0, "/usr/lib/leger")
from leger_generator.dropin import hook_dropin, path_of
from leger_generator.identity import quadlet_identity
from leger_generator.plan import File, Plan, encode

job = json.load(sys.stdin)
out = "/tmp/compiled"
shutil.rmtree(out, ignore_errors=True)
os.mkdir(out)
user = ["-user"] if job["scope"] == "user" else []
stores = [job["store"]] if job["store"] else []
if stores:
    subprocess.run([job["quadlet"], *user, "-no-kmsg-log", out, out, out], check=True,
                   env={**os.environ, "QUADLET_UNIT_DIRS": ":".join(stores)})
files, links = {}, {}
for parent, _, names in os.walk(out):
    for name in names:
        path = os.path.relpath(f"{parent}/{name}", out)
        if os.path.islink(f"{parent}/{name}"):
            links[path] = os.readlink(f"{parent}/{name}")
        else:
            files[path] = File(open(f"{parent}/{name}").read(), "app")
for path, text in job["units"].items():
    files[path] = File(text, "app")
links.update(job["links"])
for unit, hook in job["hooks"].items():
    files[path_of(unit)] = File(hook_dropin(files[unit].text, hook, job["scope"]), "app", hook)
plan = Plan(job["generation"], job["scope"], quadlet=quadlet_identity(job["quadlet"]),
            deployments={"app": {"store": job["store"] or "/nonexistent", "commit": "c"}},
            files=files, links=links)
os.makedirs(os.path.dirname(job["target"]), exist_ok=True)
with open(job["target"], "wb") as file:
    file.write(encode(plan))
    file.flush()
    os.fsync(file.fileno())
"""


@dataclass
class Plan:
    """What is to be in units.json: quadlets (in a tree of the store), plain units, links, hooks."""

    quadlets: Mapping[str, str] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)
    hooks: Mapping[str, list[str]] = field(default_factory=dict)
    generation: int = 1
    tree: str = "app-1"
    quadlet: str = QUADLET


def write(machine: Machine, plan: Plan, *, user: str = "", pushed: bool = False) -> None:
    """Compile `plan` in the machine, to /etc/leger/units.json or to the user's.

    `pushed` says that its quadlets are in the machine's store already.
    """
    base = f"/home/{user}/.local/state/leger" if user else "/var/lib/leger"
    etc = f"/home/{user}/.config/leger" if user else "/etc/leger"
    store = f"{base}/store/{plan.tree}"
    for path, text in () if pushed else plan.quadlets.items():
        machine.push(text, f"{store}/{path}")
    if user:
        machine.run("chown", "-R", user, f"/home/{user}")
    job = {
        "scope": "user" if user else "system",
        "store": store if plan.quadlets else "",
        "target": f"{etc}/units.json",
        "quadlet": plan.quadlet,
        "generation": plan.generation,
        "units": dict(plan.units),
        "links": dict(plan.links),
        "hooks": dict(plan.hooks),
    }
    machine.push(COMPILER, "/srv/compile.py")
    machine.run("python3", "/srv/compile.py", input=json.dumps(job), user=user)
    machine.run("rm", "-rf", "/tmp/compiled")
    machine.run("systemctl", "mask", "--quiet", "leger-settle.service")


def reload(machine: Machine) -> None:
    """daemon-reload, as after a switch."""
    machine.run("systemctl", "daemon-reload")


def start(machine: Machine, plan: Plan, *units: str) -> None:
    """Write `plan`, reload, start `units`."""
    write(machine, plan)
    reload(machine)
    if units:
        machine.run("systemctl", "start", *units, timeout=90)


def show(machine: Machine, unit: str, *properties: str) -> dict[str, str]:
    """Properties of a unit by name."""
    names = ",".join(properties)
    lines = machine.run("systemctl", "show", "-p", names, unit).stdout.splitlines()
    return dict(line.split("=", 1) for line in lines)


def note(machine: Machine) -> dict[str, object]:
    """What the generator noted last."""
    return dict(json.loads(machine.pull("/run/leger/emitted.json")))


def container(*lines: str, name: str = "web", command: str = "") -> str:
    """A quadlet of a container that runs until it is stopped."""
    command = command or "trap 'exit 0' TERM; while :; do sleep 0.1; done"
    return "\n".join(
        [
            "[Container]",
            "Image=localhost/hello:1",
            f"ContainerName={name}",
            f'Exec=/bin/sh -c "{command}"',
            "StopTimeout=2",
            *lines,
            "[Install]",
            "WantedBy=multi-user.target",
            "",
        ]
    )
