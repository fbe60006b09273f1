"""The units afresh, where the host's quadlet is no longer the binary that made them."""

import os

from leger_generator import children, files
from leger_generator.dropin import hook_dropin, unit_of
from leger_generator.identity import is_same, quadlet_identity
from leger_generator.names import is_link, is_unit_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from leger_generator.journal import Journal
    from leger_generator.plan import Plan

_PREFIX = "render."
_MAX_UNIT = 8 << 20
_KEPT = ("HOME", "PATH", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR", "LANG")


class RenderError(Exception):
    """The quadlet binary could not be run to its end."""


class Rendered:
    """What another quadlet binary made of the same trees: texts and links, and its identity."""

    __slots__ = ("links", "quadlet", "texts")

    def __init__(self, quadlet: dict[str, object]) -> None:
        self.quadlet = quadlet
        self.texts: dict[str, str] = {}
        self.links: dict[str, str] = {}


def render(
    plan: "Plan", runtime: str, environ: "Mapping[str, str]", deadline: float, journal: "Journal"
) -> Rendered | None:
    """Run the quadlet binary over the plan's trees if it is another one than made the plan.

    None if it is the same, or did not end by `deadline` (of time.monotonic). Only units whose
    source lies in a tree of ours are taken; their drop-ins with the hook are composed anew.
    """
    identity = _other_identity(plan, journal)
    stores = {name: entry["store"] for name, entry in plan.deployments.items()}
    present = [store for store in stores.values() if os.path.isdir(store)]
    if identity is None:
        return None
    if not present:
        journal.say("quadlet was replaced and the store is not there: recorded units are kept")
        return None
    folder = f"{runtime}/{_PREFIX}{os.getpid()}"
    try:
        _remove_stale(runtime)
        os.mkdir(folder, 0o700)
        _run(plan, present, folder, environ, deadline)
        rendered = _collect(folder, present, identity)
    except RenderError as error:
        journal.say(f"{plan.quadlet['path']}: {error}: recorded units are kept")
        return None
    finally:
        _remove_stale(runtime)
    _compare(plan, rendered, journal)
    return rendered


def _other_identity(plan: "Plan", journal: "Journal") -> dict[str, object] | None:
    path = plan.quadlet.get("path")
    if not isinstance(path, str):
        return None
    try:
        identity = quadlet_identity(path)
    except OSError as error:
        journal.say(f"{path}: {error.strerror}: recorded units are kept")
        return None
    return None if is_same(identity, plan.quadlet) else identity


def _run(
    plan: "Plan", stores: list[str], folder: str, environ: "Mapping[str, str]", deadline: float
) -> None:
    """Run quadlet into `folder`; what counts are the units that it makes."""
    path = str(plan.quadlet["path"])
    flags = ["-user"] if plan.scope == "user" else []
    environment = {key: environ[key] for key in _KEPT if key in environ}
    environment["QUADLET_UNIT_DIRS"] = ":".join([*stores, *plan.search])
    try:
        child = os.posix_spawn(
            path,
            [path, *flags, "-no-kmsg-log", folder, folder, folder],
            environment,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ],
            setpgroup=0,
            setsigmask=(),
        )
    except OSError as error:
        raise RenderError(f"cannot be run: {error.strerror}") from error
    status = children.wait(child, deadline)
    if status is None:
        children.kill(child, group=True)
        raise RenderError("it did not end in time, killed")
    if os.WIFSIGNALED(status):
        raise RenderError(f"it was killed by signal {os.WTERMSIG(status)}")


def _collect(folder: str, stores: list[str], identity: dict[str, object]) -> Rendered:
    rendered = Rendered(identity)
    trees = tuple({f"{root}/" for store in stores for root in (store, os.path.realpath(store))})
    links = {}
    for path in _walk(folder):
        full = f"{folder}/{path}"
        if os.path.islink(full):
            links[path] = os.readlink(full)
        elif is_unit_name(path):
            text = files.read(full, _MAX_UNIT).decode(errors="replace")
            if _source(text).startswith(trees) and _is_whole(text):
                rendered.texts[path] = text
    for path, target in links.items():
        if is_link(path, target) and target.removeprefix("../") in rendered.texts:
            rendered.links[path] = target
    return rendered


def _walk(folder: str) -> "Iterator[str]":
    for parent, _, names in os.walk(folder):
        for name in names:
            yield f"{parent}/{name}"[len(folder) + 1 :]


def _source(text: str) -> str:
    for line in text.split("\n"):
        if line.startswith("SourcePath="):
            return line.removeprefix("SourcePath=")
    return ""


def _is_whole(text: str) -> bool:
    """Whether quadlet got to the end of the unit: each has something to start."""
    return text.endswith("\n") and "\nExecStart=" in text


def _compare(plan: "Plan", rendered: Rendered, journal: "Journal") -> None:
    """Compose the hook's drop-ins anew; name the units that only the recorded plan has."""
    for path, file in plan.files.items():
        unit = unit_of(path)
        if file.hook is not None and unit in rendered.texts:
            rendered.texts[path] = hook_dropin(rendered.texts[unit], file.hook, plan.scope)
        elif _source(file.text) and path not in rendered.texts:
            journal.say(f"{path}: not made by the replaced quadlet: its recorded text is kept")


def _remove_stale(runtime: str) -> None:
    for name in os.listdir(runtime):
        if name.startswith(_PREFIX):
            files.remove_tree(f"{runtime}/{name}")
