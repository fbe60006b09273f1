"""From a commit to a tree in store/: checked, rendered, complete, and never changed again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from leger import author as authors
from leger import checkout, config, git, render, tree, yamlfile
from leger.author import Author
from leger.config import Config
from leger.deployment import Deployment
from leger.errors import ConfigError
from leger.faults import FaultsError
from leger.model import Fault, Tree
from leger.scope import Scope
from leger.tree import File
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
    it is empty for a tree that was reopened.
    """

    deployment: Deployment
    commit: str
    tree: Tree
    author: Author
    warnings: tuple[Fault, ...] = ()
    origins: Mapping[str, Origin] = field(default_factory=dict)


def prepare(scope: Scope, deployment: Deployment, commit: str) -> Prepared:
    """Write the deployment's tree at `commit` (fetched before) to store/.

    Raises FaultsError with every fault of the content, ConfigError for a host's file.
    """
    settings = config.load(scope)
    mirror = git.Mirror.of(scope, deployment)
    with git.Commit(mirror, commit) as source:
        folder = git.folder(scope, deployment)
        files = checkout.checkout(source, folder, deployment.name, settings.limits)
        author = read_author(deployment, files)
        rendered = render_files(settings, deployment, author, commit, files)
        written = tree.write(scope, deployment.name, rendered)
    return Prepared(deployment, commit, written, author)


def reopen(scope: Scope, deployment: Deployment, store: Path, commit: str) -> Prepared:
    """A deployment whose tree is in store/ already; nothing is fetched or rendered.

    Raises LegerError when the tree is gone.
    """
    found = tree.read(store)
    path = store / authors.FILE
    files = {authors.FILE: File.of(path.read_bytes())} if authors.FILE in found.files else {}
    return Prepared(deployment, commit, found, read_author(deployment, files))


def read_author(deployment: Deployment, files: Mapping[str, File]) -> Author:
    """What `.leger.yaml` says; nothing without it. Raises FaultsError."""
    file = files.get(authors.FILE)
    if file is None:
        return Author()
    try:
        return Author.parse(yamlfile.parse(file.read(), authors.FILE))
    except ConfigError as error:
        raise FaultsError([_fault(deployment, error)]) from error


def render_files(
    settings: Config,
    deployment: Deployment,
    author: Author,
    commit: str,
    files: Mapping[str, File],
) -> dict[str, File]:
    """The files that stay, with their templates rendered."""
    kept = checkout.without(files, (*author.exclude, *deployment.exclude))
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
    return render.render(deployment.name, kept, context)


def _fault(deployment: Deployment, error: ConfigError) -> Fault:
    file, _, rest = str(error).partition(":")
    line, _, message = rest.partition(":")
    number = int(line) if line.isdigit() else 0
    return Fault(deployment.name, message.strip() if number else rest, file, number, error.hint)
