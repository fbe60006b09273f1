"""What would keep quadlet from reading a folder at all, or make it loop: found before it runs."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Mapping

from leger_generator.names import is_unit_name

from leger import quadlet, sources
from leger.model import Fault, Tree
from leger.tree import LINK
from leger.unitfile import UnitFile, words

_INSTALL = ("Alias", "WantedBy", "RequiredBy", "UpheldBy", "DefaultInstance", "Also")
_MOST_CONTINUED = 10_000
_NEED_SECTION = ("container", "kube", "image", "build")


def texts(deployment: str, tree: Tree) -> tuple[dict[str, str], list[Fault]]:
    """The text of every quadlet and drop-in of `tree`, and what cannot be one."""
    found: dict[str, str] = {}
    faults: list[Fault] = []
    for path in tree.files:
        if not (quadlet.is_quadlet(path) or sources.is_quadlet_dropin(path)):
            continue
        text = _text(deployment, tree, path)
        if isinstance(text, Fault):
            faults.append(text)
        else:
            found[path] = text
    return found, faults


def faults(
    deployment: str, tree: Tree, found: Mapping[str, str], read: Iterable[sources.Source]
) -> list[Fault]:
    """What in the names and in the syntax of these texts, `read` already, quadlet stumbles over."""
    return [
        *_folders(deployment, tree),
        *_twice(deployment, found),
        *(fault for source in read for fault in _names(source)),
        *(fault for path, text in found.items() for fault in _syntax(deployment, path, text)),
    ]


def _text(deployment: str, tree: Tree, path: str) -> str | Fault:
    name = path.rpartition("/")[2]
    if name.startswith("."):
        return Fault(
            deployment,
            "a hidden file with a quadlet's name: quadlet cannot load its folder",
            path,
            hint="remove it, or name it in exclude:",
        )
    file = f"{tree.path}/{path}"
    try:
        status = os.stat(file)
    except OSError:
        status = None
    if status is None or not stat.S_ISREG(status.st_mode):
        what = "a link that leads nowhere" if tree.files[path][0] == LINK else "no file"
        return Fault(deployment, f"{what} with a quadlet's name", path)
    if status.st_size > sources.MAX_BYTES:
        return Fault(deployment, f"larger than {sources.MAX_BYTES >> 20} MiB", path)
    with open(file, "rb", buffering=0) as stream:
        data = stream.readall()
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        return Fault(deployment, "not UTF-8 text", path, line)
    if "\0" in text:
        return Fault(deployment, "a binary file", path, text.count("\n", 0, text.index("\0")) + 1)
    return text


def _folders(deployment: str, tree: Tree) -> Iterator[Fault]:
    seen: set[str] = set()
    for path in tree.files:
        parts = path.split("/")[:-1]
        for count, part in enumerate(parts, 1):
            folder = "/".join(parts[:count])
            if quadlet.is_quadlet(part) and folder not in seen:
                seen.add(folder)
                message = "a folder with a quadlet's name: quadlet cannot load what is beside it"
                yield Fault(deployment, message, folder)


def _twice(deployment: str, found: Mapping[str, str]) -> Iterator[Fault]:
    first: dict[str, str] = {}
    for path in sorted(filter(quadlet.is_quadlet, found)):
        twin = first.setdefault(path.rpartition("/")[2], path)
        if twin != path:
            yield Fault(deployment, f"{twin} has the same name: quadlet takes one of them", path)


def _names(source: sources.Source) -> Iterator[Fault]:
    """Names that quadlet would write a file by: none may lead out of its folder."""
    if not is_unit_name(source.unit):
        places = source.named(source.section, "ServiceName")
        message = f"systemd takes no unit called {source.unit!r}"
        line = max((place.setting.line for place in places), default=0)
        yield Fault(source.deployment, message, source.path, line)
    for place in source.named("Install", *_INSTALL):
        for word in words(place.setting.value):
            if "/" in word:
                yield source.fault(place, f"{word!r} is not the name of a unit")


def _syntax(deployment: str, path: str, text: str) -> Iterator[Fault]:
    if text.count("\\\n") > _MOST_CONTINUED:
        message = f"more than {_MOST_CONTINUED:,} lines that end in \\: quadlet takes for ever"
        yield Fault(deployment, message, path)
    file = UnitFile.parse(text)
    for line in file.odd:
        message = "neither KEY=VALUE nor [SECTION] nor a comment"
        yield Fault(deployment, message, path, line)
    for line in file.dangling:
        yield Fault(
            deployment,
            "ends in \\ with nothing on the next line: old versions of quadlet loop on it",
            path,
            line,
            "remove the last backslash",
        )
    for setting in file.settings:
        if not setting.section:
            yield Fault(deployment, "a setting before the first [SECTION]", path, setting.line)
    if quadlet.kind(path) in _NEED_SECTION:
        section = quadlet.SECTIONS[quadlet.kind(path)]
        if not any(name == section for name, _ in file.sections):
            yield Fault(deployment, f"has no [{section}] section", path, 1 if text else 0)
