"""From a plan to a generator's folder: units, drop-ins, links; one bad entry costs only itself."""

import posix

from leger_generator import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from leger_generator.journal import Journal


def emit(
    folder: str, texts: "Mapping[str, str]", links: "Mapping[str, str]", journal: "Journal"
) -> None:
    """Write `texts` and `links` (paths relative to `folder`), naming what cannot be written."""
    below = posix.open(folder, posix.O_RDONLY | posix.O_DIRECTORY | posix.O_CLOEXEC)
    made: set[str] = set()
    for path, text in texts.items():
        try:
            if "/" in path:
                _make_parent(path, below, made)
            files.write(path, text.encode(), below)
        except OSError as error:
            journal.say(f"{path}: not written: {error.strerror}")
    for path, target in links.items():
        try:
            if "/" in path:
                _make_parent(path, below, made)
            files.link(path, target, below)
        except OSError as error:
            journal.say(f"{path}: not linked: {error.strerror}")
    posix.close(below)


def replace(folder: str, texts: "Mapping[str, str]", journal: "Journal") -> None:
    """Replace units and drop-ins that `emit` wrote; one that fails keeps its text."""
    for path, text in texts.items():
        parent, slash, name = path.rpartition("/")
        temporary = f"{folder}/{parent}{slash}.{name}"
        try:
            files.write(temporary, text.encode())
            posix.rename(temporary, f"{folder}/{path}")
        except OSError as error:
            journal.say(f"{path}: keeps its recorded text: {error.strerror}")


def _make_parent(path: str, below: int, made: set[str]) -> None:
    """Make the one folder that a path of a plan may have."""
    parent = path.partition("/")[0]
    if parent in made:
        return
    try:  # noqa: SIM105 contextlib would cost 3 ms of every boot
        posix.mkdir(parent, 0o755, dir_fd=below)
    except FileExistsError:  # if it is no folder, what is to go into it says so
        pass
    made.add(parent)
