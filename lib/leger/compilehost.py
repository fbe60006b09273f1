"""What of the host matters to a compile, besides the deployments themselves."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from leger import adoption, config, generation, hostfolders, quadlet
from leger.errors import LegerError
from leger.model import Tree
from leger.prepare import Prepared
from leger.scope import Scope


@dataclass(frozen=True)
class Host:
    """For `leger validate` there is nothing of it.

    `files` are the host's own quadlets by name, `tree` a copy of them; `adopted` what each
    deployment takes over, `taken` the names of all of that; `own_units` what runs of ours already;
    `dropins` the host's drop-ins by the quadlet that they are for; `prefix` that of secrets.
    """

    user: bool = False
    prefix: str = ""
    files: Mapping[str, str] = field(default_factory=dict)
    tree: Tree | None = None
    unit_folders: Sequence[str] = ()
    adopted: Mapping[str, tuple[Path, ...]] = field(default_factory=dict)
    taken: frozenset[str] = frozenset()
    is_real: bool = False
    own_units: frozenset[str] = frozenset()
    dropins: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        scope: Scope,
        prepared: Mapping[str, Prepared],
        adopt: Collection[str],
        returning: Collection[str],
    ) -> Self:
        """This host as it is now; `adopt` and `returning` as in `compile.compile_scope`."""
        found = hostfolders.find(scope) | adoption.quadlets(scope, returning)
        names = {name: _quadlets(item.tree) for name, item in prepared.items()}
        adopted = {
            name: hostfolders.adoptable(scope, found, names[name])
            for name in prepared
            if name in adopt
        }
        return cls(
            user=scope.name == "user",
            prefix=config.load(scope).secrets_prefix,
            files={name: str(path) for name, path in found.items()},
            tree=hostfolders.copy(scope, found, {one for own in names.values() for one in own}),
            unit_folders=unit_folders(scope),
            adopted=adopted,
            taken=frozenset(path.name for paths in adopted.values() for path in paths),
            is_real=True,
            own_units=_own_units(scope),
            dropins=hostfolders.dropins(scope),
        )


def unit_folders(scope: Scope) -> tuple[str, ...]:
    """Where the manager looks for units that no generator made, the first winning."""
    root = scope.etc.parent.parent
    if scope.name == "user":
        home = Path.home()
        return (
            str(scope.etc.parent / "systemd/user"),
            "/etc/systemd/user",
            str(home / ".local/share/systemd/user"),
            "/usr/local/lib/systemd/user",
            "/usr/lib/systemd/user",
        )
    folders = ("etc/systemd/system", "usr/local/lib/systemd/system", "usr/lib/systemd/system")
    return tuple(str(root / folder) for folder in (*folders, "lib/systemd/system"))


def _quadlets(tree: Tree) -> set[str]:
    """The names of the tree's quadlets."""
    return {path.rpartition("/")[2] for path in tree.files if quadlet.is_quadlet(path)}


def _own_units(scope: Scope) -> frozenset[str]:
    """The units that the scope has now, whose ports become free in a switch."""
    try:
        current = generation.load_current(scope)
    except LegerError:
        return frozenset()
    return frozenset(current.compiled.files if current else ())
