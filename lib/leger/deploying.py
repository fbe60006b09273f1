"""One deployment as an administrator asks for it: brought to its newest commit, or removed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from leger import applying, generation, planning, podman
from leger.applying import Outcome
from leger.backup import what
from leger.changes import Changes
from leger.deployment import NAME, Deployment, Target
from leger.errors import LegerError
from leger.planning import Wish
from leger.scope import Scope
from leger.switch import Host


@dataclass(frozen=True)
class Options:
    """How strictly and how far: what the command line may ask for."""

    adopt: bool = False
    dry_run: bool = False
    allow_missing_secrets: bool = False


def deploy(host: Host, wanted: Sequence[Deployment], options: Options) -> Outcome:
    """Bring `wanted` to the newest commit of their refs, all others as they are.

    Raises FaultsError when the content cannot be deployed; then nothing was changed.
    NotHealthyError after something went back.
    """
    applying.settled(host)
    targets = []
    for deployment in wanted:
        commit = _fetched(host.scope, deployment)
        host.report(f"{deployment.name}: commit {commit[:12]}")
        targets.append(Target(deployment, commit))
    wish = Wish(
        tuple(targets), adopt=options.adopt, allow_missing_secrets=options.allow_missing_secrets
    )
    why = f"deploy {', '.join(item.name for item in wanted)}"
    if not options.dry_run:
        return applying.bring(host, wish, why, strict=True).insist()
    plan = planning.make(host, wish)
    plan.insist()
    return applying.foresee(plan)


def stage(host: Host, deployment: Deployment) -> str:
    """Fetch and check a deployment and let it wait; its commit, "" if there is nothing new.

    Raises FaultsError when the content cannot be deployed.
    """
    applying.settled(host)
    commit = _fetched(host.scope, deployment)
    return commit if applying.stage(host, Target(deployment, commit)) else ""


def _fetched(scope: Scope, deployment: Deployment) -> str:
    """Its newest commit; a try that never deployed anything holds the next one to nothing."""
    from leger import followers, git

    first = followers.is_first(scope, deployment)
    return git.fetch(scope, deployment, accept_rewind=first)


def remove(host: Host, name: str, *, volumes: bool = False) -> Outcome:
    """Stop and remove the deployment `name` with all that Leger made for it.

    With `volumes` its volumes go as well, but for those that another deployment uses, or a quadlet
    of the host's own.
    """
    applying.settled(host)
    old = generation.load_current(host.scope)
    path = host.scope.deployments / f"{name}.yaml"
    if old is None or name not in old.compiled.deployments:
        if NAME.fullmatch(name) is None or not path.exists():
            raise LegerError(f"there is no deployment {name}", hint="leger deploy list")
        path.unlink()
        return Outcome(old.number if old else 0, {}, Changes())
    wish = Wish(removed=frozenset({name}))
    outcome = applying.bring(host, wish, f"remove {name}", strict=True).insist()
    if not volumes:
        return outcome
    names = what.unshared(host.scope, old.compiled, name, outcome.changes.gone)
    return _without_volumes(host, outcome, names)


def _without_volumes(host: Host, outcome: Outcome, names: Iterable[str]) -> Outcome:
    """Remove those of `names` that are there; what podman keeps stays, and is told."""
    wanted = [name for name in names if f"volume {name}" in outcome.left]
    kept = podman.remove_volumes(wanted)
    for name, reason in kept.items():
        host.report(f"warning: volume {name} stays: {reason}")
    lost = [name for name in wanted if name not in kept]
    left = [item for item in outcome.left if item not in {f"volume {name}" for name in lost}]
    return replace(outcome, left=tuple(left), lost=tuple(lost))
