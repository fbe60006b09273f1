"""YAML, read with the line of every value; the only importer of yaml.

Scalars follow YAML 1.2's core schema (yes, on, 12:30 and 0644 are text), aliases are bounded, a
key may stand once in a mapping, and nothing but plain data is ever made.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path

import yaml

from leger.disk import read_file
from leger.errors import ConfigError

MAX_BYTES = 1 << 20
MAX_NODES = 100_000
_SURROGATE = re.compile("[\ud800-\udfff]")

Plain = None | bool | int | float | str | list["Plain"] | dict[str, "Plain"]


@dataclass(frozen=True)
class Node:
    """One value of a YAML file, with its place; `raw` is a scalar's text as written.

    `value` is a scalar, a tuple of nodes, or a mapping of text to nodes; what stands below a key
    has the key's line. All readers raise ConfigError naming file and line.
    """

    value: bool | int | float | str | tuple[Node, ...] | Mapping[str, Node] | None
    source: str
    line: int
    raw: str = ""

    def error(self, message: str, hint: str = "") -> ConfigError:
        """A ConfigError at this place."""
        return ConfigError(f"{self.source}:{self.line}: {message}", hint=hint)

    def mapping(self, known: Collection[str] | None = None) -> Mapping[str, Node]:
        """This mapping; a key that is not among `known` is an error. Nothing counts as empty."""
        if self.value is None:
            return {}
        if not isinstance(self.value, Mapping):
            raise self.error("a mapping (key: value) is expected")
        for key, node in self.value.items():
            if known is not None and key not in known:
                raise node.error(f"unknown key {key!r}", hint=_nearest(key, known))
        return self.value

    def sequence(self) -> tuple[Node, ...]:
        """This list; a single scalar counts as a list of one, nothing as empty."""
        if self.value is None:
            return ()
        if isinstance(self.value, Mapping):
            raise self.error("a list is expected")
        return self.value if isinstance(self.value, tuple) else (self,)

    def text(self) -> str:
        """This scalar's text as written (1.10 stays "1.10")."""
        if self.value is None or isinstance(self.value, (tuple, Mapping)):
            raise self.error("a text is expected")
        return self.value if isinstance(self.value, str) else self.raw

    def texts(self) -> tuple[str, ...]:
        """The texts of this list."""
        return tuple(node.text() for node in self.sequence())

    def boolean(self) -> bool:
        """This value, which must be true or false."""
        if not isinstance(self.value, bool):
            raise self.error("true or false is expected")
        return self.value

    def integer(self) -> int:
        """This whole number."""
        if isinstance(self.value, bool) or not isinstance(self.value, int):
            raise self.error("a whole number is expected")
        return self.value

    def choice(self, choices: Collection[str]) -> str:
        """This text, which must be one of `choices`."""
        if (text := self.text()) not in choices:
            raise self.error(
                f"{text!r} is not one of {', '.join(choices)}", hint=_nearest(text, choices)
            )
        return text

    def plain(self) -> Plain:
        """This value without its places."""
        if isinstance(self.value, Mapping):
            return {key: node.plain() for key, node in self.value.items()}
        if isinstance(self.value, tuple):
            return [node.plain() for node in self.value]
        return self.value


class _Loader(yaml.SafeLoader):
    """Reads YAML 1.2's core schema."""

    yaml_implicit_resolvers = {}  # noqa: RUF012


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:null", re.compile(r"^(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""]
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool",
    re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"),
    list("tTfF"),
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:int", re.compile(r"^[-+]?(?:0|[1-9][0-9]{0,18})$"), list("-+0123456789")
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:0|[1-9][0-9]{0,18})\.[0-9]{1,18}$"),
    list("-+0123456789"),
)


class _Dumper(yaml.SafeDumper):
    """Writes what `_Loader` reads.

    That is a number without an exponent, which would be a text, and a line's end of Unicode as an
    escape, which yaml would fold.
    """


def _number(dumper: _Dumper, value: float) -> yaml.ScalarNode:
    text = f"{Decimal(repr(value)):f}"
    return dumper.represent_scalar("tag:yaml.org,2002:float", text if "." in text else f"{text}.0")


def _text(dumper: _Dumper, value: str) -> yaml.ScalarNode:
    style = '"' if {*value} & {*"\x85\u2028\u2029"} else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style)


_Dumper.add_representer(float, _number)
_Dumper.add_representer(str, _text)


def read(path: Path) -> Node:
    """The YAML file `path` (at most 1 MiB, one document); an empty one is None."""
    return parse(read_file(path, MAX_BYTES), str(path))


