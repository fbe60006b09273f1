"""What the manifests of the generations say in short: for the history, and for the way back."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Self

from leger import disk, generation
from leger.errors import LegerError
from leger.generation import Generation, Point
from leger.scope import Scope

Tell = Callable[[str], None]


class Content(NamedTuple):
    """What a deployment was: its commit, its tree's digest, its definition, Built.settings."""

    commit: str
    tree: str
    definition: str
    settings: str = ""


@dataclass(frozen=True)
class Manifest:
    """A generation without its units; `contents` and `sources` are by deployment.

    `created` is Unix time in seconds, `bad` why it was given up, `images` the ids of its images.
    """

    point: Point
    created: float
    who: str
    why: str
    bad: str
    images: frozenset[str]
    contents: Mapping[str, Content]
    sources: Mapping[str, str]

    @classmethod
    def read(cls, scope: Scope, number: int) -> Self:
        """Read manifests/N.json. Raises LegerError naming it if it is damaged."""
        path = generation.manifest_path(scope, number)
        try:
            raw = json.loads(disk.read_file(path, generation.MAX_BYTES))
            deployments = raw["deployments"]
            return cls(
                point=Point(number, str(raw["digest"])),
                created=float(raw["created"]),
                **{key: str(raw[key]) for key in ("who", "why", "bad")},
                images=frozenset(map(str, raw.get("images", {}).values())),
                contents={
                    name: Content(
                        item["commit"],
                        item["tree"]["digest"],
                        item["definition"],
                        item.get("settings", ""),
                    )
                    for name, item in deployments.items()
                },
                sources={name: str(item["source"]) for name, item in deployments.items()},
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise LegerError(f"{path}: the manifest is damaged: {error}") from error

    @property
    def number(self) -> int:
        """The generation's number."""
        return self.point.generation

    def is_another(self, contents: Mapping[str, Content], name: str = "") -> bool:
        """Whether something is not as in `contents`; with `name`, that deployment, which it has."""
        names = {name} & self.contents.keys() if name else self.contents.keys() | contents.keys()
        return any(self.contents.get(one) != contents.get(one) for one in names)


def contents(one: Generation) -> dict[str, Content]:
    """What the deployments of a generation are that is at hand."""
    return {
        name: Content(
            built.commit, built.tree.digest, one.definitions.get(name, ""), built.settings
        )
        for name, built in one.compiled.deployments.items()
    }


def newest_first(scope: Scope, damaged: Tell = lambda _: None) -> Iterator[Manifest]:
    """The manifests that can be read, each read when it is asked for; others are `damaged`."""
    for number in reversed(generation.numbers(scope)):
        try:
            yield Manifest.read(scope, number)
        except LegerError as error:
            damaged(str(error))


def way_back(
    scope: Scope,
    found: Iterable[Manifest],
    now: Mapping[str, Content],
    name: str = "",
    damaged: Tell = lambda _: None,
) -> Generation | None:
    """The first of `found` that was well and had something else than `now`, of `name` if given.

    One that cannot be read whole is no way back, but `damaged`.
    """
    for manifest in found:
        if not manifest.bad and manifest.is_another(now, name):
            try:
                return generation.load(scope, manifest.number)
            except LegerError as error:
                damaged(str(error))
    return None
