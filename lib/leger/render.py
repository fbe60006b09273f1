"""Templates: X.j2 becomes X; the only importer of jinja2.

They run in jinja2's sandbox, in a child of their own with limits on time and memory, see nothing
but the values and other files of the tree, and an undefined value is a fault with file and line.
"""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import traceback
import warnings
from collections.abc import Mapping
from dataclasses import dataclass

from leger.errors import LegerError
from leger.faults import FaultsError
from leger.model import Fault
from leger.tree import File
from leger.yamlfile import Plain

SUFFIX = ".j2"
_SECONDS = 20
_MEMORY = 1 << 30  # bytes beyond what the process has when a template begins
_MAX_TEMPLATE = 4 << 20


@dataclass(frozen=True)
class _Result:
    texts: Mapping[str, str]
    faults: tuple[Fault, ...]


def render(name: str, files: Mapping[str, File], context: Mapping[str, Plain]) -> dict[str, File]:
    """`files` with every X.j2 replaced by its rendering X; modes are kept.

    Raises FaultsError with file and line of every template that cannot be rendered.
    """
    templates = {path: file for path, file in files.items() if _is_template(path, file)}
    if not templates:
        return dict(files)
    faults = [
        Fault(name, f"both {path} and {path.removesuffix(SUFFIX)} are there", path)
        for path in templates
        if path.removesuffix(SUFFIX) in files
    ]
    sources, binary = _sources(name, templates)
    if faults or binary:
        raise FaultsError([*faults, *binary])
    result = _confined(name, sources, context)
    if result.faults:
        raise FaultsError(result.faults)
    kept = {path: file for path, file in files.items() if path not in templates}
    for path, text in result.texts.items():
        kept[path.removesuffix(SUFFIX)] = File.of(text.encode(), templates[path].mode)
    return kept


def _is_template(path: str, file: File) -> bool:
    return path.endswith(SUFFIX) and not file.is_link and not path.endswith(f"/{SUFFIX}")


def _sources(name: str, templates: Mapping[str, File]) -> tuple[dict[str, str], list[Fault]]:
    sources: dict[str, str] = {}
    faults: list[Fault] = []
    for path, file in sorted(templates.items()):
        if file.size > _MAX_TEMPLATE:
            faults.append(Fault(name, "too large for a template", path))
            continue
        data = file.read()
        try:
            sources[path] = data.decode()
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            faults.append(Fault(name, "a template must be UTF-8 text", path, line))
    return sources, faults


def _render_all(name: str, sources: Mapping[str, str], context: Mapping[str, Plain]) -> _Result:
    import jinja2
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Environment(ImmutableSandboxedEnvironment):
        """Finds a mapping's members before its methods: values.items is the value."""

        def getattr(self, obj: object, attribute: str) -> object:
            if isinstance(obj, dict) and attribute in obj:
                return obj[attribute]
            return super().getattr(obj, attribute)

    environment = Environment(
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        loader=jinja2.FunctionLoader(
            lambda path: (sources[path], path, None) if path in sources else None
        ),
    )
    texts: dict[str, str] = {}
    faults: list[Fault] = []
    for path in sources:
        try:
            texts[path] = environment.get_template(path).render(dict(context))
            texts[path].encode()  # half of a surrogate pair is no text
        except jinja2.TemplateSyntaxError as error:
            message = f"not a valid template: {_encodable(error.message or '')}"
            faults.append(Fault(name, message, error.name or path, error.lineno))
        except Exception as error:  # noqa: BLE001
            # A template can raise whatever its expressions raise.
            file, line = _place(error, path, sources)
            faults.append(Fault(name, f"cannot be rendered: {_said(error)}", file, line))
    return _Result(texts, tuple(faults))


def _said(error: Exception) -> str:
    text = _encodable(str(error).partition("\n")[0])
    known = type(error).__name__ in ("UndefinedError", "SecurityError", "TemplateRuntimeError")
    return text if known else f"{type(error).__name__}: {text}"


def _encodable(text: str) -> str:
    return text.encode(errors="backslashreplace").decode()


def _place(error: Exception, path: str, sources: Mapping[str, str]) -> tuple[str, int]:
    frames = [
        frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename in sources
    ]
    return (frames[-1].filename, frames[-1].lineno or 0) if frames else (path, 0)


def _confined(name: str, sources: Mapping[str, str], context: Mapping[str, Plain]) -> _Result:
    """`_render_all` in a child that cannot hang or eat the host."""
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        # Another thread may hold a lock that the child would miss: it takes none.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        _child(writer, name, sources, context)
    os.close(writer)
    try:
        data = _read_all(reader)
    finally:
        os.close(reader)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    if not data:
        raise FaultsError([Fault(name, "the templates take too long or too much memory")])
    raw = json.loads(data)
    return _Result(raw["texts"], tuple(Fault(name, *fault) for fault in raw["faults"]))


def _child(
    writer: int, name: str, sources: Mapping[str, str], context: Mapping[str, Plain]
) -> None:
    status = 1
    try:
        resource.setrlimit(resource.RLIMIT_CPU, (_SECONDS, _SECONDS))
        room = _address_space() + _MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (room, room))
        result = _render_all(name, sources, context)
        faults = [(fault.message, fault.file, fault.line) for fault in result.faults]
        data = json.dumps({"texts": result.texts, "faults": faults}).encode()
        with os.fdopen(writer, "wb") as stream:
            stream.write(len(data).to_bytes(8, "big") + data)
        status = 0
    finally:
        os._exit(status)


def _address_space() -> int:
    """The bytes of this process's address space: threads reserve much that they never use."""
    with open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[0]) * resource.getpagesize()


def _read_all(reader: int) -> bytes:
    parts: list[bytes] = []
    while True:
        ready, _, _ = select.select([reader], [], [], _SECONDS + 5)
        part = os.read(reader, 1 << 20) if ready else b""
        if not part:
            break
        parts.append(part)
        if sum(map(len, parts)) > _MEMORY:
            raise LegerError("the templates yield too much")
    data = b"".join(parts)
    whole = len(data) >= 8 and int.from_bytes(data[:8], "big") == len(data) - 8
    return data[8:] if whole else b""
