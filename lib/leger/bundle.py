"""`.quadlets` bundles: several quadlets in one file, which only `podman quadlet install` knows.

The sections are split by `---` lines; each holds `# FileName=NAME` and one quadlet, whose kind
its own section tells (podman-quadlet-install(1)).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from leger import quadlet
from leger.faults import FaultsError
from leger.model import Fault
from leger.tree import File
from leger.unitfile import UnitFile

SUFFIX = ".quadlets"
_MAX_BYTES = 1 << 20
_NAME = re.compile(r"^\s*#\s*FileName\s*=\s*(\S.*?)\s*$")
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@:-]{0,200}")


@dataclass(frozen=True)
class Part:
    """One quadlet of a bundle: the file that it becomes; its text starts at `line`."""

    path: str
    text: str
    line: int


def expand(name: str, files: Mapping[str, File]) -> tuple[dict[str, File], dict[str, Part]]:
    """`files` with every bundle replaced by its quadlets, and the part that each came from.

    The key of the second mapping is the new file, its Part's path the bundle. Raises FaultsError.
    """
    kept = {path: file for path, file in files.items() if not _is_bundle(path, file)}
    origins: dict[str, Part] = {}
    faults: list[Fault] = []
    for path in sorted(files.keys() - kept.keys()):
        for part in _parts(name, path, files[path], faults):
            if part.path in kept:
                message = f"{part.path} is there already"
                faults.append(Fault(name, message, path, part.line))
            kept[part.path] = File.of(part.text.encode())
            origins[part.path] = Part(path, part.text, part.line)
    if faults:
        raise FaultsError(faults)
    return kept, origins


def _is_bundle(path: str, file: File) -> bool:
    return path.endswith(SUFFIX) and not file.is_link


def _parts(name: str, path: str, file: File, faults: list[Fault]) -> Iterator[Part]:
    if file.size > _MAX_BYTES:
        faults.append(Fault(name, "too large for a bundle of quadlets", path))
        return
    try:
        text = file.read().decode()
    except UnicodeDecodeError:
        faults.append(Fault(name, "not UTF-8 text", path))
        return
    for line, lines in _sections(text.split("\n")):
        part = _part(path, line, lines)
        if isinstance(part, Part):
            yield part
        elif part:
            faults.append(Fault(name, part, path, line))


def _sections(lines: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    start = 1
    section: list[str] = []
    for number, line in enumerate(lines, 1):
        if line.strip() == "---":
            yield start, section
            start, section = number + 1, []
        else:
            section.append(line)
    yield start, section


def _part(path: str, line: int, lines: Sequence[str]) -> Part | str:
    """One section as a quadlet, or what is wrong with it; "" for an empty one."""
    if not any(text.strip() for text in lines):
        return ""
    text = "\n".join(lines)
    names = [match[1] for match in map(_NAME.match, lines) if match]
    if len(names) != 1:
        return "each part needs one line # FileName=NAME"
    kinds = {
        suffix
        for suffix, section in quadlet.SECTIONS.items()
        if any(found == section for found, _ in UnitFile.parse(text).sections)
    }
    if len(kinds) != 1:
        return "each part needs one quadlet section, like [Container]"
    kind = kinds.pop()
    stem = names[0].removesuffix(f".{kind}")
    if _PLAIN_NAME.fullmatch(stem) is None:
        return f"{names[0]!r} is not the name of a quadlet"
    folder = path.rpartition("/")[0]
    file = f"{stem}.{kind}"
    return Part(f"{folder}/{file}" if folder else file, f"{text.rstrip()}\n", line)
