"""Many sources fetched at once: one that fails is reported and does not keep the others waiting."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from leger import config, git
from leger.config import Limits
from leger.deployment import Deployment
from leger.errors import LegerError
from leger.scope import Scope

_AT_ONCE = 8
Fetched = str | LegerError


def fetch_all(
    scope: Scope, deployments: Iterable[Deployment], *, accept_rewind: bool = False
) -> dict[str, Fetched]:
    """The commit of each deployment's ref by name, or why it cannot be had.

    Deployments of one source and ref cost one round trip together. Raises ConfigError for the
    host's config.yaml.
    """
    limits = config.load(scope).limits
    by_remote: dict[str, list[Deployment]] = {}
    for deployment in deployments:
        by_remote.setdefault(deployment.address.remote, []).append(deployment)
    if not by_remote:
        return {}
    with ThreadPoolExecutor(min(_AT_ONCE, len(by_remote))) as pool:
        done = pool.map(lambda group: _of_one(scope, group, limits), by_remote.values())
        return {name: found for part in done for name, found in part.items()}


def _of_one(
    scope: Scope, deployments: Sequence[Deployment], limits: Limits
) -> Mapping[str, Fetched]:
    """The deployments of one repository, one after the other: they share its mirror."""
    known: dict[tuple[str, str], Fetched] = {}
    for deployment in deployments:
        key = deployment.source, deployment.ref
        if key not in known:
            known[key] = _fetch(scope, deployment, limits)
    return {item.name: known[item.source, item.ref] for item in deployments}


def _fetch(scope: Scope, deployment: Deployment, limits: Limits) -> Fetched:
    try:
        return git.fetch(scope, deployment, limits)
    except LegerError as error:
        return error
