"""A compiled deployment as JSON: in manifests, and where a compile is kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from leger.model import Binding, Built, Tree, Unit
from leger.normal import normal


def dump(built: Built) -> dict[str, object]:
    """All of `built` but the texts of its units, fit for JSON."""
    units = {}
    for name, unit in built.units.items():
        values = {item.name: getattr(unit, item.name) for item in fields(unit)}
        del values["text"], values["normal"], values["name"], values["deployment"]
        units[name] = values
    return {
        "commit": built.commit,
        "source": built.source,
        "tree": {
            "path": str(built.tree.path),
            "digest": built.tree.digest,
            "files": built.tree.files,
        },
        "units": units,
        "bindings": [vars(binding) for binding in built.bindings],
        "on_secret_change": built.on_secret_change,
        "adopted": [str(path) for path in built.adopted],
        "refers": sorted(built.refers),
        "settings": built.settings,
    }


def parse(name: str, raw: Any, files: Mapping[str, Mapping[str, object]]) -> Built:
    """What `dump` made of the deployment `name`, whose units' texts are in `files`.

    Raises KeyError, TypeError or ValueError for other shapes.
    """
    tree = raw["tree"]
    texts = {unit: str(files.get(unit, {}).get("text", "")) for unit in raw["units"]}
    return Built(
        name=name,
        commit=raw["commit"],
        source=raw["source"],
        tree=Tree(
            Path(tree["path"]),
            tree["digest"],
            {path: (int(mode), sum_) for path, (mode, sum_) in tree["files"].items()},
        ),
        units={
            unit: Unit(
                name=unit,
                deployment=name,
                text=texts[unit],
                **_unit(values, normal(texts[unit], Path(tree["path"]))),
            )
            for unit, values in raw["units"].items()
        },
        bindings=tuple(
            Binding(**{key: _tuple(value) for key, value in item.items()})
            for item in raw["bindings"]
        ),
        on_secret_change=raw["on_secret_change"],
        adopted=tuple(Path(path) for path in raw["adopted"]),
        refers=frozenset(raw["refers"]),
        settings=str(raw.get("settings", "")),
    )


def _unit(values: Mapping[str, object], text: str) -> dict[str, Any]:
    """What else a manifest says of a unit; those of before said the text for comparing, too."""
    return {"normal": text} | {key: _tuple(value) for key, value in values.items()}


def _tuple(value: object) -> Any:
    return tuple(value) if isinstance(value, list) else value
