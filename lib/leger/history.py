"""What was deployed when, by whom and why: the generations that are kept, newest last."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from leger import disk, generation
from leger.errors import LegerError
from leger.generation import Current
from leger.scope import Scope


@dataclass(frozen=True)
class Change:
    """A deployment that a generation brought to another commit ("" before it came or went)."""

    deployment: str
    before: str
    after: str
    subject: str = ""


@dataclass(frozen=True)
class Entry:
    """One generation; `created` is Unix time in seconds, `bad` why it was given up.

    `commits` maps each deployment to its commit, `changes` are what the generation before did not
    have so; for the oldest that is kept, all of it.
    """

    number: int
    created: float
    who: str
    why: str
    bad: str
    is_current: bool
    commits: Mapping[str, str]
    changes: tuple[Change, ...] = ()


@dataclass(frozen=True)
class _Manifest:
    """What the history needs of a manifest."""

    raw: Mapping[str, Any]
    commits: Mapping[str, str]
    sources: Mapping[str, str]

    @classmethod
    def read(cls, scope: Scope, number: int) -> Self:
        path = generation.manifest_path(scope, number)
        try:
            raw = json.loads(disk.read_file(path, generation.MAX_BYTES))
            deployments = raw["deployments"]
            return cls(
                {key: raw[key] for key in ("created", "who", "why", "bad", "digest")},
                {name: str(item["commit"]) for name, item in deployments.items()},
                {name: str(item["source"]) for name, item in deployments.items()},
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise LegerError(f"{path}: the manifest is damaged: {error}") from error


def read(scope: Scope) -> list[Entry]:
    """All generations that are kept, oldest first. Raises LegerError naming a damaged file."""
    current = Current.read(scope)
    manifests = {number: _Manifest.read(scope, number) for number in generation.numbers(scope)}
    subjects = _subjects(scope, manifests.values())
    entries: list[Entry] = []
    for number, manifest in manifests.items():
        raw = manifest.raw
        point = generation.Point(number, raw["digest"])
        before = entries[-1].commits if entries else {}
        entries.append(
            Entry(
                number=number,
                created=raw["created"],
                who=raw["who"],
                why=raw["why"],
                bad=raw["bad"],
                is_current=current is not None and current.point == point,
                commits=manifest.commits,
                changes=changes(before, manifest.commits, subjects),
            )
        )
    return entries


def changes(
    before: Mapping[str, str], after: Mapping[str, str], subjects: Mapping[str, str]
) -> tuple[Change, ...]:
    """What turned the commits `before` into those `after`; `subjects` are known by commit."""
    return tuple(
        Change(name, before.get(name, ""), commit, subjects.get(commit, ""))
        for name in sorted(before.keys() | after.keys())
        for commit in [after.get(name, "")]
        if before.get(name, "") != commit
    )


def _subjects(scope: Scope, manifests: Iterable[_Manifest]) -> dict[str, str]:
    """The first line of each commit's message, as far as the mirrors have it."""
    from leger.deployment import Deployment
    from leger.mirror import Mirror

    wanted: dict[str, tuple[str, set[str]]] = {}
    for manifest in manifests:
        for name, commit in manifest.commits.items():
            source = manifest.sources[name]
            if source:
                wanted.setdefault(source, (name, set()))[1].add(commit)
    found: dict[str, str] = {}
    for source, (name, commits) in wanted.items():
        command = ["log", "--no-walk=unsorted", "--ignore-missing", "--format=%H %s"]
        done = Mirror.of(scope, Deployment(name, source)).run([*command, *sorted(commits)], 30)
        lines = done.stdout.decode(errors="replace").splitlines() if done.code == 0 else []
        found |= {line[:40]: _printable(line[41:]) for line in lines}
    return found


def _printable(text: str) -> str:
    """A message of somebody else's, without what would command the terminal."""
    return "".join(char if char.isprintable() else "?" for char in text)
