"""The Podman secrets of a running unit, brought up to date by its own hook.

That is done before it reloads; and to try, before anything is done because of them, since a secret
that cannot be had (an empty one, say) is no reason to stop what runs.
"""

from __future__ import annotations

from collections.abc import Iterable

from leger_generator.dropin import HOOK, path_of, user_of

from leger import changes, processes
from leger.errors import LegerError
from leger.model import Compiled
from leger.scope import Scope
from leger.secretrefs import expand

_SECONDS = 60.0
_AS = ("systemd-run", "--quiet", "--wait", "--pipe", "--collect", "--expand-environment=no")


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
        as_user = _another(scope, compiled, name)
        reason = _run(scope, [f"--for={unit}", *words] if words else [], as_user)
        if reason:
            failed[name] = reason
    return failed


def _words(compiled: Compiled, name: str) -> list[str]:
    """The hook's arguments, specifiers of an instance written out."""
    for unit in _names(name):
        entry = compiled.files.get(path_of(unit), {})
        found = entry.get("hook", ())
        if isinstance(found, (list, tuple)) and found:
            return [expand(str(word), name) for word in found]
    return []


def _another(scope: Scope, compiled: Compiled, name: str) -> list[str]:
    """What runs the hook as the user whose it is in a system unit with User=."""
    texts = [compiled.files[one]["text"] for one in _names(name) if one in compiled.files]
    user = expand(user_of(str(texts[0])), name) if texts and scope.name == "system" else ""
    return [*_AS, f"--uid={user}", "--"] if user else []


def _names(name: str) -> tuple[str, str]:
    return name, changes.template_of(name)


def _run(scope: Scope, words: list[str], as_user: list[str]) -> str:
    if not words:
        return ""
    user = ["--user"] if scope.name == "user" and "--user" not in words else []
    try:
        done = processes.run([*as_user, HOOK, *user, *words], timeout=_SECONDS)
    except LegerError as error:
        return f"did not get its secrets: {error}"
    return "" if done.code == 0 else f"did not get its secrets: {done.message}"
