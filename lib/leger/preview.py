"""What a plan would change, to be read: commits, files and units with their differences."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from leger import disk, git
from leger.deployment import Deployment
from leger.errors import LegerError
from leger.git import Mirror, Summary
from leger.model import Built, Tree
from leger.planning import Plan
from leger.scope import Scope
from leger.secretyaml import hidden
from leger.tree import LINK

_MAX_BYTES = 512 << 10
_MAX_LINES = 4000
_STORE = re.compile(r"/[^\s\"']*/store/([a-z0-9-]+)-[0-9a-f]{16}(?![0-9a-f])")

_QUOTED = re.compile(r"(?m)^\[X-[A-Z]\w*\]\n(?:[^\[\n].*\n|\n)*")


@dataclass(frozen=True)
class Difference:
    """One file or unit: `change` is added, changed or removed.

    `diff` is a unified diff; "" where there is none to show, and `note` says why ("binary").
    """

    path: str
    change: str
    diff: str = ""
    note: str = ""


@dataclass(frozen=True)
class Preview:
    """One deployment: its commits from-to, newest first, and what that changes."""

    name: str
    before: str
    after: str
    commits: tuple[Summary, ...]
    files: tuple[Difference, ...]
    units: tuple[Difference, ...]


def previews(scope: Scope, plan: Plan) -> Iterator[Preview]:
    """The deployments that `plan` changes, by name."""
    old = plan.old.compiled if plan.old else None
    moved = {move.name for move in plan.moves}
    for name in sorted({*(old.deployments if old else ()), *plan.new.deployments}):
        before = old.deployments.get(name) if old else None
        after = plan.new.deployments.get(name)
        units = tuple(_units(name, old.files if old else {}, plan.new.files))
        files = tuple(_files(before, after))
        if name in moved or units or files:
            yield Preview(
                name,
                before.commit if before else "",
                after.commit if after else "",
                _commits(scope, before, after),
                files,
                units,
            )


def reread(plan: Plan) -> tuple[str, ...]:
    """The units whose text becomes another although they are not touched: a new tree's path."""
    if plan.old is None:
        return ()
    old, new = plan.old.compiled.files, plan.new.files
    changed = {name for name, file in new.items() if name in old and file != old[name]}
    units = {name.partition(".d/")[0] for name in changed}
    return tuple(sorted(units - plan.changes.why.keys()))


def _commits(scope: Scope, before: Built | None, after: Built | None) -> tuple[Summary, ...]:
    if after is None or (before and before.commit == after.commit):
        return ()
    mirror = Mirror.of(scope, Deployment(after.name, after.source))
    return git.log(mirror, before.commit if before else "", after.commit)


def _files(before: Built | None, after: Built | None) -> Iterator[Difference]:
    old = before.tree if before else None
    new = after.tree if after else None
    if old and new and old.path == new.path:
        return
    listed = {**(old.files if old else {}), **(new.files if new else {})}
    for path in sorted(listed):
        was = old.files.get(path) if old else None
        is_ = new.files.get(path) if new else None
        if was != is_:
            yield _difference(path, _content(old, path), _content(new, path))


def _units(
    name: str, old: Mapping[str, Mapping[str, object]], new: Mapping[str, Mapping[str, object]]
) -> Iterator[Difference]:
    own = {path for files in (old, new) for path in files if files[path]["deployment"] == name}
    for path in sorted(own):
        texts = [_unit_text(files.get(path)) for files in (old, new)]
        if texts[0] != texts[1]:
            yield _difference(path, *texts)


def _unit_text(entry: Mapping[str, object] | None) -> str | None:
    """A unit's text without what it quotes of the quadlet (X-Container and the like); a tree is
    named without its digest, since that alone changes nothing.
    """
    if entry is None:
        return None
    text = _QUOTED.sub("", str(entry["text"]))
    return _STORE.sub(r"store/\1", text)


def _content(tree: Tree | None, path: str) -> str | bytes | None:
    """What a tree has at `path`: a text, bytes that are none, or None for nothing."""
    if tree is None or path not in tree.files:
        return None
    mode, _ = tree.files[path]
    place = tree.path / path
    try:
        data = _read(place, is_link=mode == LINK)
    except (LegerError, OSError):
        return b""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return data
    return data if "\0" in text else f"{hidden(text)}{_mode(mode)}"


def _read(place: Path, *, is_link: bool) -> bytes:
    if is_link:
        return b"-> " + str(place.readlink()).encode(errors="replace")
    return disk.read_file(place, _MAX_BYTES)


def _mode(mode: int) -> str:
    """A program's bit as a last line of its own, so that it shows when it changes."""
    return "" if mode == LINK or not mode & 0o100 else "\n(executable)"


def _difference(path: str, before: str | bytes | None, after: str | bytes | None) -> Difference:
    change = "added" if before is None else "removed" if after is None else "changed"
    if isinstance(before, bytes) or isinstance(after, bytes):
        return Difference(path, change, note="binary or too large to show")
    old, new = (before or "").splitlines(), (after or "").splitlines()
    if max(len(old), len(new)) > _MAX_LINES:
        return Difference(path, change, note="too large to show")
    lines = difflib.unified_diff(old, new, f"a/{path}", f"b/{path}", lineterm="")
    diff = "\n".join(lines)
    return Difference(path, change, diff, "" if diff else "nothing that is shown")
