"""Podman's own files: fsynced after a write, mended where a power cut or a kill broke them.

Podman writes secrets.json and secretsdata.json in place and without fsync. A kill between two of
its writes leaves a store that no secret of the host can be read from.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import time

from leger_hook.outcomes import Failure, say
from leger_hook.secrets import SOURCE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any


def _parsed(path: str) -> Any:
    """The JSON in `path`; None if there is none, or no file."""
    try:
        with open(path, "rb") as file:
            return json.load(file)
    except (FileNotFoundError, ValueError):
        return None


def set_aside(folder: str, why: str) -> None:
    """Rename a store of Podman that does not parse; Failure if that is not what is wrong."""
    metadata, values = f"{folder}/secrets.json", f"{folder}/filedriver/secretsdata.json"
    locks = [f"{folder}/secrets.lock", f"{folder}/filedriver/secretsdata.lock"]
    with locked(*filter(os.path.exists, locks)):
        present = [path for path in (metadata, values) if os.path.exists(path)]
        if all(isinstance(_parsed(path), dict) for path in present):
            raise Failure(f"podman cannot keep secrets: {why}; run: podman secret ls")
        others = _names_of_others(metadata) | _names_of_others(f"{metadata}.leger")
        unknown = "" if _parsed(metadata) else _since(f"{metadata}.leger")
        mark = time.strftime("broken-%Y%m%dT%H%M%S")
        for path in present:
            os.rename(path, f"{path}.{mark}")
        # Empty ones, not none: podman.service goes on with what it remembers where there is none.
        replace(values, b"{}")
        replace(metadata, b'{"secrets":{},"nameToID":{},"idToName":{}}')
        sync(os.path.dirname(values))
        sync(folder)
    again = ", ".join(sorted(others)) or "none"
    say(
        "error",
        f"podman's secrets could not be read and were set aside as {metadata}.{mark}; what Leger"
        f" knows comes back; not Leger's, make them again: {again}{unknown}",
    )


def _since(copy: str) -> str:
    try:
        made = time.strftime("%F %T", time.localtime(os.stat(copy).st_mtime))
    except FileNotFoundError:
        return " (no copy of their names was kept)"
    return f" (not known: what was made after {made})"


def _names_of_others(path: str) -> set[str]:
    """The secrets in a secrets.json, whole or not, that bear no label of ours."""
    with contextlib.suppress(OSError), open(path, errors="replace") as file:
        entries = re.split(r'"name": *"', file.read())[1:]
        return {entry.partition('"')[0] for entry in entries if f'"{SOURCE}"' not in entry}
    return set()


def beside(values_folder: str) -> str:
    """Podman's secrets.json; "" if it lies elsewhere, as a configured folder of values makes it."""
    path = f"{os.path.dirname(values_folder)}/secrets.json"
    return path if os.path.exists(path) else ""


def drop_stale(metadata: str, names: Sequence[str]) -> None:
    """Drop what a replace leaves behind where the value was lost: a second entry of the name."""
    with locked(f"{os.path.dirname(metadata)}/secrets.lock"):
        store = _parsed(metadata)
        current = store["nameToID"] if isinstance(store, dict) else {}
        stale = [
            key
            for key, entry in (store["secrets"] if current else {}).items()
            if entry["name"] in names and current.get(entry["name"]) != key
        ]
        for key in stale:
            del store["secrets"][key]
            store["idToName"].pop(key, None)
        if stale:
            replace(metadata, json.dumps(store, indent=2).encode())


def make_durable(metadata: str, values_folder: str) -> None:
    """fsync both files of Podman's store and their folders; keep the names for `set_aside`."""
    keep_names(metadata)
    folder = os.path.dirname(metadata)
    for path in (f"{values_folder}/secretsdata.json", values_folder, metadata, folder):
        sync(path)


def keep_names(metadata: str) -> None:
    """Keep a copy of what Podman knows but values, in case that it is lost: see `set_aside`."""
    with contextlib.suppress(OSError):
        if not os.path.exists(f"{metadata}.leger") or _is_newer(metadata):
            store = _parsed(metadata)
            if isinstance(store, dict):
                replace(f"{metadata}.leger", json.dumps(store, indent=2).encode())


def _is_newer(path: str) -> bool:
    return os.stat(path).st_mtime_ns > os.stat(f"{path}.leger").st_mtime_ns


def replace(path: str, data: bytes) -> None:
    """Replace `path` as a whole, readable by its owner only."""
    temporary = f"{path}.{os.getpid()}"
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.rename(temporary, path)


def sync(path: str) -> None:
    """Make a file, or the names in a folder, durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def locked(*paths: str) -> Iterator[None]:
    """Hold the locks `paths`, in Podman's own manner (fcntl), so that they hold against it too."""
    with contextlib.ExitStack() as stack:
        for path in paths:
            file = stack.enter_context(open(path, "ab"))
            fcntl.lockf(file, fcntl.LOCK_EX)
        yield
