"""staged/: deployments that were fetched, checked and pulled, and wait for somebody's word.

One file each, NAME.json; its tree is in store/ and is kept as long as the file is there.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

from leger import disk, generation, yamlfile
from leger.deployment import NAME, Deployment, Target, definitions, dump, load
from leger.errors import LegerError, UsageError
from leger.scope import Scope

FORMAT = 1
_MAX_BYTES = 4 << 20


@dataclass(frozen=True)
class Staged:
    """A deployment that waits.

    `definition` is the text that it will be deployed with, `before` the text of the definition
    that the host had when it was staged ("" for none); `tree` is the folder's name in store/,
    `when` Unix time in seconds.
    """

    name: str
    commit: str
    definition: str
    before: str
    tree: str
    who: str
    when: float

    @classmethod
    def parse(cls, raw: Any, name: str) -> Self:
        """Read staged/NAME.json; ValueError, KeyError or TypeError if it is none."""
        if raw["format"] != FORMAT or raw["name"] != name:
            raise ValueError(f"format {raw['format']}, about {raw['name']}")
        keys = ("name", "commit", "definition", "before", "tree", "who")
        if not all(isinstance(raw[key], str) for key in keys):
            raise ValueError("a text is missing")
        return cls(**{key: raw[key] for key in keys}, when=float(raw["when"]))

    def target(self, scope: Scope) -> Target:
        """What it asks for. Raises ConfigError naming the file."""
        node = yamlfile.parse(self.definition.encode(), str(_path(scope, self.name)))
        return Target(Deployment.parse(node, name=self.name, scope=scope.name), self.commit)


def stage(scope: Scope, target: Target, tree: Path) -> None:
    """Let `target`, whose checked tree is `tree`, wait; it takes the place of an earlier one."""
    name = target.deployment.name
    staged = Staged(
        name=name,
        commit=target.commit,
        definition=target.definition,
        before=_defined(scope, name),
        tree=tree.name,
        who=generation.caller(),
        when=time.time(),
    )
    raw = {"format": FORMAT} | {item.name: getattr(staged, item.name) for item in fields(staged)}
    disk.make_folder(scope.staged)
    disk.write_file(_path(scope, name), json.dumps(raw, indent=1).encode() + b"\n", 0o600)


def read(scope: Scope) -> tuple[dict[str, Staged], dict[str, LegerError]]:
    """What waits, by name, and the files that cannot be understood."""
    found: dict[str, Staged] = {}
    broken: dict[str, LegerError] = {}
    for path in sorted(scope.staged.glob("*.json")):
        name = path.stem
        if NAME.fullmatch(name) is None:
            continue
        try:
            found[name] = Staged.parse(json.loads(disk.read_file(path, _MAX_BYTES)), name)
        except (LegerError, ValueError, KeyError, TypeError, RecursionError) as error:
            broken[name] = LegerError(
                f"{path}: cannot be understood: {error}", hint=f"leger staged discard {name}"
            )
    return found, broken


def choose(
    scope: Scope, names: list[str], *, everything: bool
) -> tuple[dict[str, Staged], dict[str, LegerError]]:
    """The staged deployments that are named, or all, and those that cannot be read.

    Raises UsageError for what does not wait.
    """
    if bool(names) == everything:
        raise UsageError("either names or --all is needed", hint="leger staged list")
    found, broken = read(scope)
    for name in names:
        if name not in found and name not in broken:
            raise UsageError(f"{name} is not staged", hint="leger staged list")
    return (
        {name: staged for name, staged in found.items() if everything or name in names},
        {name: error for name, error in broken.items() if everything or name in names},
    )


def approved(scope: Scope, staged: Staged) -> Target:
    """What is to be deployed now that somebody says so.

    Raises LegerError if the host's definition is another than when it was staged.
    """
    if _defined(scope, staged.name) not in (staged.before, staged.definition):
        raise LegerError(
            f"{staged.name}: its definition has changed since it was staged",
            hint=f"leger deploy update {staged.name} --stage",
        )
    return staged.target(scope)


def discard(scope: Scope, name: str) -> bool:
    """Let it wait no longer; whether it did."""
    path = _path(scope, name)
    if NAME.fullmatch(name) is None or not path.exists():
        return False
    path.unlink()
    disk.sync_folder(path.parent)
    return True


def trees(scope: Scope) -> set[str]:
    """The names of the trees in store/ that staged deployments need."""
    found, _ = read(scope)
    return {staged.tree for staged in found.values()}


def _defined(scope: Scope, name: str) -> str:
    path = definitions(scope).get(name)
    if path is None:
        return ""
    try:
        return dump(load(scope, path)).decode()
    except LegerError:
        return disk.read_file(path).decode(errors="replace")


def _path(scope: Scope, name: str) -> Path:
    return scope.staged / f"{name}.json"
