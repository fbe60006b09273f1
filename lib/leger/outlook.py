"""What the host's files ask for beside what is deployed: no unit, tree or generation is touched."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from leger import badcommits, config, disk, fetching, generation, git, wanted
from leger.accepted import Accept
from leger.badcommits import Bad
from leger.deployment import FLEET, Target
from leger.errors import LegerError, UsageError
from leger.generation import Current
from leger.scope import Scope
from leger.wanted import Wanted


@dataclass(frozen=True)
class Now:
    """A deployment as it is deployed: its commit, its definition's text, and Built.settings."""

    commit: str
    definition: str
    settings: str = ""


@dataclass(frozen=True)
class Outlook:
    """What is wanted, and what is there.

    `wanted` are the deployments whose commit is known, `failed` those that cannot be read or
    fetched, `bad` those of `wanted` whose commit was given up before, `vanished` the deployed ones
    whose definition is gone, `kept` those for which that does not count, since the whole folder of
    definitions or the fleet is not there. A fleet that cannot be read has its name in `failed`.
    `settings` is what config.yaml says now, as Config.rendering has it.
    """

    wanted: Mapping[str, Target]
    failed: Mapping[str, LegerError]
    now: Mapping[str, Now]
    bad: Mapping[str, Bad]
    vanished: frozenset[str] = frozenset()
    kept: frozenset[str] = frozenset()
    settings: str = ""

    def new(self) -> dict[str, Target]:
        """The deployments of which the commit, the definition or the host's settings changed."""
        return {name: item for name, item in self.wanted.items() if self._is_new(name, item)}

    def _is_new(self, name: str, target: Target) -> bool:
        now = self.now.get(name)
        if now is None or (target.commit, target.definition) != (now.commit, now.definition):
            return True
        return "" not in (now.settings, self.settings) and now.settings != self.settings


def look(
    scope: Scope, names: Collection[str] = (), *, fetch: bool = True, accept_rewind: Accept = False
) -> Outlook:
    """Compare the definitions (`names`, or all) at their newest commits with what is deployed.

    Without `fetch` the commits are those that were fetched last; what was never fetched is
    fetched, and what cannot be fetched counts as it was fetched last. Raises UsageError for a
    name that is neither defined nor deployed.
    """
    now = deployed(scope)
    defined = wanted.deployments(scope, fetch=fetch, accept_rewind=accept_rewind)
    known = {*defined.origins, *now}
    named = () if isinstance(accept_rewind, bool) else accept_rewind
    if strange := sorted({*names, *named} - known - {FLEET}):
        raise UsageError(f"there is no deployment {strange[0]}", hint="leger deploy list")
    chosen = set(names) or known
    asked = {name: item for name, item in defined.deployments.items() if name in chosen}
    commits = {} if fetch else {name: git.known(scope, item) for name, item in asked.items()}
    missing = [item for name, item in asked.items() if not commits.get(name)]
    found = commits | fetching.fetch_all(scope, missing, accept_rewind=accept_rewind)
    unfetched = {name: item for name, item in found.items() if isinstance(item, LegerError)}
    last = {name: git.known(scope, asked[name]) for name in unfetched}
    targets = {
        name: Target(asked[name], commit)
        for name, commit in (found | last).items()
        if isinstance(commit, str) and commit
    }
    undefined = frozenset(now.keys() & chosen) - defined.origins.keys()
    gone = frozenset(filter(defined.is_gone, undefined))
    return Outlook(
        wanted=targets,
        failed=_failed(defined, chosen) | unfetched,
        now=now,
        bad=_bad(scope, targets),
        vanished=gone,
        kept=undefined - gone,
        settings=config.load(scope).rendering,
    )


def _failed(defined: Wanted, chosen: Collection[str]) -> dict[str, LegerError]:
    failed = {name: item for name, item in defined.failed.items() if name in chosen}
    return failed | ({FLEET: defined.fleet} if defined.fleet else {})


def deployed(scope: Scope) -> dict[str, Now]:
    """What is deployed, by name; read from the manifest alone, because a timer asks often."""
    current = Current.read(scope)
    if current is None or current.point.generation == 0:
        old = generation.load_current(scope)
        built = old.compiled.deployments if old else {}
        return {name: Now(item.commit, "") for name, item in built.items()}
    path = generation.manifest_path(scope, current.point.generation)
    try:
        raw = json.loads(disk.read_file(path, generation.MAX_BYTES))
        return {
            str(name): Now(
                str(item["commit"]), str(item["definition"]), str(item.get("settings", ""))
            )
            for name, item in raw["deployments"].items()
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise LegerError(
            f"{path}: the manifest is damaged: {error}",
            hint=f"deploy again; the units of {scope.units} run on",
        ) from error


def _bad(scope: Scope, wanted: Mapping[str, Target]) -> dict[str, Bad]:
    commits = {name: target.commit for name, target in wanted.items()}
    return {
        name: bad
        for name, bad in badcommits.load(scope).items()
        if name in wanted and bad.holds(commits[name], wanted[name].definition, commits)
    }
