"""leger deploy: install, list, update, remove."""

from __future__ import annotations

import argparse
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

from leger import comparing, deploying, generation, systemd, yamlfile
from leger.applying import Outcome
from leger.backup import what
from leger.cli import host, output, service, steps
from leger.cli.pairs import pairs
from leger.deploying import Options
from leger.deployment import Deployment, definitions, is_fleets, is_roots, load, of_others
from leger.errors import LegerError, NotAuthorisedError, UsageError
from leger.judge import InterruptedSwitchError
from leger.model import Built
from leger.scope import Scope
from leger.switch import Host
from leger.trust import NOTHING
from leger.wanted import Wanted, deployments

_REWIND = "if that is meant, leger sync --accept-rewind takes it for all that follow the branch"


def run(options: argparse.Namespace) -> int:
    """Run one of the deploy commands."""
    if options.command == "deploy list":
        return _list(host.scope(user=options.user), as_json=options.json)
    if options.command == "deploy remove":
        return _remove(options)
    return _install(options) if options.command == "deploy install" else _update(options)


def _install(options: argparse.Namespace) -> int:
    from leger.mirror import RewoundError

    with host.changing(user=options.user) as locked:
        path = definitions(locked.scope).get(options.name)
        before = load(locked.scope, path) if path else None
        defined = wanted(before, locked.scope.name, options)
        if defined != before and not options.dry_run:
            refuse_roots(locked.scope, options.name)
            _refuse_fleets(locked.scope, options.name)
        try:
            return _deploy(locked, defined, options)
        except RewoundError as error:
            if before is not None:
                raise
            raise RewoundError(str(error), hint=_REWIND) from error  # sync does not know it yet


def _update(options: argparse.Namespace) -> int:
    if bool(options.name) == options.all:
        raise UsageError("either a deployment's name or --all is needed")
    with host.changing(user=options.user) as locked:
        found = deployments(locked.scope, fetch=options.all)
        if options.name:
            return _deploy(locked, _named(found, options.name), options)
        for problem in found.problems:
            output.error(problem)
        codes = [problem.exit_code for problem in found.problems]
        codes += [_try(locked, item, options) for _, item in sorted(found.deployments.items())]
        return max(codes, default=0)


def _named(found: Wanted, name: str) -> Deployment:
    if name in found.failed:
        raise found.failed[name]
    if name not in found.deployments:
        raise UsageError(f"there is no deployment {name}", hint="leger deploy list")
    return found.deployments[name]


def _try(locked: Host, deployment: Deployment, options: argparse.Namespace) -> int:
    """Deploy one of many; what is wrong with it does not hold back the others."""
    try:
        return _deploy(locked, deployment, options)
    except InterruptedSwitchError:
        raise
    except LegerError as error:
        output.error(error)
        return error.exit_code


def _deploy(locked: Host, deployment: Deployment, options: argparse.Namespace) -> int:
    if options.stage:
        return _stage(locked, deployment, options)
    outcome = deploying.deploy(locked, [deployment], _options(options))
    tell(outcome, [deployment.name], options)
    return 0


def _stage(locked: Host, deployment: Deployment, options: argparse.Namespace) -> int:
    name = deployment.name
    commit = deploying.stage(locked, deployment)
    if options.json:
        output.document({"name": name, "staged": commit})
    elif commit:
        output.result(f"{name}: staged at {commit[:12]}; leger staged apply {name} deploys it")
    else:
        output.result(f"{name}: nothing new to stage")
    return 0


def question(options: argparse.Namespace) -> str:
    """What `remove --volumes` asks, with the names of what would be lost."""
    service.authorise(user=options.user)
    scope = host.scope(user=options.user)
    current = generation.load_current(scope)
    if not options.volumes or current is None:
        return ""
    built = current.compiled.deployments.values()
    loaded = comparing.instances(systemd.connect(scope), built)
    lost = ", ".join(what.unshared(scope, current.compiled, options.name, loaded))
    return lost and f"stop and remove {options.name} and its volumes with all they hold: {lost}?"


def _remove(options: argparse.Namespace) -> int:
    with host.changing(user=options.user) as locked:
        refuse_roots(locked.scope, options.name)
        refuse_others(locked.scope, options.name)
        outcome = deploying.remove(locked, options.name, volumes=options.volumes)
    if options.json:
        output.document(
            {
                "removed": options.name,
                "volumes": list(outcome.lost),
                "left": list(outcome.left),
            }
        )
        return 0
    output.result(f"{options.name}: removed")
    for name in outcome.lost:
        output.result(f"removed: volume {name}")
    for item in outcome.left:
        output.result(f"left: {item}")
    return 0


