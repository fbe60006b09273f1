"""Two compiled sets as one: some deployments as they were, the others as they have become."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from leger.model import Compiled


def keep(old: Compiled, new: Compiled, names: Collection[str]) -> Compiled:
    """`new`, in which the deployments `names` are as in `old`, without their faults.

    One that `old` does not have is not there.
    """
    kept = {name: built for name, built in old.deployments.items() if name in names}
    others = {name: built for name, built in new.deployments.items() if name not in names}
    return replace(
        new,
        deployments=dict(sorted({**others, **kept}.items())),
        files=_others(new.files, names)
        | {path: file for path, file in old.files.items() if file["deployment"] in names},
        links=_links(new, names, of_them=False) | _links(old, names, of_them=True),
        faults=tuple(fault for fault in new.faults if fault.deployment not in names),
        warnings=(
            *new.warnings,
            *(
                replace(fault, message=f"{fault.message}; it stays as it was deployed")
                for fault in new.faults
                if fault.deployment in names
            ),
        ),
    )


def _others(
    files: Mapping[str, Mapping[str, object]], names: Collection[str]
) -> dict[str, Mapping[str, object]]:
    return {path: file for path, file in files.items() if file["deployment"] not in names}


def _links(compiled: Compiled, names: Collection[str], *, of_them: bool) -> dict[str, str]:
    """The links whose target is a unit of `names`, or those of all others."""
    units = {path for path, file in compiled.files.items() if file["deployment"] in names}
    return {
        path: target
        for path, target in compiled.links.items()
        if (target.rpartition("/")[2] in units) is of_them
    }
