"""Whether legerd has the secrets that deployments need, before anything is switched."""

from __future__ import annotations

from collections.abc import Iterable

from leger.errors import LegerError, NotAuthorisedError
from leger.legerdclient import Client, NotFoundError, UnreachableError
from leger.model import Built, Fault


def missing(built: Iterable[Built], client: Client) -> tuple[list[Fault], list[Fault]]:
    """Faults for secrets that are not there or denied, warnings where legerd cannot be asked."""
    faults: list[Fault] = []
    for deployment in built:
        try:
            faults += _of(deployment, client)
        except UnreachableError as error:
            return faults, [Fault(deployment.name, f"secrets not checked: {error}")]
    return faults, []


def _of(built: Built, client: Client) -> list[Fault]:
    faults = []
    for binding in built.bindings:
        if not binding.required or "%" in binding.legerd:
            continue
        fault = _check(built.name, binding.podman, binding.legerd, binding.version, client)
        if fault:
            faults.append(fault)
    return faults


def _check(deployment: str, podman: str, name: str, version: int, client: Client) -> Fault | None:
    try:
        info = client.info(name)
    except NotFoundError:
        return Fault(
            deployment,
            f"the secret {podman} is missing: legerd has no {name}",
            hint=f"leger secrets set {name} -",
        )
    except NotAuthorisedError:
        return None  # who may fetch need not be allowed to see the info; the hook will tell
    except UnreachableError:
        raise
    except LegerError as error:
        return Fault(deployment, f"the secret {podman}: {error}", hint=error.hint)
    if version and version not in info.versions:
        return Fault(deployment, f"the secret {podman} is missing: {name} has no version {version}")
    return None
