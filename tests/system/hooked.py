"""What the tests of the hook in machines share."""

from __future__ import annotations

import time

from machine import Machine
from machine.command import Result
from system.compiled import Plan, container

HOOK = "/usr/libexec/leger/secrets-hook"
STORE = "/var/lib/containers/storage/secrets"
METADATA = f"{STORE}/secrets.json"
VALUES = f"{STORE}/filedriver/secretsdata.json"
READS = "trap 'exit 0' TERM; cat /run/secrets/db >/out/seen; while :; do sleep 0.1; done"


def put(machine: Machine, name: str, value: str | bytes, *, user: str = "") -> None:
    machine.run("leger", "secrets", "set", name, "-", input=value, user=user)


def hook(machine: Machine, *words: str, user: str = "", check: bool = True) -> Result:
    return machine.run(HOOK, *words, user=user, check=check)


def held(machine: Machine, name: str, *, user: str = "") -> str:
    return machine.run(
        "podman",
        "secret",
        "inspect",
        "--showsecret",
        "--format",
        "{{.SecretData}}",
        name,
        user=user,
    ).stdout.rstrip("\n")


def names(machine: Machine) -> list[str]:
    return sorted(machine.run("podman", "secret", "ls", "--format", "{{.Name}}").stdout.split())


def db_plan(*lines: str, words: str = "db=web/db") -> Plan:
    """A container that writes the secret it was given to /srv/out/seen."""
    quadlet = container("Secret=db", "Volume=/srv/out:/out", *lines, command=READS)
    return Plan(quadlets={"web.container": quadlet}, hooks={"web.service": words.split()})


def seen(machine: Machine) -> str:
    """What the container read; it writes that right after its start."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        found = machine.sh("cat /srv/out/seen 2>/dev/null", check=False)
        if found.code == 0 and found.stdout:
            return found.stdout
        time.sleep(0.1)
    raise AssertionError("the container wrote nothing")


def status(machine: Machine, unit: str = "web.service") -> str:
    return machine.run("systemctl", "status", "--no-pager", unit, check=False).stdout
