"""From a plan to a generator's folder: units, drop-ins, links; one bad entry costs only itself."""

import os

from leger_generator import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from leger_generator.journal import Journal


def emit(
    folder: str, texts: "Mapping[str, str]", links: "Mapping[str, str]", journal: "Journal"
) -> None:
    """Write `texts` and `links` (paths relative to `folder`), naming what cannot be written."""
    made: set[str] = set()
    for path, text in texts.items():
        try:
            _make_parent(folder, path, made)
            files.write(f"{folder}/{path}", text.encode())
        except OSError as error:
            journal.say(f"{path}: not written: {error.strerror}")
    for path, target in links.items():
        try:
            _make_parent(folder, path, made)
            files.link(f"{folder}/{path}", target)
        except OSError as error:
            journal.say(f"{path}: not linked: {error.strerror}")


def replace(folder: str, texts: "Mapping[str, str]", journal: "Journal") -> None:
    """Replace units and drop-ins that `emit` wrote; one that fails keeps its text."""
    for path, text in texts.items():
        parent, slash, name = path.rpartition("/")
        temporary = f"{folder}/{parent}{slash}.{name}"
        try:
            files.write(temporary, text.encode())
            os.rename(temporary, f"{folder}/{path}")
        except OSError as error:
            journal.say(f"{path}: keeps its recorded text: {error.strerror}")


def _make_parent(folder: str, path: str, made: set[str]) -> None:
    if "/" not in path:
        return
    parent = path.rpartition("/")[0]
    if parent not in made:
        os.makedirs(f"{folder}/{parent}", mode=0o755, exist_ok=True)
        made.add(parent)
