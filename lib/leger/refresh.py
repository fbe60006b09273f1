"""The Podman secrets of a running unit, brought up to date by its own hook.

That is done before it reloads; and to try, before anything is done because of them, since a secret
that cannot be had (an empty one, say) is no reason to stop what runs.
"""

from __future__ import annotations

from collections.abc import Iterable

from leger_generator.dropin import HOOK, path_of

from leger import changes, processes
from leger.errors import LegerError
from leger.model import Compiled
from leger.scope import Scope
from leger.secretrefs import expand

_SECONDS = 60.0


def secrets(
    scope: Scope, compiled: Compiled, units: Iterable[str], *, trying: bool = False
) -> dict[str, str]:
    """Run the hook of each of `units`; why it could not, for those where that failed.

    With `trying` the units have not got the values yet: what follows notes that.
    """
    failed = {}
    for name in units:
        words = _words(compiled, name)
        unit = "" if trying else name
        reason = _run(scope, [f"--for={unit}", *words] if words else [])
        if reason:
            failed[name] = reason
    return failed


def _words(compiled: Compiled, name: str) -> list[str]:
    """The hook's arguments, specifiers of an instance written out."""
    for unit in (name, changes.template_of(name)):
        entry = compiled.files.get(path_of(unit), {})
        found = entry.get("hook", ())
        if isinstance(found, (list, tuple)) and found:
            return [expand(str(word), name) for word in found]
    return []


def _run(scope: Scope, words: list[str]) -> str:
    if not words:
        return ""
    user = ["--user"] if scope.name == "user" and "--user" not in words else []
    try:
        done = processes.run([HOOK, *user, *words], timeout=_SECONDS)
    except LegerError as error:
        return f"did not get its secrets: {error}"
    return "" if done.code == 0 else f"did not get its secrets: {done.message}"
