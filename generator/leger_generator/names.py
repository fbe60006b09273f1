"""Which names may lie below a generator's folder: unit names, their folders, drop-ins, links."""

SUFFIXES = (
    "service",
    "socket",
    "target",
    "timer",
    "path",
    "mount",
    "automount",
    "swap",
    "slice",
    "scope",
    "device",
)
LINK_FOLDERS = (".wants", ".requires", ".upholds")
_LEGAL = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:-_.\\@")
_MAX_NAME = 255
_REMEMBERED = 10_000
_known: set[str] = set()


def is_unit_name(name: str) -> bool:
    """Whether systemd takes `name` as a unit's name (systemd.unit(5)); templates count.

    Most names come again and again: as a file, as a link's own name and as its target.
    """
    if name in _known:
        return True
    stem, dot, suffix = name.rpartition(".")
    legal = (
        bool(dot and stem)
        and len(name) <= _MAX_NAME
        and suffix in SUFFIXES
        and stem[0] not in "@."
        and _LEGAL.issuperset(stem)
    )
    if legal and len(_known) < _REMEMBERED:
        _known.add(name)
    return legal


def is_file_path(path: str) -> bool:
    """Whether a file may be written at `path`: UNIT, or UNIT.d/NAME.conf (also service.d/)."""
    folder, slash, name = path.rpartition("/")
    if not slash:
        return is_unit_name(path)
    return (
        folder.endswith(".d")
        and _is_drop_in_target(folder[:-2])
        and name.endswith(".conf")
        and _is_plain_name(name)
    )


def is_link(path: str, target: str) -> bool:
    """Whether a link may be made at `path`: an alias, an instance, UNIT.wants/UNIT and the like.

    `target` is relative and names a unit file in the generator's own folder.
    """
    folder, slash, name = path.rpartition("/")
    if not slash:
        return is_unit_name(path) and is_unit_name(target)
    stem, dot, kind = folder.rpartition(".")
    return (
        dot + kind in LINK_FOLDERS
        and is_unit_name(stem)
        and is_unit_name(name)
        and target.startswith("../")
        and is_unit_name(target[3:])
    )


def _is_drop_in_target(name: str) -> bool:
    return name in SUFFIXES or is_unit_name(name)


def _is_plain_name(name: str) -> bool:
    printable = name.isprintable() and "/" not in name
    return printable and not name.startswith(".") and len(name.encode()) <= _MAX_NAME
