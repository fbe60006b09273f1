"""leger validate: the checks of a deploy, for a folder of quadlets or a host of a fleet."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from leger.cli import formats, output
from leger.cli.pairs import pairs
from leger.errors import InvalidQuadletsError, UsageError
from leger.model import Fault

if TYPE_CHECKING:
    from leger.deployment import Deployment
    from leger.validate import HostCheck


def run(options: argparse.Namespace) -> int:
    """Check the folder; exit code 4 if it cannot be deployed."""
    from leger import quadlet

    folder = Path(options.folder)
    if not folder.is_dir():
        raise UsageError(f"{folder}: not a folder")
    if options.tag and not options.host:
        raise UsageError("--tag goes with --host")
    if options.host and (options.set or options.format != "text"):
        raise UsageError("--set and --format do not go with --host")
    given = Path(options.quadlet).absolute() if options.quadlet else None
    binary = given or next((path for path in quadlet.INSTALLED if path.exists()), None)
    return _host(folder, binary, options) if options.host else _folder(folder, binary, options)


def _folder(folder: Path, binary: Path | None, options: argparse.Namespace) -> int:
    from leger import validate

    values = pairs(options.set, "--set")
    faults, warnings = validate.validate_folder(folder, binary, values)
    if faults and (folder / "deployments.d").is_dir():
        output.progress(f"leger: hint: if {folder} is a fleet, --host NAME checks a host of it")
    if options.json:
        output.document(_findings(faults, warnings))
    elif options.format != "text":
        for line in formats.told(options.format, folder, faults, warnings):
            output.result(line)
    else:
        _tell(faults, warnings)
        if not faults:
            output.result(f"{folder}: can be deployed")
    return InvalidQuadletsError.exit_code if faults else 0


def _host(folder: Path, binary: Path | None, options: argparse.Namespace) -> int:
    """Show and check what a host would get of the fleet in the folder."""
    from leger import validate
    from leger.fleet import Member

    member = Member.of(options.host, options.tag)
    own = [tag for tag in options.tag if not tag.startswith("tag:")]
    check = validate.validate_host(folder, member, binary, own)
    if options.json:
        output.document(_described(options.host, check))
    else:
        for name, item in check.deployments.items():
            output.result(f"{name}: {_place(item, check.commits.get(name, ''))}")
            for key, value in item.values.items():
                output.result(f"  {key}: {json.dumps(value, ensure_ascii=False)}")
        output.failures(check.failed)
        _tell(check.faults, check.warnings)
        if check.is_good:
            count = len(check.deployments)
            output.progress(f"{options.host}: {count} deployment{'' if count == 1 else 's'}")
    return 0 if check.is_good else InvalidQuadletsError.exit_code


def _place(item: Deployment, commit: str) -> str:
    where = " ".join(part for part in (item.source, item.ref, item.path) if part)
    return f"{where} ({commit[:12]})" if commit else where


def _described(host: str, check: HostCheck) -> dict[str, object]:
    deployments = {
        name: {
            "source": item.source,
            "ref": item.ref,
            "path": item.path,
            "commit": check.commits.get(name, ""),
            "update": item.update,
            "values": dict(item.values),
        }
        for name, item in check.deployments.items()
    }
    failed = {name: str(error) for name, error in check.failed.items()}
    found = _findings(check.faults, check.warnings)
    return {"host": host, "deployments": deployments, "failed": failed, **found}


def _tell(faults: Iterable[Fault], warnings: Iterable[Fault]) -> None:
    output.warnings(warnings)
    for fault in faults:
        output.error(InvalidQuadletsError(str(fault), hint=fault.hint))


def _findings(faults: Iterable[Fault], warnings: Iterable[Fault]) -> dict[str, object]:
    return {"faults": [_raw(item) for item in faults], "warnings": [_raw(i) for i in warnings]}


def _raw(fault: Fault) -> dict[str, object]:
    named = {"deployment": fault.deployment} if fault.deployment else {}
    place = {"file": fault.file, "line": fault.line}
    return {**named, **place, "message": fault.message, "hint": fault.hint}
