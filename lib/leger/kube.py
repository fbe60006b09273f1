"""The Kubernetes YAML of a .kube: its files in the tree, and the images that it names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from leger import yamlfile
from leger.errors import ConfigError
from leger.model import Fault, Tree
from leger.relative import joined
from leger.sources import Located, Source
from leger.unitfile import words
from leger.yamlfile import Node


def texts(source: Source, tree: Tree) -> dict[str, bytes]:
    """The YAML files that the .kube `source` plays, by their path in the tree."""
    return {
        path: (tree.path / path).read_bytes()
        for _, path in _files(source, tree)
        if _is_readable(tree, path)
    }


def faults(source: Source, tree: Tree) -> Iterator[Fault]:
    """YAML files that are no files, or too large to be looked into."""
    for place, path in _files(source, tree):
        if not _is_readable(tree, path):
            limit = yamlfile.MAX_BYTES >> 20
            yield source.fault(place, f"{path} is not a file of at most {limit} MiB")


def _files(source: Source, tree: Tree) -> Iterator[tuple[Located, str]]:
    for place in source.named("Kube", "Yaml"):
        for word in words(place.setting.value):
            path = joined(source.folder, word) or ""
            if path in tree.files:
                yield place, path


def _is_readable(tree: Tree, path: str) -> bool:
    file = tree.path / path
    return file.is_file() and file.stat().st_size <= yamlfile.MAX_BYTES


def images(found: Mapping[str, bytes], tree: Tree) -> tuple[str, ...]:
    """The images of all containers; what is built from a folder beside the YAML is left out."""
    named: dict[str, None] = {}
    for path, data in found.items():
        folder = path.rpartition("/")[0]
        try:
            documents = yamlfile.parse_all(data, path)
        except ConfigError:
            continue
        for image in (image for document in documents for image in _images(document)):
            context = joined(folder, image) or image
            if not any(file.startswith(f"{context}/") for file in tree.files):
                named[image] = None
    return tuple(named)


def _images(node: Node) -> Iterator[str]:
    if isinstance(node.value, tuple):
        for item in node.value:
            yield from _images(item)
    elif isinstance(node.value, Mapping):
        for key, item in node.value.items():
            if key in ("containers", "initContainers"):
                yield from _of_containers(item)
            else:
                yield from _images(item)


def _of_containers(node: Node) -> Iterator[str]:
    for item in node.value if isinstance(node.value, tuple) else ():
        image = item.value.get("image") if isinstance(item.value, Mapping) else None
        if image is not None and isinstance(image.value, str) and image.value:
            yield image.value


def claims(data: bytes, path: str) -> Iterator[str]:
    """The volumes that the YAML `data` claims (podman takes a claim's name as a volume's)."""
    try:
        documents = yamlfile.parse_all(data, path)
    except ConfigError:
        return
    for document in documents:
        yield from _claims(document)


def _claims(node: Node) -> Iterator[str]:
    if isinstance(node.value, tuple):
        for item in node.value:
            yield from _claims(item)
    elif isinstance(node.value, Mapping):
        for key, item in node.value.items():
            name = item.value.get("claimName") if isinstance(item.value, Mapping) else None
            if key == "persistentVolumeClaim" and name and isinstance(name.value, str):
                yield name.value
            else:
                yield from _claims(item)
