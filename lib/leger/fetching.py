"""Many sources fetched at once: one that fails is reported and does not keep the others waiting."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence

from leger import config, credentials, disk
from leger.accepted import Accept, accepts
from leger.config import Limits
from leger.deployment import Deployment
from leger.errors import LegerError, contained
from leger.gitprogram import Remote
from leger.mirror import Fetch, Mirror
from leger.scope import Scope
from leger.trust import Auth

_AT_ONCE = 8
Fetched = str | LegerError


def fetch_all(
    scope: Scope,
    deployments: Iterable[Deployment],
    limits: Limits | None = None,
    *,
    accept_rewind: Accept = False,
) -> dict[str, Fetched]:
    """The commit of each deployment's ref by name, or why it cannot be had.

    A remote is asked once for all of its deployments, and several remotes at a time. Branches that
    were rewritten are followed only by those for which `accept_rewind` has it. Raises ConfigError
    for config.yaml.
    """
    bounds = limits or config.load(scope).limits
    groups: dict[tuple[Mirror, Auth], list[Deployment]] = {}
    for deployment in deployments:
        key = (Mirror.of(scope, deployment), deployment.auth)
        groups.setdefault(key, []).append(deployment)
    jobs = [
        functools.partial(_fetch, mirror, group, bounds, accept_rewind=accept_rewind)
        for (mirror, _), group in groups.items()
    ]
    return {name: found for result in _together(jobs) for name, found in result.items()}


def _together(jobs: Sequence[Callable[[], dict[str, Fetched]]]) -> list[dict[str, Fetched]]:
    if len(jobs) < 2:
        return [job() for job in jobs]
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(min(_AT_ONCE, len(jobs))) as pool:
        return list(pool.map(lambda job: job(), jobs))


def _fetch(
    mirror: Mirror, group: Sequence[Deployment], limits: Limits, *, accept_rewind: Accept
) -> dict[str, Fetched]:
    """Fetch deployments that share a remote and the right to it."""
    found: dict[str, Fetched] = {}
    try:
        with (
            contained(group[0].name),
            disk.lock(mirror.lock),
            credentials.opened(group[0]) as settings,
        ):
            fetch = Fetch(mirror, Remote(mirror.remote, limits, settings=settings))
            fetch.ask(group)
            for deployment in sorted(group, key=lambda one: fetch.turn(one, accept_rewind)):
                found[deployment.name] = _one(
                    fetch, deployment, accept_rewind=accepts(accept_rewind, deployment.name)
                )
    except LegerError as error:
        return dict.fromkeys((deployment.name for deployment in group), error)
    return found


def _one(fetch: Fetch, deployment: Deployment, *, accept_rewind: bool) -> Fetched:
    try:
        with contained(deployment.name):
            return fetch.commit(deployment, accept_rewind=accept_rewind)
    except LegerError as error:
        return error
