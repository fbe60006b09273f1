"""The way back: what an earlier generation had, deployed again as a new generation."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace

from leger import adoption, applying, generation, imageids, manifests, planning
from leger.applying import Outcome
from leger.backup import automatic
from leger.deployed import Deployed, altered
from leger.deployment import is_defined_elsewhere
from leger.errors import LegerError
from leger.generation import Generation
from leger.planning import Plan, Wish
from leger.prepare import Prepared
from leger.scope import Scope
from leger.switch import Host
from leger.switchfile import Returned


def roll_back(
    host: Host, number: int | None, deployment: str = "", *, dry_run: bool = False
) -> Outcome:
    """Deploy again what generation `number` had, all of it or `deployment` alone.

    Without a number it is the last one before that was not bad, for a deployment the last that had
    something else of it. The commits that are given up are remembered, so that the next sync
    does not deploy them again. Raises LegerError if it is not kept, FaultsError if this podman
    does not take it any more.
    """
    scope = host.scope
    applying.settled(host)
    old = generation.load_current(scope)
    if old is None:
        raise LegerError("nothing is deployed")
    target = _target(host, old, number, deployment)
    plan = planning.make(host, wish(scope, old, target, deployment))
    plan.insist()
    refused = tuple(_given_up(scope, old, plan, f"rolled back to generation {target.number}"))
    tags = _images(target, plan)
    plan = replace(plan, step=replace(plan.step, refused=refused, tags=tags))
    if dry_run:
        return applying.foresee(plan)
    for _, error in automatic.before_switch(host, plan.old, plan.new, plan.changes):
        raise error
    of = f"{deployment} " if deployment else ""
    return applying.apply(host, plan, f"roll back {of}to generation {target.number}")


def wish(scope: Scope, old: Generation, target: Generation, deployment: str = "") -> Wish:
    """What brings `old` to what `target` had, all of it or `deployment` alone."""
    prepared = _prepared(scope, old, target, deployment)
    then = target.compiled.deployments
    removed = frozenset() if deployment else old.compiled.deployments.keys() - then.keys()
    return Wish(
        reopened=prepared,
        removed=frozenset(removed),
        held={name: then[name].adopted for name in prepared if then[name].adopted},
        restore=_the_hosts(scope, old, target, {*prepared, *removed}),
        allow_missing_secrets=True,
    )


def _target(host: Host, old: Generation, number: int | None, deployment: str) -> Generation:
    if number is None:
        return _before(host, old, deployment)
    target = generation.load(host.scope, number)
    if deployment and deployment not in target.compiled.deployments:
        raise LegerError(
            f"generation {number} has no deployment {deployment}",
            hint=f"leger history, or leger deploy remove {deployment}",
        )
    return target


def _before(host: Host, old: Generation, deployment: str) -> Generation:
    def damaged(text: str) -> None:
        host.report(f"warning: {text}")

    found = manifests.newest_first(host.scope, damaged)
    before = (one for one in found if one.number < old.number)
    now = manifests.contents(old)
    target = manifests.way_back(host.scope, before, now, deployment, damaged)
    if target is None:
        of = f" of {deployment}" if deployment else ""
        raise LegerError(
            f"nothing{of} from before generation {old.number} is kept", hint="leger history"
        )
    return target


def _prepared(
    scope: Scope, old: Generation, target: Generation, deployment: str
) -> dict[str, Prepared]:
    """What `target` had, as it was written then.

    Where somebody changed the tree that runs, which is `leger apply`'s to mend, the deployment is
    left out if it is to stay the same, and otherwise it is an error.
    """
    then = Deployed(scope, target)
    found = then.all_prepared(then.built.keys() - {deployment} if deployment else ())
    for name, files in then.altered.items():
        path, now = then.built[name].tree.path, old.compiled.deployments.get(name)
        if now is None or now.tree.path != path:
            found[name] = then.made_again(name)
        elif manifests.contents(old)[name] == manifests.contents(target)[name]:
            del found[name]
        else:
            raise altered(name, path / files[0])
    return found


def _the_hosts(
    scope: Scope, old: Generation, target: Generation, names: Collection[str]
) -> tuple[str, ...]:
    """The host's own files that the deployments `names` took over after `target`."""
    after = [built for name, built in old.compiled.deployments.items() if name not in names]
    after += [built for name, built in target.compiled.deployments.items() if name in names]
    taken = {file.rpartition("/")[2] for built in after for file in built.tree.files}
    paths = adoption.lent(old.compiled, names) - adoption.lent(target.compiled, names)
    return adoption.can_return(scope, paths, taken)


def _given_up(scope: Scope, old: Generation, plan: Plan, reason: str) -> Iterator[Returned]:
    """The commits that run now and will not, with the definition that a sync would see."""
    for name, built in sorted(old.compiled.deployments.items()):
        after = plan.new.deployments.get(name)
        before = old.definitions.get(name, "")
        defined = plan.definitions.get(name, before)
        now = (built.commit, built.settings, before)
        if after is None or now != (after.commit, after.settings, defined):
            kept = is_defined_elsewhere(scope, name)
            yield Returned(name, built.commit, reason, before if kept else defined)


def _images(target: Generation, plan: Plan) -> dict[str, str]:
    """The ids that the images of what is started had in `target`."""
    names = imageids.named(plan.new, (*plan.changes.restart, *plan.changes.start))
    return {name: id_ for name, id_ in target.images.items() if name in names}
