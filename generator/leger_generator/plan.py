"""units.json: the compiled units of one scope, with a checksum; the format belongs here.

Two lines. The first is {"format":1,"blake2b":HEX of the second line's bytes}. The second holds
"generation", "scope", "quadlet" (the identity of the binary that made the units), "deployments"
({NAME: {"store", "commit"}}), "search" (the host's own quadlet folders that came last),
"files" ({RELPATH: {"text", "deployment", "hook"}}) and "links" ({RELPATH: TARGET}), the paths
relative to the generator's folder. "hook" is there only for a drop-in that Leger adds: the
arguments of secrets-hook, so that the drop-in can be composed again for another unit text.

The library writes it with `encode`; the generator reads it with `decode`, which refuses a file
that is not whole but takes a whole file with bad entries without these, and names them.
"""

from _blake2 import blake2b

from leger_generator import jsontext
from leger_generator.names import is_file_path, is_link

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence, Set
    from typing import Self

FORMAT = 1
MAX_BYTES = 64 << 20
SCOPES = ("system", "user")
_DIGEST_BYTES = 32
_IDENTITY_NUMBERS = ("size", "mtime_ns", "ino", "dev")


class PlanError(Exception):
    """units.json cannot be understood; the message says why and holds nothing of its content."""


class File:
    """One unit or drop-in: text, owner, and the arguments of secrets-hook if Leger added it."""

    __slots__ = ("deployment", "hook", "text")

    def __init__(self, text: str, deployment: str, hook: "Sequence[str] | None" = None) -> None:
        self.text = text
        self.deployment = deployment
        self.hook = None if hook is None else tuple(hook)

    @classmethod
    def parse(cls, path: str, raw: object) -> "Self":
        """Check one entry of "files"; PlanError says what is wrong with it."""
        if not is_file_path(path):
            raise PlanError("not the path of a unit or drop-in")
        if not isinstance(raw, dict):
            raise PlanError("not an object")
        text, deployment, hook = raw.get("text"), raw.get("deployment"), raw.get("hook")
        if not isinstance(text, str) or not _is_clean(text):
            raise PlanError("its text is missing or not text")
        if not isinstance(deployment, str):
            raise PlanError("it belongs to no deployment")
        if hook is not None and not _is_list_of_text(hook):
            raise PlanError("its hook is not a list of arguments")
        return cls(text, deployment, hook)

    def raw(self) -> "dict[str, object]":
        """The entry as JSON takes it."""
        entry: dict[str, object] = {"text": self.text, "deployment": self.deployment}
        if self.hook is not None:
            entry["hook"] = list(self.hook)
        return entry


class Plan:
    """What units.json holds; `problems` names the entries that were left out, one line each.

    `bad` holds the paths of files and links among them, which an older plan may still have;
    `quadlet` is an identity as `identity.quadlet_identity` yields it (empty: unknown);
    `digest` is the checksum in hex of a plan that was decoded or encoded.
    """

    __slots__ = (
        "bad",
        "deployments",
        "digest",
        "files",
        "generation",
        "links",
        "problems",
        "quadlet",
        "scope",
        "search",
    )

    def __init__(
        self,
        generation: int,
        scope: str,
        *,
        quadlet: "Mapping[str, object]",
        deployments: "Mapping[str, Mapping[str, str]]",
        search: "Sequence[str]" = (),
        files: "Mapping[str, File] | None" = None,
        links: "Mapping[str, str] | None" = None,
        problems: "Sequence[str]" = (),
        bad: "Set[str]" = frozenset(),
        digest: str = "",
    ) -> None:
        self.generation = generation
        self.scope = scope
        self.quadlet = dict(quadlet)
        self.deployments = {name: dict(value) for name, value in deployments.items()}
        self.search = tuple(search)
        self.files = dict(files or {})
        self.links = dict(links or {})
        self.problems = tuple(problems)
        self.bad = set(bad)
        self.digest = digest

    @classmethod
    def parse(cls, raw: object, *, digest: str = "") -> "Self":
        """Check what JSON yielded; a bad entry is left out and named in `problems`.

        PlanError if what concerns the whole (generation, scope, the shape) is wrong.
        """
        if not isinstance(raw, dict):
            raise PlanError("its second line is not an object")
        generation, scope = raw.get("generation"), raw.get("scope")
        if type(generation) is not int or generation < 0:
            raise PlanError("its generation is not a number")
        if scope not in SCOPES:
            raise PlanError("its scope is neither system nor user")
        problems: list[str] = []
        bad: set[str] = set()
        return cls(
            generation,
            scope,
            quadlet=_quadlet(raw.get("quadlet"), problems),
            deployments=dict(_deployments(raw, problems)),
            search=_search(raw.get("search"), problems),
            files=dict(_files(raw, problems, bad)),
            links=dict(_links(raw, problems, bad)),
            problems=problems,
            bad=bad,
            digest=digest,
        )

    def raw(self) -> "dict[str, object]":
        """The second line as JSON takes it."""
        return {
            "generation": self.generation,
            "scope": self.scope,
            "quadlet": self.quadlet,
            "deployments": self.deployments,
            "search": list(self.search),
            "files": {path: file.raw() for path, file in self.files.items()},
            "links": self.links,
        }


