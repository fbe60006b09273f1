"""What is left when a deployment's units are gone: what is Leger's goes, the user's stays."""

from __future__ import annotations

import shutil

from leger import adoption, podman
from leger.model import Built, Compiled
from leger.scope import Scope


def clean(scope: Scope, gone: Built, others: Compiled) -> tuple[str, ...]:
    """Remove the secrets, built images and mirror of `gone`; says what is left and whose it is."""
    used = {
        binding.podman.partition("/")[0]
        for built in others.deployments.values()
        for binding in built.bindings
    }
    ours = {binding.podman.partition("/")[0] for binding in gone.bindings} - used
    podman.remove_secrets(podman.own_secrets(ours))
    left = [f"volume {unit.resource}" for unit in gone.units.values() if unit.kind == "volume"]
    for unit in gone.units.values():
        if unit.kind == "build" and (refused := podman.remove_image(unit.resource)):
            left.append(f"image {unit.resource} ({refused})")
    data = scope.data / gone.name
    if data.is_dir():
        try:
            data.rmdir()
        except OSError:
            left.append(f"data {data}")
    adopted = adoption.kept(scope, "/")
    left += [f"adopted {path}" for path in sorted(adopted.rglob("*")) if path.is_file()]
    _remove_mirror(scope, gone, others)
    return tuple(left)


def _remove_mirror(scope: Scope, gone: Built, others: Compiled) -> None:
    """The mirror goes unless another deployment has the same source."""
    from leger.deployment import Deployment
    from leger.git import Mirror

    if any(built.source == gone.source for built in others.deployments.values()):
        return
    mirror = Mirror.of(scope, Deployment(name=gone.name, source=gone.source)).path
    shutil.rmtree(mirror, ignore_errors=True)
    mirror.with_suffix(".lock").unlink(missing_ok=True)
