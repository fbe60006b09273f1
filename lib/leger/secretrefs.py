"""The Podman secrets that quadlets use, in every spelling, and what each is bound to."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from leger import yamlfile
from leger.errors import ConfigError
from leger.faults import in_file
from leger.model import Fault
from leger.sources import Located, Source
from leger.unitfile import options, words
from leger.yamlfile import Node

_OPTIONS = ("source", "type", "target", "uid", "gid", "mode")
_NAME = re.compile(r"[^,/=\0\s]{1,253}")
_FOREIGN_SPECIFIER = re.compile(r"%(?![iIjJpPnN%])")


@dataclass(frozen=True)
class Reference:
    """One use of a Podman secret; `name` is SECRET or, for a .kube, SECRET/KEY."""

    name: str
    file: str
    line: int
    required: bool = True


@dataclass(frozen=True)
class Found:
    """The references of one quadlet and what is wrong with them."""

    references: tuple[Reference, ...]
    faults: tuple[Fault, ...] = ()


def of_container(source: Source) -> Found:
    """Secret= and PodmanArgs=--secret of a .container with its drop-ins."""
    references: list[Reference] = []
    faults: list[Fault] = []
    for place, specification in _specifications(source):
        name, wrong = _parse(specification)
        if wrong:
            faults.append(source.fault(place, *wrong))
        else:
            references.append(Reference(name, place.file, place.setting.line))
    return Found(tuple(references), tuple(faults))


def of_kube(source: Source, texts: Mapping[str, bytes], keys: Mapping[str, bool]) -> Found:
    """The Kubernetes Secrets that a .kube's YAML files (path -> content) refer to, key by key.

    `keys` are the SECRET/KEY names that the host's or the author's file lists, and whether they
    are required: a reference to a whole Secret means all of its keys among them.
    """
    references: list[Reference] = []
    faults: list[Fault] = []
    for path, data in texts.items():
        try:
            documents = yamlfile.parse_all(data, path)
            made = {name for node in documents for name in _secrets_made(node)}
            for node in documents:
                references += [
                    reference
                    for reference in _walk(node, keys)
                    if reference.name.partition("/")[0] not in made
                ]
        except ConfigError as error:
            faults.append(in_file(source.deployment, path, error))
    whole = [reference for reference in references if "/" not in reference.name]
    faults += [
        Fault(
            source.deployment,
            f"the keys of Kubernetes Secret {reference.name!r} are not known",
            reference.file,
            reference.line,
            f"list them in .leger.yaml: secrets: [{reference.name}/KEY]",
        )
        for reference in whole
    ]
    kept = dict.fromkeys(reference for reference in references if "/" in reference.name)
    return Found(tuple(kept), tuple(faults))


def own_bindings(source: Source, prefix: str) -> tuple[dict[str, str], list[Fault]]:
    """[X-Leger] Secret=NAME=LEGERD-NAME[:VERSION]; the names must lie below `prefix`."""
    bound: dict[str, str] = {}
    faults: list[Fault] = []
    for place in source.named("X-Leger", "Secret"):
        for word in words(place.setting.value):
            name, _, legerd = word.partition("=")
            if _NAME.fullmatch(name.partition("/")[0]) is None or not legerd:
                hint = "write Secret=NAME=LEGERD-NAME"
                faults.append(source.fault(place, f"{word!r} binds no secret", hint))
            elif not legerd.startswith(prefix):
                faults.append(
                    source.fault(
                        place,
                        f"secret {legerd!r} is not below {prefix!r}",
                        "only the host's file may name other secrets: secrets: in deployments.d/",
                    )
                )
            else:
                bound[name] = legerd
    return bound, [*faults, *_misused(source)]


def expand(text: str, unit: str) -> str:
    """`text` with the specifiers of the instance `unit` (web@1.service) written out."""
    stem = unit.rpartition(".")[0]
    prefix, at, instance = stem.partition("@")
    if not at or not instance:
        return text
    names = {
        "i": instance, "I": _unescaped(instance), "p": prefix, "P": _unescaped(prefix),
        "n": unit, "N": stem, "j": prefix.rpartition("-")[2],
        "J": _unescaped(prefix.rpartition("-")[2]), "%": "%",
    }  # fmt: skip
    return re.sub(r"%([iIpPnNjJ%])", lambda match: names[match[1]], text)


def _unescaped(text: str) -> str:
    text = text.replace("-", "/")
    return re.sub(r"\\x([0-9a-f]{2})", lambda match: chr(int(match[1], 16)), text)


def _misused(source: Source) -> Iterator[Fault]:
    for path, file in source.files():
        for setting in file.settings:
            if setting.section == "X-Leger" and setting.key not in ("Secret", "OnSecretChange"):
                place = Located(path, setting)
                yield source.fault(place, f"unknown key {setting.key!r} in [X-Leger]")
    for place in source.named("X-Leger", "OnSecretChange"):
        if place.setting.value not in ("restart", "reload", "none"):
            yield source.fault(place, "OnSecretChange= is restart, reload or none")


def _specifications(source: Source) -> Iterator[tuple[Located, str]]:
    for place in source.values(source.section, "Secret"):
        for word in words(place.setting.value):
            yield place, word
    for place in source.values(source.section, "PodmanArgs"):
        for specification in options(words(place.setting.value), "--secret"):
            yield place, specification


def _parse(specification: str) -> tuple[str, tuple[str, str] | None]:
    """The name in one --secret specification, or what is wrong with it and the hint."""
    name, *settings = specification.split(",")
    if "=" in name:
        name, settings = "", [name, *settings]
    for option in settings:
        key, _, value = option.partition("=")
        if wrong := _wrong_option(key, value):
            return "", wrong
        name = value if key == "source" else name
    return name, _wrong_name(name, specification)


def _wrong_name(name: str, specification: str) -> tuple[str, str] | None:
    if not name:
        return f"{specification!r} names no secret", "options follow a comma: NAME,type=env"
    if _NAME.fullmatch(name) is None:
        return f"{name!r} is not the name of a Podman secret", ""
    if _FOREIGN_SPECIFIER.search(name):
        return (
            f"{name!r}: only %i, %I, %j, %J, %p, %P, %n, %N can be in a secret's name",
            "write %% for a percent sign",
        )
    return None


def _wrong_option(key: str, value: str) -> tuple[str, str] | None:
    if key not in _OPTIONS:
        near = difflib.get_close_matches(key, _OPTIONS, n=1)
        hint = f"did you mean {near[0]}=?" if near else f"known: {', '.join(_OPTIONS)}"
        return f"Secret= has no option {key!r}", hint
    wrong = _wrong_value(key, value)
    return (wrong, "") if wrong else None


def _wrong_value(key: str, value: str) -> str:
    if key == "type" and value not in ("mount", "env"):
        return f"type={value} of a secret is neither mount nor env"
    if key in ("uid", "gid") and not value.isdecimal():
        return f"{key}={value} of a secret is not a number"
    if key == "mode" and re.fullmatch(r"0?[0-7]{1,4}", value) is None:
        return f"mode={value} of a secret is not an octal mode"
    return ""


def _secrets_made(node: Node) -> Iterator[str]:
    """The Secrets that a document brings itself."""
    member = node.value if isinstance(node.value, Mapping) else {}
    if "kind" in member and member["kind"].value == "Secret":
        metadata = member["metadata"].value if "metadata" in member else None
        if isinstance(metadata, Mapping) and "name" in metadata:
            yield metadata["name"].text()


def _walk(node: Node, keys: Mapping[str, bool]) -> Iterator[Reference]:
    if isinstance(node.value, tuple):
        for item in node.value:
            yield from _walk(item, keys)
    elif isinstance(node.value, Mapping):
        for key, item in node.value.items():
            if key in _READERS and isinstance(item.value, Mapping):
                yield from _READERS[key](item, keys)
            else:
                yield from _walk(item, keys)


def _key_reference(node: Node, _keys: Mapping[str, bool]) -> Iterator[Reference]:
    """env[].valueFrom.secretKeyRef."""
    member = node.mapping()
    if "name" not in member or "key" not in member:
        raise node.error("secretKeyRef needs name and key")
    name = f"{member['name'].text()}/{member['key'].text()}"
    yield Reference(name, node.source, node.line, not _optional(member))


def _whole_reference(node: Node, keys: Mapping[str, bool]) -> Iterator[Reference]:
    """envFrom[].secretRef, volumes[].secret, projected sources: one key or all that are listed."""
    member = node.mapping()
    named = member.get("secretName", member.get("name"))
    if named is None:
        raise node.error("the name of the Secret is missing")
    secret = named.text()
    required = not _optional(member)
    items = member["items"].sequence() if "items" in member else ()
    listed = [item.mapping()["key"].text() for item in items if "key" in item.mapping()]
    known = listed or [name.partition("/")[2] for name in keys if name.startswith(f"{secret}/")]
    for key in known:
        name = f"{secret}/{key}"
        yield Reference(name, node.source, node.line, required and keys.get(name, True))
    if not known:
        yield Reference(secret, node.source, node.line, required)


def _optional(member: Mapping[str, Node]) -> bool:
    return "optional" in member and member["optional"].boolean()


_READERS = {
    "secretKeyRef": _key_reference,
    "secretRef": _whole_reference,
    "secret": _whole_reference,
}
