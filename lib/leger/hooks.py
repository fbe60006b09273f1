"""What secrets-hook is told for a unit: each Podman secret and the name that it has in legerd."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from leger.author import Author
from leger.deployment import Deployment
from leger.model import Binding, Unit, split_version
from leger.secretrefs import Reference, expand


@dataclass(frozen=True)
class Names:
    """Where the names of one deployment's secrets come from; the host's file wins.

    `own` is what [X-Leger] of the quadlet says, `prefix` config.yaml's secrets.prefix.
    """

    deployment: Deployment
    author: Author
    own: Mapping[str, str]
    prefix: str

    def legerd(self, podman: str, unit: str) -> str:
        """legerd's name (:VERSION if pinned) of `podman` in `unit`, specifiers as `podman` has."""
        expanded = expand(podman, unit)
        for known in (self.deployment.secrets, self.own):
            for name in (expanded, podman):
                if name in known:
                    return known[name]
        return f"{self.prefix}{self.deployment.name}/{podman}"


def hook(unit: Unit, references: Iterable[Reference], names: Names) -> list[str]:
    """The arguments of secrets-hook for `unit`; empty without secrets.

    In a template the specifiers stay, for systemd to expand; in an instance that has a text of
    its own they are written out.
    """
    podman = dict.fromkeys([*(reference.name for reference in references), *names.own])
    words = [
        f"{expand(name, unit.name)}={expand(names.legerd(name, unit.name), unit.name)}"
        for name in podman
    ]
    return [*(["--fresh"] if names.deployment.fresh and words else []), *dict.fromkeys(words)]


def bindings(unit: Unit, references: Iterable[Reference], names: Names) -> list[Binding]:
    """The secrets that `unit` needs; for a template those of its known instances."""
    required = {name: names.author.required(name) for name in names.own}
    for reference in references:
        required[reference.name] = reference.required and names.author.required(reference.name)
    found: list[Binding] = []
    template = "@." in unit.name
    for name, needed in required.items():
        for instance in unit.instances if template and "%" in name else (unit.name,):
            text = expand(names.legerd(name, instance), instance)
            legerd, version = split_version(text)
            found.append(Binding(expand(name, instance), legerd, version, (instance,), needed))
    return found


def merged(found: Iterable[Binding]) -> tuple[Binding, ...]:
    """`found` with the units of one binding put together."""
    together: dict[tuple[str, str, int], Binding] = {}
    for item in found:
        key = (item.podman, item.legerd, item.version)
        known = together.get(key, item)
        units = tuple(sorted({*known.units, *item.units}))
        required = known.required or item.required
        together[key] = Binding(*key, units, required)
    return tuple(together[key] for key in sorted(together))
