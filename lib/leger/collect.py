"""Collection: generations and trees that nothing needs any more."""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from leger_generator import plan

from leger import config, disk, generation, imageids, retention, staging
from leger.config import Keep
from leger.errors import CancelledError, LegerError
from leger.scope import Scope

_STORE = re.compile(rb"/store/([a-z0-9-]+-[0-9a-f]{16})(?=[/ ])")
_FIRST, _LAST = '{"deployments":', '"search":['  # as plan.encode sorts them


def collect(scope: Scope, keep: Keep | None = None) -> list[Path]:
    """Forget generations as `keep` (config.yaml's) says, and remove trees that none names.

    A tree that a running process has mounted stays (without it the mounts would turn empty), and
    so does one that a staged deployment waits with.
    Returns what was removed.
    """
    current = generation.Current.read(scope)
    if current is None or scope.switch.exists():
        return []
    try:
        with disk.lock_folder(scope.store, wait=False):
            return _collect(scope, current, keep or config.load(scope).keep)
    except CancelledError:
        return []  # a plan is being made of trees that no generation names yet


def _collect(scope: Scope, current: generation.Current, keep: Keep) -> list[Path]:
    imageids.release(retention.forget(scope, current.point.generation, keep, time.time()))
    try:
        needed = {name for number in generation.numbers(scope) for name in _trees(scope, number)}
    except LegerError:
        return []
    needed |= mounted() | staging.trees(scope)
    for path in scope.store.glob(".*"):
        shutil.rmtree(path, ignore_errors=True)  # what a cut left half made or half removed
    unneeded = [path for path in _present(scope) if path.name not in needed]
    for path in unneeded:
        _remove(path)
    return unneeded


def mounted(proc: Path = Path("/proc")) -> set[str]:
    """The names of the trees that are mounted in any process's view of the file system."""
    seen: set[str] = set()
    found: set[bytes] = set()
    for process in proc.iterdir():
        if not process.name.isdigit():
            continue
        try:
            view = str((process / "ns/mnt").readlink())
            if view not in seen:
                seen.add(view)
                found |= set(_STORE.findall((process / "mountinfo").read_bytes()))
        except OSError:
            continue
    return {name.decode() for name in found}


def _trees(scope: Scope, number: int) -> Iterator[str]:
    """The trees that a kept generation names, that of the host's own quadlets too.

    Its units.json names them all, and has a checksum. LegerError if it or the manifest is not
    whole: then nothing goes.
    """
    path = generation.manifest_path(scope, number)
    if not disk.read_file(path, generation.MAX_BYTES).endswith(b"}\n"):
        raise LegerError(f"{path}: cannot be understood")
    path = generation.units_path(scope, number)
    try:
        _, body = plan.seal(disk.read_file(path, plan.MAX_BYTES))
    except plan.PlanError as error:
        raise LegerError(f"{path}: cannot be understood") from error
    text = str(body, "utf-8")
    try:  # what is between these two are the units, which are many and name nothing else
        deployments = _value(text, text.index(_FIRST))
        search = _value(text, text.rindex(_LAST))
        places = [*(built["store"] for built in deployments.values()), *search]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise LegerError(f"{path}: cannot be understood") from error
    yield from (Path(place).name for place in places)


def _value(text: str, start: int) -> Any:
    """The JSON value of the key that stands at `start`."""
    return json.JSONDecoder().raw_decode(text, text.index(":", start) + 1)[0]


def _present(scope: Scope) -> list[Path]:
    if not scope.store.is_dir():
        return []
    return sorted(path for path in scope.store.iterdir() if not path.name.startswith("."))


def _remove(path: Path) -> None:
    """First out of the way under another name: a tree is whole or not there."""
    aside = path.with_name(f".gone-{path.name}")
    shutil.rmtree(aside, ignore_errors=True)
    path.rename(aside)
    shutil.rmtree(aside, ignore_errors=True)
