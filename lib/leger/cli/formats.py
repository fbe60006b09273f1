"""Faults as other programs take them: editors, GitHub's annotations, GitLab's code quality."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from leger.model import Fault

_ESCAPED = {"%": "%25", "\r": "%0D", "\n": "%0A"}


def told(form: str, folder: Path, faults: Sequence[Fault], warnings: Sequence[Fault]) -> list[str]:
    """The lines of `form` (gcc, github or gitlab); paths are those of `folder` as it was given."""
    found = [(fault, "error") for fault in faults] + [(fault, "warning") for fault in warnings]
    if form == "gitlab":
        return [json.dumps([_gitlab(folder, *one) for one in found], indent=2)]
    line = _gcc if form == "gcc" else _github
    return [line(folder, *one) for one in found]


def _gcc(folder: Path, fault: Fault, severity: str) -> str:
    """FILE:LINE: error: MESSAGE, as compilers say it."""
    hint = f" ({' '.join(fault.hint.split())})" if fault.hint else ""
    return f"{folder / fault.file}:{max(1, fault.line)}: {severity}: {_flat(fault.message)}{hint}"


def _github(folder: Path, fault: Fault, severity: str) -> str:
    """A workflow command (docs.github.com: workflow commands, setting an error message)."""
    text = "".join(_ESCAPED.get(letter, letter) for letter in _whole(fault))
    path = "".join(_ESCAPED.get(letter, letter) for letter in str(folder / fault.file))
    path = path.replace(":", "%3A").replace(",", "%2C")
    return f"::{severity} file={path},line={max(1, fault.line)}::{text}"


def _gitlab(folder: Path, fault: Fault, severity: str) -> dict[str, object]:
    """One issue of a code quality report (docs.gitlab.com: code quality, report format)."""
    path = str(folder / fault.file)
    print_ = hashlib.sha256(
        f"{path}\0{fault.line}\0{fault.message}".encode(errors="replace")
    ).hexdigest()
    return {
        "description": _whole(fault),
        "check_name": "leger",
        "fingerprint": print_,
        "severity": "major" if severity == "error" else "minor",
        "location": {"path": path, "lines": {"begin": max(1, fault.line)}},
    }


def _whole(fault: Fault) -> str:
    return "\n".join(filter(None, (fault.message, fault.hint)))


def _flat(text: str) -> str:
    return " ".join(text.split())
