"""`.leger.yaml`: what a repository's author knows about the folder that is deployed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Self

from leger.deployment import Deployment, Health, relative_path
from leger.yamlfile import Node, Plain

FILE = ".leger.yaml"
_HOSTS = ("source", "ref", "path", "scope", "verify", "update", "replaces", "fresh", "auth")
_KEYS = ("description", "secrets", "values", "health", "on-secret-change", "exclude", "data")
_KINDS: Mapping[str, Callable[[Plain], bool]] = {
    "text": lambda value: isinstance(value, str),
    "number": lambda value: isinstance(value, (int, float)) and not isinstance(value, bool),
    "boolean": lambda value: isinstance(value, bool),
    "list": lambda value: isinstance(value, list),
    "mapping": lambda value: isinstance(value, dict),
    "any": lambda _value: True,
}
_VALUE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
RESERVED = ("values", "host", "deployment", "commit")


@dataclass(frozen=True)
class Wanted:
    """A secret that the author names; an optional one may be missing."""

    name: str
    description: str = ""
    required: bool = True


@dataclass(frozen=True)
class Value:
    """A value that templates use; without a default the host must give it."""

    name: str
    kind: str = "any"
    default: Plain = None
    has_default: bool = False
    description: str = ""


@dataclass(frozen=True)
class Author:
    """The whole of `.leger.yaml`."""

    description: str = ""
    secrets: Mapping[str, Wanted] = field(default_factory=dict)
    values: Mapping[str, Value] = field(default_factory=dict)
    health: Health | None = None
    on_secret_change: str | None = None
    exclude: tuple[str, ...] = ()
    data: tuple[str, ...] = ()

    @classmethod
    def parse(cls, raw: Node) -> Self:
        """Read `.leger.yaml`; raises ConfigError naming file and line."""
        keys = raw.mapping()
        for key in (key for key in keys if key in _HOSTS):
            raise keys[key].error(f"{key} is the host's to say", hint="set it in deployments.d/")
        raw.mapping(_KEYS)
        empty = Node(None, raw.source, raw.line)
        change = keys.get("on-secret-change")
        return cls(
            description=keys["description"].text() if "description" in keys else "",
            secrets={
                name: _secret(name, node) for name, node in _named(keys.get("secrets", empty))
            },
            values={name: _value(name, node) for name, node in _named(keys.get("values", empty))},
            health=Health.parse(keys["health"]) if "health" in keys else None,
            on_secret_change=change.choice(("restart", "reload", "none")) if change else None,
            exclude=keys.get("exclude", empty).texts(),
            data=tuple(relative_path(node) for node in keys.get("data", empty).sequence()),
        )

    def required(self, podman: str) -> bool:
        """Whether the Podman secret `podman` must have a value."""
        return podman not in self.secrets or self.secrets[podman].required


def on_secret_change(deployment: Deployment, author: Author) -> str:
    """What happens to units whose secret changed: the host's word, the author's, or a restart."""
    return deployment.on_secret_change or author.on_secret_change or "restart"


def health(deployment: Deployment, author: Author) -> Health:
    """How a start is judged: the host's word, the author's, or the defaults."""
    return deployment.health or author.health or Health()


def values(deployment: Deployment, author: Author) -> tuple[dict[str, Plain], list[str]]:
    """The values that templates get, and what is wrong with them."""
    given = dict(deployment.values)
    wrong = [
        f"value {name!r}: use letters, digits and _, and none of {', '.join(RESERVED)}"
        for name in given
        if _VALUE_NAME.fullmatch(name) is None or name in RESERVED
    ]
    for name, value in author.values.items():
        if name not in given and value.has_default:
            given[name] = value.default
        elif name not in given:
            wrong.append(f"value {name!r} is needed: {value.description or value.kind}")
        elif not _KINDS[value.kind](given[name]):
            wrong.append(f"value {name!r} is not a {value.kind}: {given[name]!r}")
    return given, wrong


def _named(node: Node) -> Iterator[tuple[str, Node]]:
    """The entries of a mapping by name, or of a list of names and of mappings with `name:`."""
    if isinstance(node.value, Mapping):
        yield from node.value.items()
        return
    for item in node.sequence():
        if isinstance(item.value, Mapping):
            if "name" not in item.value:
                raise item.error("name is missing")
            yield item.value["name"].text(), item
        else:
            yield item.text(), Node(None, item.source, item.line)


def _secret(name: str, node: Node) -> Wanted:
    keys = node.mapping(["name", "description", "required"])
    return Wanted(
        name,
        keys["description"].text() if "description" in keys else "",
        keys["required"].boolean() if "required" in keys else True,
    )


def _value(name: str, node: Node) -> Value:
    if _VALUE_NAME.fullmatch(name) is None or name in RESERVED:
        raise node.error(f"a value cannot be called {name!r}")
    if node.value is not None and not isinstance(node.value, Mapping):
        return Value(name, default=node.plain(), has_default=True)
    keys = node.mapping(["name", "type", "default", "description"])
    kind = keys["type"].choice(tuple(_KINDS)) if "type" in keys else "any"
    default = keys["default"].plain() if "default" in keys else None
    if "default" in keys and not _KINDS[kind](default):
        raise keys["default"].error(f"the default of {name!r} is not a {kind}")
    return Value(
        name,
        kind,
        default,
        "default" in keys,
        keys["description"].text() if "description" in keys else "",
    )
