"""What an image's name meant when a generation ran: a name like :latest moves, an id does not.

Each generation records the ids; a tag of Leger's own keeps them from `podman image prune`. Going
back gives the names to the ids that they had.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from leger import changes, generation, podman
from leger.generation import Generation
from leger.model import Compiled
from leger.scope import Scope

KEPT = "localhost/leger-kept"


def named(compiled: Compiled, units: Iterable[str]) -> frozenset[str]:
    """The images that `units` name themselves, and that can mean another one tomorrow."""
    wanted = set(units)
    wanted |= {changes.template_of(name) for name in wanted}
    found = {
        image
        for built in compiled.deployments.values()
        for unit in built.units.values()
        if unit.name in wanted
        for image in (unit.image, *unit.images)
    }
    return frozenset(image for image in found if _is_movable(image))


def as_it_runs(scope: Scope, old: Generation, names: Collection[str]) -> Mapping[str, str]:
    """The ids of `names` in what runs of `old`, which its manifest then records."""
    found = {**old.images, **podman.images_in_use(names)}
    if found != old.images:
        generation.with_images(scope, old.number, found)
    return {name: id_ for name, id_ in found.items() if name in names}


def keep(
    names: Collection[str], known: Mapping[str, str], tags: Mapping[str, str]
) -> dict[str, str]:
    """The ids of `names`, with `tags` given, each kept; those of `known` are already."""
    found = podman.image_ids(names)
    found |= {name: id_ for name, id_ in tags.items() if name in names}
    for id_ in sorted(set(found.values()) - set(known.values())):
        podman.tag(id_, f"{KEPT}:{id_[:16]}")
    return found


def present(tags: Mapping[str, str]) -> dict[str, str]:
    """Those of `tags`, ids by name, whose image is still there."""
    there = podman.image_ids(tags.values())
    return {name: id_ for name, id_ in tags.items() if id_ in there}


def give_back(tags: Mapping[str, str]) -> None:
    """Have each name mean the id again that it meant; an image that is gone is let be."""
    now = podman.image_ids(tags)
    for name, id_ in tags.items():
        if now.get(name) != id_:
            podman.tag(id_, name)


def release(ids: Iterable[str]) -> None:
    """No longer keep these images, which no generation records any more."""
    for id_ in sorted(ids):
        podman.untag(f"{KEPT}:{id_[:16]}")


def _is_movable(image: str) -> bool:
    """Whether it is a name that can be given to another image."""
    made_here = image.endswith((".image", ".build", ".artifact"))
    return bool(image) and not made_here and "%" not in image and "@" not in image
