"""Checks of the labels by which a container says how it is known to be healthy."""

from __future__ import annotations

from collections.abc import Iterator

from leger import health
from leger.errors import ConfigError
from leger.model import Fault
from leger.sources import Located, Source
from leger.unitfile import words
from leger.world import World

_EXAMPLE = {"x-health-url": "http://127.0.0.1/"}


def health_labels(world: World) -> Iterator[Fault]:
    """x-health-url, x-health-timeout and x-health-expected must be understood."""
    for source in world.sources:
        if source.kind == "container":
            yield from _of(source)


def _of(source: Source) -> Iterator[Fault]:
    places = {key: (place, value) for place, key, value in _labels(source)}
    for key, (place, value) in places.items():
        try:
            health.Probe.parse(_EXAMPLE | {key: health.plain(value, _instance(source))})
        except ConfigError as error:
            yield source.fault(place, str(error), error.hint)
        if "x-health-url" not in places:
            yield source.fault(place, f"{key} is of no use without x-health-url")


def _instance(source: Source) -> str:
    return source.unit.replace("@.", "@x.")


def _labels(source: Source) -> Iterator[tuple[Located, str, str]]:
    for place in source.values(source.section, "Label"):
        for word in words(place.setting.value):
            key, _, value = word.partition("=")
            if key in health.LABELS:
                yield place, key, value
