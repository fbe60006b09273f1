"""The generator as systemd calls it: a child does the work, the parent keeps the time.

On the way of every start `posix` stands for `os`, which adds nothing that is used there and costs
a millisecond of a boot.
"""

import gc
import posix
import time

from leger_generator import children, files, jsontext
from leger_generator.choose import UNITS, Choice, choose
from leger_generator.emit import emit, replace
from leger_generator.identity import is_unchanged
from leger_generator.journal import ERROR, INFO, Journal
from leger_generator.paths import Paths
from leger_generator.plan import MAX_BYTES, PlanError, head_digest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import NoReturn

    from leger_generator.render import Rendered

LIMIT = 5.0
RESERVE = 0.3


def main(
    argv: "Sequence[str]",
    environ: "Mapping[str, str]",
    *,
    root: str = "",
    kmsg: str = "/dev/kmsg",
    limit: float = LIMIT,
) -> int:
    """Emit the units of the calling manager's scope below argv[1]; always 0, within `limit` s."""
    journal = Journal(kmsg)
    try:
        paths = _paths(argv, environ, root)
        if paths is not None and len(argv) > 1:
            _supervise(paths, argv[1], environ, limit, journal)
    except Exception as error:  # noqa: BLE001 a generator that fails must not hold up the boot
        journal.say(f"stopped: {_describe(error)}", ERROR)
    return 0


def environment() -> "dict[str, str]":
    """This process's environment variables, as os.environ has them."""
    return {
        key.decode(errors="surrogateescape"): text.decode(errors="surrogateescape")
        for key, text in posix.environ.items()
    }


def _paths(argv: "Sequence[str]", environ: "Mapping[str, str]", root: str) -> Paths | None:
    scope = environ.get("SYSTEMD_SCOPE")
    if scope is None:
        scope = "user" if argv and "user-generators" in argv[0] else "system"
    return Paths.user(environ) if scope == "user" else Paths.system(root)


def _supervise(
    paths: Paths, folder: str, environ: "Mapping[str, str]", limit: float, journal: Journal
) -> None:
    deadline = time.monotonic() + limit
    children.hold_signal()
    try:
        child = posix.fork()
    except OSError as error:
        journal.say(f"no child process: {error.strerror}: at work without a time limit")
        generate(paths, folder, environ, deadline - limit * RESERVE, journal)
        return
    if child == 0:
        _work(paths, folder, environ, deadline - limit * RESERVE, journal)
    status = children.wait(child, deadline)
    if status is None:
        children.kill(child)
        journal.say(f"no end after {limit:g} s, killed: units may be missing", ERROR)
    elif posix.WIFSIGNALED(status):
        journal.say(f"killed by signal {posix.WTERMSIG(status)}: units may be missing", ERROR)


def _work(
    paths: Paths, folder: str, environ: "Mapping[str, str]", deadline: float, journal: Journal
) -> "NoReturn":
    """The child: does it all and ends without going back to the caller."""
    gc.disable()  # it lives for some milliseconds, and nothing in it is a cycle that grows
    try:
        generate(paths, folder, environ, deadline, journal)
    except BaseException as error:  # noqa: BLE001 the child has nobody to hand it to
        journal.say(f"stopped: {_describe(error)}", ERROR)
    finally:
        try:
            journal.close()
        finally:
            posix._exit(0)


def generate(
    paths: Paths, folder: str, environ: "Mapping[str, str]", deadline: float, journal: Journal
) -> None:
    """Emit the recorded units at once; then, if quadlet was replaced, what it makes of them.

    `deadline` (of time.monotonic) is when the quadlet binary is killed.
    """
    choice = choose(paths, journal)
    if choice is None:
        return
    plan = choice.plan
    emit(folder, {path: file.text for path, file in plan.files.items()}, plan.links, journal)
    _make_folder(paths.runtime)
    if choice.source == UNITS:
        _compare_with_current(paths, choice, journal)
        if not plan.problems:
            _keep(paths, choice)
    rendered = None
    if not is_unchanged(plan.quadlet):
        from leger_generator.render import render  # most starts need none of it

        rendered = render(plan, paths.runtime, environ, deadline, journal)
    if rendered is not None:
        replace(folder, _changed(choice, rendered), journal)
        emit(folder, {}, rendered.links, journal)
        journal.say("quadlet was replaced: units rendered afresh with it", INFO)
    _note(paths, choice, rendered, journal)


def _make_folder(path: str) -> None:
    try:
        posix.mkdir(path, 0o755)
    except FileExistsError:
        pass
    except FileNotFoundError:
        import os  # the first time of a user, perhaps

        os.makedirs(path, 0o755, exist_ok=True)


def _changed(choice: Choice, rendered: "Rendered") -> dict[str, str]:
    recorded = choice.plan.files
    return {
        path: text
        for path, text in rendered.texts.items()
        if path not in recorded or recorded[path].text != text
    }


def _compare_with_current(paths: Paths, choice: Choice, journal: Journal) -> None:
    """Say that /var/lib/leger/current names another generation; leger-settle decides."""
    try:
        current: dict[str, object] = jsontext.loads(files.read(paths.current, 4096).decode())  # type: ignore[assignment]
        generation, digest = current["generation"], current["blake2b"]
    except (OSError, ValueError, KeyError, TypeError):
        return
    if (generation, digest) != (choice.plan.generation, choice.plan.digest):
        journal.say(
            f"units.json holds generation {choice.plan.generation}, {paths.current} names"
            f" {generation}: leger-settle decides",
            INFO,
        )


def _keep(paths: Paths, choice: Choice) -> None:
    """Keep a copy of a units.json without faults, unless it is there already."""
    try:
        known = head_digest(files.read(paths.last_good, MAX_BYTES, first=4096))
    except (OSError, ValueError, PlanError):
        known = ""
    if known != choice.plan.digest:
        files.replace(paths.last_good, choice.data)


def _note(paths: Paths, choice: Choice, rendered: "Rendered | None", journal: Journal) -> None:
    note = {
        "generation": choice.plan.generation,
        "blake2b": choice.plan.digest,
        "source": choice.source,
        "quadlet": rendered.quadlet if rendered is not None else choice.plan.quadlet,
        "rendered": rendered is not None,
        "problems": journal.problems,
    }
    files.replace(paths.note, jsontext.dumps(note).encode())


def _describe(error: BaseException) -> str:
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}"
    return f"{type(error).__name__}: {error}"
