"""A small application in a Git repository inside a machine, in two versions to switch between."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from machine import Machine

IMAGE = "localhost/hello:1"
REPOSITORY = "/srv/repository"
SECRET = "prod/token"


def container(name: str, version: int, *, secret: bool = False) -> str:
    """A quadlet whose container knows its version by label, environment file and mounted file."""
    lines = [
        "[Unit]",
        f"Description={name} version {version}",
        "[Container]",
        f"Image={IMAGE}",
        f"ContainerName={name}",
        "Network=inner.network",
        f"Label=version={version}",
        "EnvironmentFile=./settings.env",
        "Volume=./app.conf:/etc/app.conf:ro",
        "Exec=/bin/sh -c 'trap exit TERM; while :; do sleep 0.2; done'",
        "StopTimeout=2",
    ]
    if secret:
        lines.append("Secret=token,type=mount,target=/run/secrets/token")
    return "\n".join([*lines, "[Install]", "WantedBy=multi-user.target", ""])


def files(version: int) -> dict[str, str]:
    """The tree of `version`: one unit of its own, three that both versions have."""
    own = "delta" if version % 2 == 0 else "gamma"
    return {
        "inner.network": "[Network]\nNetworkName=inner\n",
        "settings.env": f"VERSION={version}\n",
        "app.conf": f"version {version}\n",
        "alpha.container": container("alpha", version, secret=True),
        "beta.container": container("beta", version),
        f"{own}.container": container(own, version),
    }


def commit(machine: Machine, tree: dict[str, str], repository: str = REPOSITORY) -> str:
    """Replace the whole tree of the repository in the machine; the new commit's id."""
    script = [
        f"git init -q -b main {repository} 2>/dev/null || true",
        f"cd {repository}",
        "git config user.name author; git config user.email author@example.com",
        "git rm -rq --ignore-unmatch . >/dev/null 2>&1 || true",
    ]
    for name, text in tree.items():
        script.append(f'mkdir -p "$(dirname {shlex.quote(name)})"')
        script.append(f"printf %s {shlex.quote(text)} >{shlex.quote(name)}")
    script += ["git add -A", "git commit -qm change --allow-empty", "git rev-parse HEAD"]
    return machine.sh("\n".join(script)).stdout.strip()


@dataclass(frozen=True)
class Seen:
    """What runs: for each container its label, its environment, its mounted file."""

    containers: dict[str, tuple[str, str, str]]

    @classmethod
    def at(cls, machine: Machine) -> Seen:
        """Ask podman and the containers themselves."""
        names = machine.run("podman", "ps", "--format", "{{.Names}}").stdout.split()
        return cls({name: _one(machine, name) for name in names})


def _one(machine: Machine, name: str) -> tuple[str, str, str]:
    label = machine.run(
        "podman", "inspect", "--format", '{{index .Config.Labels "version"}}', name
    ).stdout.strip()
    inside = machine.run(
        "podman", "exec", name, "sh", "-c", 'echo "$VERSION"; cat /etc/app.conf'
    ).stdout.split("\n")
    return label, inside[0], inside[1].removeprefix("version ")


def complete(version: int) -> Seen:
    """What is to be seen when `version` runs, whole and alone."""
    three = (str(version),) * 3
    own = "delta" if version % 2 == 0 else "gamma"
    return Seen(dict.fromkeys(("alpha", "beta", own), three))
