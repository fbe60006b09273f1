"""What quadlet says, mapped to the deployment, the file and the line that it is about."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from leger.model import Fault
from leger.sources import Located, Source

_CONVERTING = re.compile(r"(?:[Ee]rror )?[Cc]onverting [\"']([^\"']+)[\"'](?:, ignoring)?: (.*)")
_LOADING = re.compile(r"[Ee]rror loading [\"']([^\"']+)[\"'](?:, ignoring|,)?:? (.*)")
_WARNING = re.compile(r"Warning: (\S+?):? (.*)")
_KEY = re.compile(r"[Uu]nsupported key '([^']+)' in group '([^']+)'")
_QUOTED = re.compile(r"[\"'“‘]([^\"'”’]+)[\"'”’]|(\S+\.[a-z]+)")


@dataclass(frozen=True)
class Told:
    """The messages of one run, sorted: `faults` and `warnings`."""

    faults: tuple[Fault, ...]
    warnings: tuple[Fault, ...]


def understand(
    messages: Iterable[str], sources: Sequence[Source], trees: Mapping[str, Path]
) -> Told:
    """Map the `messages` of a run over `trees` (deployment -> folder) to their places.

    What is about the host's own files is left out.
    """
    by_name = {source.name: source for source in sources}
    faults: list[Fault] = []
    warnings: list[Fault] = []
    for message in messages:
        if match := _LOADING.match(message):
            faults += _loading(match[1], match[2], trees)
        elif match := _CONVERTING.match(message):
            faults += _converting(match[1], match[2], by_name, trees)
        elif (match := _WARNING.match(message)) and match[1] in by_name:
            source = by_name[match[1]]
            text = _clean(match[2], trees)
            warnings.append(Fault(source.deployment, text, source.path, _line(source, text)))
    return Told(tuple(faults), tuple(dict.fromkeys(warnings)))


def _loading(path: str, message: str, trees: Mapping[str, Path]) -> list[Fault]:
    line = re.search(r"line (\d+)", message)
    for deployment, folder in trees.items():
        if path.startswith(f"{folder}/"):
            file = path.removeprefix(f"{folder}/")
            number = int(line[1]) if line else 0
            return [Fault(deployment, _clean(message, trees), file, number)]
    return []


def _converting(
    name: str, message: str, by_name: Mapping[str, Source], trees: Mapping[str, Path]
) -> list[Fault]:
    source = by_name.get(name.rpartition("/")[2])
    if source is None:
        return []
    text = _clean(message, trees)
    if match := _KEY.search(message):
        for place in source.named(match[2], match[1]):
            return [source.fault(place, f"unsupported key {match[1]!r} in [{match[2]}]")]
    meant = _meant(source, message)
    if meant is not None:
        return [source.fault(meant, text)]
    return [Fault(source.deployment, text, source.path, _line(source, text))]


def _meant(source: Source, message: str) -> Located | None:
    """The setting whose value the message quotes, else the one whose key it names."""
    places = [Located(path, setting) for path, file in source.files() for setting in file.settings]
    quoted = [first or second for first, second in _QUOTED.findall(message)]
    for text in quoted:
        for place in places:
            if text in place.setting.value and text != source.name:
                return place
    words = set(re.findall(r"[A-Za-z]+", message))
    named = [place for place in places if place.setting.key in words]
    return named[-1] if named else None


def _line(source: Source, _text: str) -> int:
    """The line of the quadlet's own section, where nothing says more."""
    return next((line for name, line in source.file.sections if name == source.section), 0)


def _clean(text: str, trees: Mapping[str, Path]) -> str:
    for folder in trees.values():
        text = text.replace(f"{folder}/", "")
    return text.strip()
