"""From a commit to a tree in store/: checked, rendered, complete, and never changed again."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from leger import author as authors
from leger import (
    bundle,
    checkout,
    config,
    dropins,
    git,
    quadlet,
    relative,
    remembered,
    render,
    signature,
    sources,
    tree,
    yamlfile,
)
from leger.author import Author
from leger.config import Config
from leger.deployment import Deployment
from leger.errors import ConfigError
from leger.faults import FaultsError, in_file
from leger.model import Built, Fault, Tree
from leger.remembered import Remembered
from leger.scope import Scope
from leger.tree import File
from leger.unitfile import UnitFile
from leger.yamlfile import Plain


@dataclass(frozen=True)
class Origin:
    """Where the text of a file of the tree comes from: line 1 of it is line `line` of `file`."""

    file: str
    line: int = 1


@dataclass(frozen=True)
class Prepared:
    """One deployment whose tree is in store/ (or, for `validate`, in a folder).

    `origins` tells for files that the repository does not have as they are where they come from;
    it is empty for a tree that was reopened. `settings` is Config.rendering at that time.
    """

    deployment: Deployment
    commit: str
    tree: Tree
    author: Author
    warnings: tuple[Fault, ...] = ()
    origins: Mapping[str, Origin] = field(default_factory=dict)
    settings: str = ""


@dataclass(frozen=True)
class Finished:
    """The files of a tree to be, as they will be written."""

    files: Mapping[str, File]
    origins: Mapping[str, Origin]
    warnings: tuple[Fault, ...]


def prepare(
    scope: Scope,
    deployment: Deployment,
    commit: str,
    *,
    mend: bool = False,
    spare: Path | None = None,
    verified: bool = False,
) -> Prepared:
    """Write the deployment's tree at `commit` (fetched before) to store/.

    What was prepared last is taken as it is, if nothing that went into it changed. With `mend` a
    tree that is there already is compared, and put right where it was changed, but for the one to
    `spare`. What was deployed was `verified` then: its tag may have moved since.

    Raises FaultsError with every fault of the content, ConfigError for a host's file, LegerError
    for a commit that nobody allowed has signed.
    """
    settings = config.load(scope)
    mirror = git.Mirror.of(scope, deployment)
    if not verified:
        signature.check(mirror, deployment, commit)
    folder = git.folder(scope, deployment)
    key = remembered.key(scope, settings, deployment, commit, folder)
    if known := Remembered.load(scope, deployment.name, key):
        return _again(settings, deployment, commit, known)
    with git.opened(mirror, commit) as source:
        entries = tuple(source.entries(folder, settings.limits.files))
        author = read_author(deployment, checkout.single(source, entries, authors.FILE))
        exclude = (*author.exclude, *deployment.exclude)
        kept = [entry for entry in entries if not checkout.excluded(entry.path, exclude)]
        files = checkout.checkout(source, kept, deployment.name, settings.limits)
        done = finish(
            scope, settings, deployment, commit, files, author=author, mend=mend, spare=spare
        )
    origins = {path: (origin.file, origin.line) for path, origin in done.origins.items()}
    Remembered(key, done.tree, done.warnings, origins).save(scope, deployment.name)
    return done


def _again(settings: Config, deployment: Deployment, commit: str, known: Remembered) -> Prepared:
    origins = {path: Origin(*place) for path, place in known.origins.items()}
    author = _author_in(deployment, known.tree)
    made_with = settings.rendering
    return Prepared(deployment, commit, known.tree, author, known.warnings, origins, made_with)


def finish(
    scope: Scope,
    settings: Config,
    deployment: Deployment,
    commit: str,
    files: Mapping[str, File],
    *,
    author: Author,
    mend: bool = False,
    spare: Path | None = None,
) -> Prepared:
    """Render, expand and write `files`, which are as the repository has them and none is excluded.

    `author` is what its `.leger.yaml` says.
    Raises FaultsError with every fault of the content.
    """
    rendered = _rendered(settings, deployment, author, commit, files)
    done = _expanded(scope, deployment, author, rendered)
    written = tree.write(scope, deployment.name, done.files, mend=mend, spare=spare)
    made_with = settings.rendering
    return Prepared(deployment, commit, written, author, done.warnings, done.origins, made_with)


def reopen(deployment: Deployment, built: Built) -> Prepared:
    """A deployment whose tree is in store/ already; nothing is fetched or rendered.

    Raises LegerError when the tree is gone.
    """
    found = tree.read(built.tree.path)
    author = _author_in(deployment, found)
    return Prepared(deployment, built.commit, found, author, settings=built.settings)


def _author_in(deployment: Deployment, found: Tree) -> Author:
    path = found.path / authors.FILE
    files = {authors.FILE: File.of(path.read_bytes())} if authors.FILE in found.files else {}
    return read_author(deployment, files)


def read_author(deployment: Deployment, files: Mapping[str, File]) -> Author:
    """What `.leger.yaml` says; nothing without it. Raises FaultsError."""
    file = files.get(authors.FILE)
    if file is None:
        return Author()
    if file.is_link:
        raise FaultsError([Fault(deployment.name, "must be a file, not a link", authors.FILE)])
    if file.size > yamlfile.MAX_BYTES:
        raise FaultsError([Fault(deployment.name, "larger than 1 MiB", authors.FILE)])
    try:
        return Author.parse(yamlfile.parse(file.read(), authors.FILE))
    except ConfigError as error:
        raise FaultsError([in_file(deployment.name, authors.FILE, error)]) from error


def _rendered(
    settings: Config,
    deployment: Deployment,
    author: Author,
    commit: str,
    files: Mapping[str, File],
) -> dict[str, File]:
    """The files with their templates rendered."""
    values, wrong = authors.values(deployment, author)
    if wrong:
        raise FaultsError(Fault(deployment.name, text) for text in wrong)
    tags: list[Plain] = list(settings.host_tags)
    context: dict[str, Plain] = {
        **values,
        "values": values,
        "host": {"name": settings.host_name, "tags": tags},
        "deployment": {"name": deployment.name},
        "commit": commit,
    }
    return render.render(deployment.name, files, context)


def _expanded(
    scope: Scope, deployment: Deployment, author: Author, files: Mapping[str, File]
) -> Finished:
    """Bundles and shared drop-ins as single files, and the relative paths decided."""
    single, parts = bundle.expand(deployment.name, files)
    expanded, copies = dropins.expand(single)
    origins = {path: Origin(part.path, part.line) for path, part in parts.items()}
    origins |= {path: Origin(copied) for path, copied in copies.items()}
    data = (*author.data, *deployment.data)
    texts = _texts(expanded)
    result = relative.rewrite(
        sources.read(deployment.name, texts),
        relative.Content.of(expanded.keys(), data, checkout.targets(expanded)),
        scope.data / deployment.name,
    )
    faults = [fault for fault in result.faults if not _is_link(fault.file, expanded)]
    faults += _files_in_files(deployment.name, expanded)
    if faults:
        raise FaultsError(at_origin(fault, origins) for fault in faults)
    for path, changes in result.changes.items():
        if not _is_link(path, expanded):
            text = UnitFile.parse(texts[path]).replaced(changes)
            expanded[path] = File.of(text.encode(), expanded[path].mode)
    warnings = (fault for fault in result.warnings if not _is_link(fault.file, expanded))
    return Finished(expanded, origins, tuple(at_origin(fault, origins) for fault in warnings))


def _files_in_files(name: str, files: Mapping[str, File]) -> Iterator[Fault]:
    """What a template or a bundle became has the name of a folder."""
    for path in files:
        parts = path.split("/")
        for count in range(1, len(parts)):
            if (folder := "/".join(parts[:count])) in files:
                yield Fault(name, f"{folder} is a file, and {path} needs it as a folder", folder)


def at_origin(fault: Fault, origins: Mapping[str, Origin]) -> Fault:
    """`fault` at the place that the author wrote."""
    origin = origins.get(fault.file)
    if origin is None:
        return fault
    line = fault.line + origin.line - 1 if fault.line else 0
    return replace(fault, file=origin.file, line=line)


def _texts(files: Mapping[str, File]) -> dict[str, str]:
    """The quadlets and their drop-ins, links followed; what is no text is found by the compile."""
    targets = checkout.targets(files)
    texts: dict[str, str] = {}
    for path in files:
        if quadlet.is_quadlet(path) or sources.is_quadlet_dropin(path):
            file = files.get(checkout.resolve(path, targets) or "")
            if file and not file.is_link and file.size <= sources.MAX_BYTES:
                with contextlib.suppress(UnicodeDecodeError):
                    texts[path] = file.read().decode()
    return texts


def _is_link(path: str, files: Mapping[str, File]) -> bool:
    return path in files and files[path].is_link
