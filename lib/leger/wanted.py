"""What this host shall have: every deployment that is defined for it, wherever that is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from leger import config, fleet
from leger.accepted import Accept
from leger.config import Config
from leger.deployment import FLEET, Deployment, definitions, load, misnamed, owned_folders
from leger.errors import ConfigError, LegerError, contained
from leger.scope import Scope


@dataclass(frozen=True)
class Wanted:
    """The deployments of a host by name, and what of their definitions cannot be read.

    `origins` has for each name, readable or not, the file that defines it; `failed` why it cannot
    be read. `fleet` is what is wrong with the fleet as a whole; then what was made of it before
    counts. If neither that nor a folder of definitions is there (`complete` is false), a name that
    is missing here may still be wanted.
    """

    deployments: Mapping[str, Deployment]
    failed: Mapping[str, LegerError] = field(default_factory=dict)
    origins: Mapping[str, str] = field(default_factory=dict)
    fleet: LegerError | None = None
    complete: bool = True

    @property
    def problems(self) -> tuple[LegerError, ...]:
        """All that is wrong, in no order of importance."""
        return (*([self.fleet] if self.fleet else []), *self.failed.values())

    def is_gone(self, name: str) -> bool:
        """Whether nothing defines the deployment `name` any more, so that it may be removed."""
        return self.complete and name not in self.origins


def deployments(scope: Scope, *, fetch: bool = False, accept_rewind: Accept = False) -> Wanted:
    """Everything that is defined: the vendor's, the fleet's, the host's own; the latter wins.

    With `fetch` the fleet is fetched first, else it counts as it was fetched last. A definition
    that cannot be read is a problem that names its file, and holds back no other; it does not let
    an earlier one of the same name through. Raises ConfigError for config.yaml.
    """
    settings = config.load(scope)
    wrong: LegerError | None = None
    if fetch:
        try:
            with contained(FLEET):
                fleet.refresh(scope, accept_rewind=accept_rewind)
        except LegerError as error:
            wrong = error
    found: dict[str, Deployment] = {}
    failed: dict[str, LegerError] = {}
    paths = definitions(scope)
    for name, path in sorted(paths.items()):
        try:
            with contained(name):
                found[name] = load(scope, path)
        except LegerError as error:
            failed[name] = error
    for name, path in misnamed(scope).items():
        if name not in paths:
            paths[name] = path
            failed[name] = ConfigError(
                f"{path}: is not read", hint=f"the name of a definition ends in .yaml: {name}.yaml"
            )
    origins = {name: str(path) for name, path in paths.items()}
    return Wanted(found, failed, origins, wrong, _is_complete(scope, settings))


def _is_complete(scope: Scope, settings: Config) -> bool:
    if settings.fleet is not None:
        return fleet.is_current(scope, settings.fleet)
    if fleet.is_lost(scope):
        return False
    return any(folder.is_dir() for folder in owned_folders(scope))
