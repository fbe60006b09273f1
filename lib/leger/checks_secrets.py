"""Checks of secrets: one value for each Podman secret, and nobody who can pass for the host."""

from __future__ import annotations

import re
from collections.abc import Iterator

from leger import unitfile
from leger.model import Binding, Fault
from leger.world import World


def secrets_of_two_values(world: World) -> Iterator[Fault]:
    """A Podman secret has one value: deployments cannot bind it to two names of legerd."""
    first: dict[str, tuple[str, Binding]] = {}
    for deployment, bindings in sorted(world.bindings.items()):
        for binding in bindings:
            owner, twin = first.setdefault(binding.podman, (deployment, binding))
            if (twin.legerd, twin.version) == (binding.legerd, binding.version):
                continue
            message = (
                f"Podman secret {binding.podman!r} is bound to {binding.legerd!r} and"
                f" by deployment {owner} to {twin.legerd!r}"
            )
            yield Fault(deployment, message, hint="bind both to one name: secrets: {...}")


def secrets_without_cgroups(world: World) -> Iterator[Fault]:
    """Without a cgroup legerd cannot tell a container from the host."""
    with_secrets = {
        unit for bindings in world.bindings.values() for item in bindings for unit in item.units
    }
    risky = {unit.source for unit in world.units if unit.name in with_secrets}
    for source in world.sources:
        if source.path not in risky:
            continue
        for key in ("PodmanArgs", "GlobalArgs", "CgroupsMode"):
            for place in source.named(source.section, key):
                mode = place.setting.value if key == "CgroupsMode" else ""
                if mode == "disabled" or _disables_cgroups(place.setting.value):
                    yield source.fault(place, "a container with secrets needs its cgroup")


def bindings_without_use(world: World) -> Iterator[Fault]:
    """A warning: the host's or the author's file names a secret that no quadlet uses."""
    compiled = {unit.deployment for unit in world.units if unit.kind != "plain"}
    for deployment, item in world.prepared.items():
        if deployment not in compiled:
            continue
        used = [binding.podman for binding in world.bindings.get(deployment, ())]
        for name in dict.fromkeys([*item.deployment.secrets, *item.author.secrets]):
            pattern = re.compile(".*".join(map(re.escape, re.split("%[a-zA-Z]", name))))
            if not any(pattern.fullmatch(podman) for podman in used):
                yield Fault(deployment, f"secret {name!r} is named, but no quadlet uses it")


def _disables_cgroups(value: str) -> bool:
    return "disabled" in unitfile.options(unitfile.words(value), "--cgroups")