def encode(plan: Plan) -> bytes:
    """The bytes of units.json; sets `plan.digest`. PlanError if a reader would leave out a part."""
    import json  # what it costs counts for readers only

    text = json.dumps(plan.raw(), ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    try:
        body = text.encode()
    except UnicodeEncodeError as error:
        raise PlanError("a text in it is not Unicode") from error
    faults = plan.problems or Plan.parse(plan.raw()).problems
    if faults:
        raise PlanError(faults[0])
    plan.digest = _digest(body)
    head = json.dumps({"format": FORMAT, "blake2b": plan.digest}, separators=(",", ":"))
    data = head.encode() + b"\n" + body + b"\n"
    if len(data) > MAX_BYTES:
        raise PlanError(f"larger than {MAX_BYTES >> 20} MiB")
    return data


def decode(data: bytes) -> Plan:
    """Read units.json; PlanError if it is not whole, not ours, or from a later version."""
    digest, body = seal(data)
    return Plan.parse(_json(body), digest=digest)


def seal(data: bytes) -> "tuple[str, memoryview]":
    """The checksum of a units.json, and its second line; PlanError if it is not whole."""
    if len(data) > MAX_BYTES:
        raise PlanError(f"larger than {MAX_BYTES >> 20} MiB")
    digest = head_digest(data)
    start = data.index(b"\n") + 1 if b"\n" in data else len(data)
    body = memoryview(data)[start : len(data) - data.endswith(b"\n")]
    if _digest(body) != digest:
        raise PlanError("its checksum is wrong: cut off or damaged")
    return digest, body


def head_digest(data: bytes) -> str:
    """The checksum that the first line names; PlanError if there is none or the format is newer."""
    if not data:
        raise PlanError("it is empty")
    head = _json(data[: data.find(b"\n", 0, 4096)])
    if not isinstance(head, dict) or type(head.get("format")) is not int:
        raise PlanError("its first line names no format")
    if head["format"] != FORMAT:
        raise PlanError(f"its format is {head['format']}, this Leger knows {FORMAT}")
    digest = head.get("blake2b")
    if not isinstance(digest, str):
        raise PlanError("its first line names no checksum")
    return digest


def _digest(body: "bytes | memoryview") -> str:
    return blake2b(body, digest_size=_DIGEST_BYTES).hexdigest()


def _json(data: "bytes | memoryview") -> object:
    try:
        return jsontext.loads(str(data, "utf-8"))
    except (ValueError, RecursionError) as error:
        raise PlanError("it is not JSON") from error


def _is_clean(text: str) -> bool:
    return ("\0" not in text and text.isascii()) or _is_unicode(text)


def _is_unicode(text: str) -> bool:
    try:
        return b"\0" not in text.encode()
    except UnicodeEncodeError:
        return False


def _is_list_of_text(raw: object) -> bool:
    return isinstance(raw, list) and all(isinstance(part, str) and _is_clean(part) for part in raw)


def _quadlet(raw: object, problems: "list[str]") -> "dict[str, object]":
    if raw is None or raw == {}:
        return {}
    if (
        isinstance(raw, dict)
        and isinstance(raw.get("path"), str)
        and all(type(raw.get(key)) is int for key in _IDENTITY_NUMBERS)
    ):
        return raw
    problems.append("quadlet: not the identity of a binary")
    return {}


def _search(raw: object, problems: "list[str]") -> "list[str]":
    if raw is None:
        return []
    if isinstance(raw, list) and all(_is_folder(path) for path in raw):
        return raw
    problems.append("search: not a list of absolute folders")
    return []


def _is_folder(path: object) -> bool:
    return isinstance(path, str) and path.startswith("/") and ":" not in path and _is_clean(path)


def _section(
    raw: "Mapping[str, object]", name: str, problems: "list[str]"
) -> "Mapping[str, object]":
    section = raw.get(name, {})
    if isinstance(section, dict):
        return section
    problems.append(f"{name}: not an object")
    return {}


def _deployments(
    raw: "Mapping[str, object]", problems: "list[str]"
) -> "Iterator[tuple[str, Mapping[str, str]]]":
    for name, value in _section(raw, "deployments", problems).items():
        if (
            isinstance(value, dict)
            and _is_folder(value.get("store"))
            and isinstance(value.get("commit"), str)
        ):
            yield name, value
        else:
            problems.append(f"deployment {name!r}: without its store or commit")


def _files(
    raw: "Mapping[str, object]", problems: "list[str]", bad: "set[str]"
) -> "Iterator[tuple[str, File]]":
    for path, value in _section(raw, "files", problems).items():
        try:
            yield path, File.parse(path, value)
        except PlanError as error:
            problems.append(f"file {path!r}: {error}")
            bad.add(path)


def _links(
    raw: "Mapping[str, object]", problems: "list[str]", bad: "set[str]"
) -> "Iterator[tuple[str, str]]":
    for path, target in _section(raw, "links", problems).items():
        if isinstance(target, str) and is_link(path, target):
            yield path, target
        else:
            problems.append(f"link {path!r}: not a link between units of this folder")
            bad.add(path)
