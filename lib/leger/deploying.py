"""One deployment as an administrator asks for it: brought to its newest commit, or removed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from leger import applying, generation, planning
from leger.applying import Outcome
from leger.changes import Changes
from leger.deployment import Deployment, Target
from leger.errors import LegerError
from leger.planning import Wish
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
    """
    from leger import git

    applying.settled(host)
    targets = []
    for deployment in wanted:
        commit = git.fetch(host.scope, deployment)
        host.report(f"{deployment.name}: commit {commit[:12]}")
        targets.append(Target(deployment, commit))
    wish = Wish(
        tuple(targets), adopt=options.adopt, allow_missing_secrets=options.allow_missing_secrets
    )
    why = f"deploy {', '.join(item.name for item in wanted)}"
    if not options.dry_run:
        return applying.bring(host, wish, why, strict=True)
    plan = planning.make(host, wish)
    plan.insist()
    return applying.foresee(plan)


def stage(host: Host, deployment: Deployment) -> str:
    """Fetch and check a deployment and let it wait; its commit, "" if there is nothing new.

    Raises FaultsError when the content cannot be deployed.
    """
    from leger import git

    applying.settled(host)
    commit = git.fetch(host.scope, deployment)
    return commit if applying.stage(host, Target(deployment, commit)) else ""


def remove(host: Host, name: str) -> Outcome:
    """Stop and remove the deployment `name` with all that Leger made for it."""
    applying.settled(host)
    old = generation.load_current(host.scope)
    path = host.scope.deployments / f"{name}.yaml"
    if old is None or name not in old.compiled.deployments:
        if not path.exists():
            raise LegerError(f"there is no deployment {name}", hint="leger deploy list")
        path.unlink()
        return Outcome(old.number if old else 0, {}, Changes())
    return applying.bring(host, Wish(removed=frozenset({name})), f"remove {name}", strict=True)
