"""What was prepared last, so that the same commit is not read from Git and rendered once more.

One file for each deployment beside the mirrors: the tree that came of it, and all that it depended
on, as a checksum. Losing it costs time only.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from leger import __version__, disk, tree
from leger.config import Config
from leger.deployment import Deployment, dump
from leger.errors import LegerError
from leger.model import Fault, Tree
from leger.scope import Scope

MAX_BYTES = 64 << 20


@dataclass(frozen=True)
class Remembered:
    """A tree of store/, the warnings about it, and where its generated files come from.

    `origins` maps a path to (file, line); `key` stands for all that the tree was made of.
    """

    key: str
    tree: Tree
    warnings: tuple[Fault, ...]
    origins: dict[str, tuple[str, int]]

    @classmethod
    def load(cls, scope: Scope, name: str, key: str) -> Self | None:
        """What `key` became, if it was the last thing that was prepared of the deployment `name`.

        None as well when the tree is not there any more as it was written, or nearly so.
        """
        try:
            raw = json.loads(disk.read_file(_path(scope, name), MAX_BYTES))
            found = cls._parse(raw, scope, name) if raw["key"] == key else None
        except (LegerError, ValueError, KeyError, TypeError, AttributeError):
            return None
        return None if found is None or tree.is_suspect(found.tree) else found

    @classmethod
    def _parse(cls, raw: Any, scope: Scope, name: str) -> Self:
        files = {str(path): (int(mode), str(sum_)) for path, (mode, sum_) in raw["files"].items()}
        digest = tree.digest(files)
        return cls(
            key=str(raw["key"]),
            tree=Tree(scope.store / f"{name}-{digest}", digest, files),
            warnings=tuple(Fault(**item) for item in raw["warnings"]),
            origins={str(path): (str(file), int(n)) for path, (file, n) in raw["origins"].items()},
        )

    def save(self, scope: Scope, name: str) -> None:
        """Keep it for the next time. A disk that refuses is no reason to fail."""
        raw = {
            "key": self.key,
            "files": self.tree.files,
            "warnings": [asdict(fault) for fault in self.warnings],
            "origins": self.origins,
        }
        path = _path(scope, name)
        with contextlib.suppress(LegerError, OSError):
            disk.make_folder(path.parent)
            disk.write_file(path, json.dumps(raw, separators=(",", ":")).encode(), 0o600)


def key(scope: Scope, settings: Config, deployment: Deployment, commit: str, folder: str) -> str:
    """A checksum over all that the tree of `deployment` at `commit` is made of."""
    parts = (
        __version__,
        scope.name,
        str(scope.data),
        settings.host_name,
        settings.host_tags,
        repr(settings.limits),
        deployment.name,
        dump(deployment).decode(),
        folder,
        commit,
    )
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def forget(scope: Scope, name: str) -> None:
    """Remove what is remembered of a deployment that is gone."""
    _path(scope, name).unlink(missing_ok=True)


def _path(scope: Scope, name: str) -> Path:
    return scope.sources / f"{name}.prepared.json"
