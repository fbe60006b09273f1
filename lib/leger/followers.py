"""Who needs what was fetched of a remote: what is deployed, defined or staged, and the fleet."""

from __future__ import annotations

from collections.abc import Iterator

from leger import config, deployed, generation, staging, wanted
from leger.accepted import Accepted
from leger.deployment import Deployment, definitions
from leger.errors import LegerError
from leger.generation import Generation
from leger.mirror import Asked, Mirror
from leger.scope import Scope


def of(scope: Scope, mirror: Mirror, but: str) -> tuple[Deployment, ...]:
    """Those whose source `mirror` is, but for the deployment `but`.

    Raises LegerError for a host's own file that cannot be read.
    """
    found = (item for item in _all(scope) if item.name != but)
    return tuple(item for item in found if Mirror.of(scope, item).path == mirror.path)


def is_first(scope: Scope, deployment: Deployment) -> bool:
    """Whether it is neither deployed nor defined, and no other follows the same branch or tag.

    What a fetch for it accepted before was of no consequence.
    """
    current = generation.load_current(scope)
    there = current.compiled.deployments if current else {}
    if deployment.name in {*there, *definitions(scope)}:
        return False
    mirror = Mirror.of(scope, deployment)
    known = Accepted.load(mirror.record)
    names = {*Asked.by(deployment, known).names}
    try:
        others = of(scope, mirror, deployment.name)
    except LegerError:
        return False
    return not any(names & {*Asked.by(item, known).names} for item in others)


def _all(scope: Scope) -> Iterator[Deployment]:
    if current := generation.load_current(scope):
        for name in current.compiled.deployments:
            yield from _deployed(scope, current, name)
    yield from wanted.deployments(scope).deployments.values()
    for item in staging.read(scope)[0].values():
        yield item.target(scope).deployment
    if fleet := config.load(scope).fleet:
        yield fleet


def _deployed(scope: Scope, current: Generation, name: str) -> Iterator[Deployment]:
    """As it was defined; where nothing is left of that, its source."""
    source = current.compiled.deployments[name].source
    try:
        yield deployed.definition(scope, current, name)
    except LegerError:
        if source:
            yield Deployment(name, source)