def parse(data: bytes, source: str) -> Node:
    """The single YAML document in `data`; `source` names it in errors."""
    documents = parse_all(data, source)
    if len(documents) > 1:
        raise documents[1].error("only one YAML document is expected here")
    return documents[0] if documents else Node(None, source, 1)


def parse_all(data: bytes, source: str) -> tuple[Node, ...]:
    """Every YAML document in `data` (at most 1 MiB)."""
    if len(data) > MAX_BYTES:
        raise ConfigError(f"{source}: larger than {MAX_BYTES >> 20} MiB")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{source}:{line}: not UTF-8 text") from error
    loader = _loader(text, source)
    try:
        return tuple(_Reader(source).node(node) for node in _composed(loader))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise ConfigError(f"{source}:{line}: not valid YAML: {error.problem}") from error
    except RecursionError as error:
        raise ConfigError(f"{source}: nested too deeply") from error
    except (ValueError, OverflowError) as error:  # "\UFFFFFFFF", a %YAML of 5000 digits
        raise ConfigError(
            f"{source}:{loader.line + 1}: not valid YAML: an escape or number is too large"
        ) from error


def _loader(text: str, source: str) -> _Loader:
    try:
        return _Loader(text)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ConfigError(f"{source}:{line}: not valid YAML: {error.reason}") from error


def _composed(loader: _Loader) -> Iterator[yaml.Node]:
    """The documents, one after another, as yaml.compose_all gives them."""
    while loader.check_node() and (node := loader.get_node()):
        yield node


def dump(value: Plain) -> bytes:
    """`value` as block-style YAML in the given order, ending in a newline."""
    text: str = yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)
    return text.encode()


def _nearest(word: str, known: Collection[str]) -> str:
    near = difflib.get_close_matches(word, known, n=1)
    return f"did you mean {near[0]!r}?" if near else f"known: {', '.join(sorted(known))}"


class _Reader:
    """Turns yaml's nodes into ours; counts them as if aliases were written out."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.done: dict[int, tuple[Node, int]] = {}
        self.open: set[int] = set()

    def node(self, node: yaml.Node) -> Node:
        return self._sized(node)[0]

    def _sized(self, node: yaml.Node) -> tuple[Node, int]:
        identity = id(node)
        if identity in self.open:
            raise self._error(node, "a value cannot contain itself")
        if identity not in self.done:
            self.open.add(identity)
            self.done[identity] = self._read(node)
            self.open.discard(identity)
            if self.done[identity][1] > MAX_NODES:
                raise self._error(node, "too large")
        return self.done[identity]

    def _read(self, node: yaml.Node) -> tuple[Node, int]:
        line = node.start_mark.line + 1
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, line)
        if isinstance(node, yaml.SequenceNode):
            items = [self._sized(item) for item in node.value]
            value = tuple(item for item, _ in items)
            return Node(value, self.source, line), 1 + sum(size for _, size in items)
        return Node(self._scalar(node), self.source, line, self._text(node)), 1

    def _mapping(self, node: yaml.MappingNode, line: int) -> tuple[Node, int]:
        members: dict[str, Node] = {}
        size = 1
        for key, value in _pairs(node):
            if not isinstance(key, yaml.ScalarNode):
                raise self._error(key, "a key must be a plain text")
            name = self._text(key)
            if name in members:
                raise self._error(key, f"duplicate key {name!r}")
            member, count = self._sized(value)
            members[name] = replace(member, line=key.start_mark.line + 1)
            size += 1 + count
        return Node(members, self.source, line), size

    def _scalar(self, node: yaml.Node) -> bool | int | float | str | None:
        text = self._text(node)
        kind = str(node.tag).rpartition(":")[2]
        if kind == "null":
            return None
        if kind == "bool":
            return text.lower() == "true"
        try:
            return int(text) if kind == "int" else float(text) if kind == "float" else text
        except ValueError as error:
            raise self._error(node, f"{text[:60]!r} is not a number") from error

    def _text(self, node: yaml.Node) -> str:
        text = str(node.value)
        if not text.isascii() and _SURROGATE.search(text):
            raise self._error(node, "half of a surrogate pair (\\uD800 to \\uDFFF) is no character")
        return text

    def _error(self, node: yaml.Node, message: str) -> ConfigError:
        return ConfigError(f"{self.source}:{node.start_mark.line + 1}: {message}")


def _pairs(node: yaml.MappingNode) -> Iterator[tuple[yaml.Node, yaml.Node]]:
    yield from node.value
