"""leger validate: the checks of a deploy, for a folder."""

from __future__ import annotations

import argparse
from pathlib import Path

from leger.cli import output
from leger.errors import InvalidQuadletsError, UsageError
from leger.model import Fault


def run(options: argparse.Namespace) -> int:
    """Check the folder; exit code 4 if it cannot be deployed."""
    from leger import quadlet, validate

    folder = Path(options.folder)
    if not folder.is_dir():
        raise UsageError(f"{folder}: not a folder")
    given = Path(options.quadlet) if options.quadlet else None
    binary = given or next((path for path in quadlet.INSTALLED if path.exists()), None)
    faults, warnings = validate.validate_folder(folder, binary)
    if options.json:
        output.document(
            {"faults": [_raw(item) for item in faults], "warnings": [_raw(i) for i in warnings]}
        )
        return InvalidQuadletsError.exit_code if faults else 0
    output.warnings(warnings)
    for fault in faults:
        output.error(InvalidQuadletsError(str(fault), hint=fault.hint))
    if not faults:
        output.result(f"{folder}: can be deployed")
    return InvalidQuadletsError.exit_code if faults else 0


def _raw(fault: Fault) -> dict[str, object]:
    return {"file": fault.file, "line": fault.line, "message": fault.message, "hint": fault.hint}
