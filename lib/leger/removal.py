"""What is left when units are gone: what is Leger's goes, what is the user's stays and is named."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace

from leger import adoption, images, podman, recall, remembered, rotation
from leger.backup import kept, what
from leger.errors import LegerError
from leger.model import Built, Compiled
from leger.scope import Scope


def unbound(old: Compiled, new: Compiled) -> tuple[str, ...]:
    """The Podman secrets that a deployment of `old` bound and none of `new` does."""
    return tuple(sorted(set(_bound(old)) - set(_bound(new))))


def unused(scope: Scope, compiled: Compiled | None) -> list[str]:
    """The Podman secrets that Leger made and that neither a deployment binds nor a unit has."""
    kept = {*(_bound(compiled) if compiled else ()), *rotation.held(scope)}
    return [name for name in podman.own_secrets() if name not in kept]


def unbuilt(old: Compiled, new: Compiled) -> tuple[str, ...]:
    """The images that a .build of `old` named and none of `new` does."""
    return tuple(sorted(set(_built(old)) - set(_built(new))))


def tidy(secrets: Iterable[str], images: Iterable[str]) -> None:
    """Remove those of `secrets` that Leger made, and those of `images` that nothing uses."""
    podman.remove_secrets(podman.own_secrets(secrets))
    for image in images:
        podman.remove_image(image)


def leave(scope: Scope, gone: Built, others: Compiled, units: Collection[str]) -> tuple[str, ...]:
    """Remove what was fetched for a deployment that is gone; what of it is left.

    `units` are the names of all units that are gone, instances included.
    """
    remove_mirror(scope, gone)
    remembered.forget(scope, gone.name)
    recall.forget(scope)
    all_of_it = replace(others, deployments={**others.deployments, gone.name: gone})
    volumes = what.volumes(scope, all_of_it, gone.name, units)
    there = podman.volumes() if volumes else {}
    left = [f"volume {name}" for name in volumes if name in there]
    left += [
        f"image {name}"
        for unit in gone.units.values()
        for name in images.built_images(unit)
        if podman.has_image(name)
    ]
    data = scope.data / gone.name
    if data.is_dir() and not any(data.iterdir()):
        data.rmdir()
    elif data.is_dir():
        left.append(f"data {data}")
    if kept.ids(scope, gone.name):
        left.append(f"backups {kept.folder(scope, gone.name)}")
    sources = {unit.source.rpartition("/")[2] for unit in gone.units.values()}
    adopted = sorted(adoption.kept(scope, "/").rglob("*"))
    left += [f"adopted {path}" for path in adopted if path.is_file() and path.name in sources]
    return tuple(left)


def _bound(compiled: Compiled) -> Iterator[str]:
    for built in compiled.deployments.values():
        for binding in built.bindings:
            yield binding.podman.partition("/")[0]


def _built(compiled: Compiled) -> Iterator[str]:
    for built in compiled.deployments.values():
        for unit in built.units.values():
            yield from images.built_images(unit)


def remove_mirror(scope: Scope, gone: Built) -> None:
    """The mirror goes, with what was accepted of the remote, if nobody else needs it."""
    from leger import followers
    from leger.deployment import Deployment
    from leger.mirror import Mirror

    with contextlib.suppress(LegerError):
        mirror = Mirror.of(scope, Deployment(name=gone.name, source=gone.source))
        mirror.release(gone.name)
        if not followers.of(scope, mirror, gone.name):
            mirror.remove()