def refuse_roots(scope: Scope, name: str) -> None:
    """Raise NotAuthorisedError if root defines this deployment of the user's."""
    if is_roots(scope, name):
        raise NotAuthorisedError(
            f"{name} is defined by root, in {definitions(scope)[name]}",
            hint="root changes and removes it: leger deploy ... --scope USER",
        )


def _refuse_fleets(scope: Scope, name: str) -> None:
    """Raise UsageError if the fleet defines this deployment, and would have it back."""
    if is_fleets(scope, name):
        raise UsageError(
            f"{name} is defined by the fleet",
            hint=f"change it there, or define your own in {scope.deployments}/{name}.yaml",
        )


def refuse_others(scope: Scope, name: str) -> None:
    """Raise UsageError if the fleet or the vendor defines it too, and would have it back."""
    path = of_others(scope).get(name)
    if path is None:
        return
    _refuse_fleets(scope, name)
    own = scope.deployments / f"{name}.yaml"
    raise UsageError(
        f"{name} is defined in {path}, and would come back",
        hint=f"rm {own} goes back to that" if own.exists() else "remove what brings that file",
    )


def wanted(before: Deployment | None, scope: str, options: argparse.Namespace) -> Deployment:
    """The deployment that the arguments describe, on top of the definition of before."""
    source = options.source
    if "://" not in source and Path(source).exists():
        source = str(Path(source).resolve())
    raw = {
        "source": source,
        "ref": options.ref or None,
        "path": options.path or None,
        "values": pairs(options.set, "--set"),
        "secrets": pairs(options.bind_secret, "--bind-secret"),
        "auth": {
            key: value
            for key, value in (("ssh-key", options.ssh_key), ("token", options.token))
            if value
        },
    }
    given = yamlfile.dump({key: value for key, value in raw.items() if value})
    described = Deployment.parse(
        yamlfile.parse(given, "the command line"), name=options.name, scope=scope
    )
    if before is None:
        return described
    untold = [key for key in ("ref", "path") if getattr(options, key) is None]
    return _merged(before, described, untold)


def _merged(before: Deployment, wanted: Deployment, untold: Collection[str]) -> Deployment:
    """`wanted` on top of `before`; ref and path go with the source that they were given for."""
    is_same = _remote(before) == _remote(wanted)
    place = before if is_same and before.address.tree == wanted.address.tree else wanted
    fits = is_same and wanted.auth == NOTHING
    return replace(
        before,
        source=wanted.source,
        ref=place.ref if "ref" in untold else wanted.ref,
        path=place.path if "path" in untold else wanted.path,
        values={**before.values, **wanted.values},
        secrets={**before.secrets, **wanted.secrets},
        auth=before.auth if fits else wanted.auth,
    )


def _remote(deployment: Deployment) -> str:
    return deployment.address.remote.removesuffix(".git")


def _options(options: argparse.Namespace) -> Options:
    return Options(
        adopt=options.adopt,
        dry_run=options.dry_run,
        allow_missing_secrets=options.allow_missing_secrets,
    )


def tell(outcome: Outcome, names: Sequence[str], options: argparse.Namespace) -> None:
    """Print what was done with the deployments `names`, and why."""
    output.warnings(outcome.warnings)
    for text in outcome.changes.warnings:
        output.progress(f"leger: warning: {text}")
    if options.json:
        output.document(
            {
                "generation": outcome.generation,
                "commits": {name: outcome.commits.get(name, "") for name in names},
                "changes": {
                    key: list(getattr(outcome.changes, key))
                    for key in ("stop", "restart", "reload", "start", "gone")
                },
                "why": dict(outcome.changes.why),
                "dry_run": options.dry_run,
            }
        )
        return
    for line in steps.lines(outcome.changes):
        output.result(line)
    for name in names:
        what = "would be deployed" if options.dry_run else "deployed"
        at = "" if options.dry_run else f" as generation {outcome.generation}"
        output.result(f"{name}: {what} at {outcome.commits[name][:12]}{at}")


def _list(scope: Scope, *, as_json: bool) -> int:
    current = generation.load_current(scope)
    running = current.compiled.deployments if current else {}
    found = deployments(scope)
    for problem in found.problems:
        output.error(problem)
    rows = [_row(name, running.get(name), found) for name in sorted({*found.origins, *running})]
    if as_json:
        output.document(rows)
    elif not rows:
        output.progress("no deployments")
    else:
        cells = [
            (str(r["name"]), str(r["commit"])[:12] or "not deployed", str(r["source"]))
            for r in rows
        ]
        output.table([("NAME", "COMMIT", "SOURCE"), *cells])
    return 0


def _row(name: str, built: Built | None, found: Wanted) -> dict[str, object]:
    defined = found.deployments.get(name)
    return {
        "name": name,
        "commit": built.commit if built else "",
        "source": built.source if built else defined.source if defined else "",
        "units": len(built.units) if built else 0,
        "defined": name in found.origins,
    }
