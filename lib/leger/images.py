"""Images are there before anything is stopped: pulled, or built from the deployment's tree."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from pathlib import Path

from leger import imageids, podman, processes
from leger.errors import LegerError
from leger.model import Unit
from leger.unitfile import UnitFile, words

_SECONDS = 1800.0
_RUN_AHEAD = ("build", "image", "artifact")
Report = Callable[[str], None]


class ImageError(LegerError):
    """An image cannot be had; nothing was stopped."""


def provide(units: Iterable[Unit], report: Report, known: Collection[str] = ()) -> dict[str, str]:
    """Have the image of each of `units`, or raise ImageError naming all that cannot be had.

    A name that a build takes from another image means that one again afterwards: what runs with it
    may be started anew before anybody switches. Returns the ids that such names are to mean then.
    The names `known` get an image by the switch too.
    """
    wanted = list(units)
    built = {name for unit in wanted for name in built_images(unit)}
    named = {name for unit in wanted for name in _named(unit)}.difference(known)
    found = podman.image_ids(built | named)  # all by one call
    faults = []
    try:
        for unit in wanted:
            try:
                if unit.kind in _RUN_AHEAD:
                    report(f"{unit.deployment}: {_doing(unit)}")
                    _run_ahead(unit)
                for image in _named(unit):
                    if image in named:
                        _pull(unit, image, report)
            except ImageError as error:
                faults.append(error)
        made = podman.image_ids(built)
    finally:
        imageids.give_back({name: id_ for name, id_ in found.items() if name in built})
    if faults:
        raise ImageError(
            "\n".join(str(fault) for fault in faults),
            hint=next((fault.hint for fault in faults if fault.hint), ""),
        )
    return made


def built_images(unit: Unit) -> list[str]:
    """The names that a .build gives its image."""
    if unit.kind != "build":
        return []
    return UnitFile.parse(unit.text).values("X-Build", "ImageTag")


def _named(unit: Unit) -> tuple[str, ...]:
    """The images that have to be there before the unit starts."""
    if unit.kind in _RUN_AHEAD:
        return ()
    return tuple(filter(_is_image, (unit.image, *unit.images)))


def _is_image(image: str) -> bool:
    """Whether this is an image's own name, not a quadlet that makes one, nor a template's."""
    return bool(image) and not image.endswith((".image", ".build")) and "%" not in image


def _pull(unit: Unit, image: str, report: Report) -> None:
    if podman.has_image(image):
        return
    if image.startswith("localhost/"):
        raise ImageError(
            f"{unit.deployment}: {unit.source}: the image {image} is not on this host",
            hint="build or import it first, or add a .build quadlet that makes it",
        )
    report(f"{unit.deployment}: pulling {image}")
    done = _podman(["podman", "pull", "--quiet", image], None, unit)
    if done.code != 0:
        raise ImageError(
            f"{unit.deployment}: {unit.source}: {image} cannot be pulled: {done.message}",
            hint="check the image's name, the registry and the network",
        )


def _run_ahead(unit: Unit) -> None:
    """Run the unit's own command, as quadlet made it: what its start will do again is then done."""
    parsed = UnitFile.parse(unit.text)
    folder = parsed.last("Service", "WorkingDirectory")
    for value in parsed.values("Service", "ExecStart"):
        command = [word.replace("%%", "%") for word in words(value)]
        done = _podman(command, Path(folder) if folder.startswith("/") else None, unit)
        if done.code != 0:
            raise ImageError(
                f"{unit.deployment}: {unit.source}: {_doing(unit)} failed: {done.message}",
                hint=f"to see it all: {' '.join(command)}",
            )


def _doing(unit: Unit) -> str:
    verb = "building" if unit.kind == "build" else "pulling"
    return f"{verb} {unit.image or unit.source}"


def _podman(command: list[str], folder: Path | None, unit: Unit) -> processes.Completed:
    try:
        podman.changed()
        return processes.run(command, timeout=_SECONDS, folder=folder)
    except processes.TimedOutError as error:
        raise ImageError(f"{unit.deployment}: {unit.source}: {error}") from error
