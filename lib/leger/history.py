"""What was deployed when, by whom and why: the generations that are kept, newest last."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from leger import generation
from leger.errors import LegerError
from leger.generation import Current
from leger.manifests import Manifest
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
    """One generation; `created` is Unix time in seconds, `bad` why there is no way back to it.

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


def read(scope: Scope) -> list[Entry]:
    """All generations that are kept, oldest first; of a damaged one `bad` says so."""
    current = Current.read(scope)
    now = current.point.generation if current else 0
    found = {number: _manifest(scope, number) for number in generation.numbers(scope)}
    subjects = _subjects(scope, [one for one in found.values() if isinstance(one, Manifest)])
    before: Mapping[str, str] = {}
    entries = []
    for number, manifest in found.items():
        if isinstance(manifest, LegerError):
            made = generation.manifest_path(scope, number).stat().st_mtime
            entries.append(Entry(number, made, "", "", str(manifest), number == now, {}))
            continue
        commits = {name: content.commit for name, content in manifest.contents.items()}
        entries.append(
            Entry(
                number=number,
                created=manifest.created,
                who=manifest.who,
                why=manifest.why,
                bad=manifest.bad,
                is_current=number == now,
                commits=commits,
                changes=changes(before, commits, subjects),
            )
        )
        before = commits
    return entries


def _manifest(scope: Scope, number: int) -> Manifest | LegerError:
    try:
        return Manifest.read(scope, number)
    except LegerError as error:
        return error


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


def _subjects(scope: Scope, manifests: Iterable[Manifest]) -> dict[str, str]:
    """The first line of each commit's message, as far as the mirrors have it."""
    from leger.deployment import Deployment
    from leger.mirror import Mirror

    wanted: dict[str, tuple[str, set[str]]] = {}
    for manifest in manifests:
        for name, content in manifest.contents.items():
            source = manifest.sources[name]
            if source:
                wanted.setdefault(source, (name, set()))[1].add(content.commit)
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
