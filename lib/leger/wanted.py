"""What this host shall have: every deployment that is defined for it, wherever that is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from leger.deployment import Deployment, definitions, load
from leger.errors import LegerError
from leger.scope import Scope


@dataclass(frozen=True)
class Wanted:
    """The deployments of a host by name, and what of their definitions cannot be read.

    `origins` tells for each name, readable or not, where it is defined: the path of a file of this
    host, or a file of the fleet. With a fleet that cannot be read (`complete` is false), a name
    that is missing here may still be wanted.
    """

    deployments: Mapping[str, Deployment]
    problems: tuple[LegerError, ...] = ()
    origins: Mapping[str, str] = field(default_factory=dict)
    complete: bool = True

    def is_gone(self, name: str) -> bool:
        """Whether nothing defines the deployment `name` any more, so that it may be removed."""
        return self.complete and name not in self.origins


def deployments(scope: Scope) -> Wanted:
    """Everything that is defined for the scope: the vendor's and the host's own; the latter wins.

    A definition that cannot be read is a problem that names its file, and holds back no other; it
    does not let an earlier one of the same name through.
    """
    found: dict[str, Deployment] = {}
    problems: list[LegerError] = []
    paths = definitions(scope)
    for name, path in sorted(paths.items()):
        try:
            found[name] = load(scope, path)
        except LegerError as error:
            problems.append(error)
    origins = {name: str(path) for name, path in paths.items()}
    return Wanted(found, tuple(problems), origins)
