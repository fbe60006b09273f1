"""`leger validate DIR`: what a folder of quadlets would be, without a host to put it on."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from leger import checkout, prepare
from leger import compile as compiling
from leger.config import Config
from leger.deployment import Deployment
from leger.faults import FaultsError
from leger.model import Fault
from leger.scope import Scope
from leger.yamlfile import Plain

_COMMIT = "0" * 40


def validate_folder(
    folder: Path, quadlet: Path | None, values: Mapping[str, Plain] | None = None
) -> tuple[list[Fault], list[Fault]]:
    """The faults and the warnings of `folder`; `values` stand for those that a host would give.

    With a `quadlet` binary everything is checked that a deploy checks on the content; without
    one (None), only what Leger itself knows. Nothing outside a temporary folder is written.
    """
    name = re.sub(r"[^a-z0-9-]+", "-", folder.resolve().name.lower()).strip("-")[:48] or "here"
    deployment = Deployment(name, str(folder), values=dict(values or {}))
    with tempfile.TemporaryDirectory(prefix="leger-validate-") as temporary:
        scope = Scope.system(Path(temporary))
        try:
            files = checkout.from_folder(folder, name)
            settings = Config(host_name="localhost")
            prepared = prepare.finish(scope, settings, deployment, _COMMIT, files)
        except FaultsError as error:
            return _unnamed(error.faults), []
        found = {name: prepared}
        inside = compiling.read(found)
        done = compiling.Compiler(found, inside, compiling.Host()).compiled(quadlet)
    return _unnamed(done.faults), _unnamed(done.warnings)


def _unnamed(faults: tuple[Fault, ...]) -> list[Fault]:
    """Without a deployment's name, which the folder has not."""
    return [replace(fault, deployment="") for fault in faults]
