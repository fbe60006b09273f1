"""leger secrets: the secrets of this host's legerd, or of a setec server at --server.

A value comes from standard input or a file and goes out on stdout, byte for byte; it is never in
an argument, in the environment or in a message.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import os
import shlex
import sys
from collections.abc import Callable, Mapping

from leger.cli import output, secretinput
from leger.errors import CancelledError, LegerError, NotAuthorisedError, UsageError
from leger.legerdclient import Client, Info, NotFoundError
from leger.secrethistory import History


def run(options: argparse.Namespace) -> int:
    """Run one of the secrets commands."""
    client = Client(server=options.server or os.environ.get("SETEC_SERVER", ""))
    _COMMANDS[options.command](client, options)
    return 0


def _set(client: Client, options: argparse.Namespace) -> None:
    value = secretinput.given(options.value)
    try:
        before = client.info(options.name)
    except NotFoundError:
        before = None
    version = client.put(options.name, value)
    active = before is None or before.active == version
    if not active and not options.no_activate:
        client.activate(options.name, version)
        active = True
    if before is not None and version in before.versions and not options.json:
        output.result(f"{options.name}: version {version} has this value already")
    else:
        _stored(options, version, active=active)


def _put(client: Client, options: argparse.Namespace) -> None:
    value = secretinput.checked(
        options.from_file,
        trim=options.trim_space,
        verbatim=options.verbatim,
        empty=options.empty_ok,
    )
    version = client.put(options.name, value)
    try:
        active = client.info(options.name).active == version
    except NotAuthorisedError:
        active = None
    _stored(options, version, active=active)


def _create_version(client: Client, options: argparse.Namespace) -> None:
    value = secretinput.given(options.value)
    client.create_version(options.name, options.number, value)
    _stored(options, options.number, active=True)


def _stored(options: argparse.Namespace, version: int, *, active: bool | None) -> None:
    """Tell which version was stored; `active` is None if that cannot be known."""
    if options.json:
        output.document({"name": options.name, "version": version, "active": active})
    else:
        state = ", not active" if active is False else ""
        output.result(f"{options.name}: version {version} stored{state}")


def _get(client: Client, options: argparse.Namespace) -> None:
    name, number = options.name, options.number
    found = client.get_changed(name, number) if options.if_changed else client.get(name, number)
    if found is None:
        raise LegerError(f"{name}: version {number} is still the active one")
    value, version = found
    if options.json:
        encoded = base64.b64encode(value.reveal()).decode()
        output.document({"name": name, "version": version, "base64": encoded})
        return
    sys.stdout.buffer.write(value.reveal())
    sys.stdout.buffer.flush()
    if sys.stdout.isatty():
        output.result("")


def _list(client: Client, options: argparse.Namespace) -> None:
    found = client.list()
    if options.json:
        output.document(
            [{"name": i.name, "active": i.active, "versions": list(i.versions)} for i in found]
        )
    elif not found:
        output.progress("no secrets")
    else:
        rows = [(info.name, str(info.active), _numbers(info.versions)) for info in found]
        output.table([("NAME", "ACTIVE", "VERSIONS"), *rows])


def _numbers(versions: tuple[int, ...]) -> str:
    """All versions of a secret, the middle of many left out."""
    texts = [str(version) for version in versions]
    return ",".join(texts if len(texts) <= 8 else [*texts[:2], "...", *texts[-4:]])


def _info(client: Client, options: argparse.Namespace) -> None:
    history = client.history(options.name)
    if options.json:
        output.document(history.raw())
        return
    output.result(f"{history.name}: version {history.active} is active")
    for title, text in _said(history).items():
        output.result(f"{title}: {text}")
    rows = [
        (
            f"{made.version}{' *' if made.version == history.active else ''}",
            made.created or "not known",
            made.creator or "not known",
        )
        for made in history.versions
    ]
    output.table([("VERSION", "MADE", "BY"), *rows])


def _said(history: History) -> Mapping[str, str]:
    said = {
        "description": history.description,
        "labels": ", ".join(f"{key}={value}" for key, value in sorted(history.labels.items())),
        "expires": history.expires,
        "deleted versions": " ".join(map(str, history.deleted)),
    }
    return {title: text for title, text in said.items() if text}


def _describe(client: Client, options: argparse.Namespace) -> None:
    said: dict[str, object] = {}
    if options.description is not None:
        said["Description"] = options.description
    if options.label is not None:
        said["Labels"] = dict(_label(text) for text in options.label if text)
    if options.expires is not None:
        said["Expires"] = _date(options.expires)
    if not said:
        raise UsageError("nothing to say", hint="--description, --label or --expires")
    client.describe(options.name, said)
    output.result(f"{options.name}: described")


def _label(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise UsageError(f"{text!r} is no label", hint="--label KEY=VALUE")
    return key, value


def _date(text: str) -> str:
    """A date alone is its last moment in UTC."""
    return f"{text}T23:59:59Z" if len(text) == len("2027-01-31") else text


def _activate(client: Client, options: argparse.Namespace) -> None:
    client.activate(options.name, options.number)
    if options.json:
        output.document({"name": options.name, "version": options.number, "active": True})
    else:
        output.result(f"{options.name}: version {options.number} is active")


def _delete(client: Client, options: argparse.Namespace) -> None:
    if options.number:
        _delete_version(client, options)
        return
    _confirm(options, _seen(client, options.name), f"the secret {options.name}")
    client.delete(options.name)
    _deleted(options, f"{options.name}: deleted")


def _delete_version(client: Client, options: argparse.Namespace) -> None:
    what = f"version {options.number} of {options.name}"
    seen = _seen(client, options.name)
    if seen.active == options.number:
        hint = f"leger secrets activate {shlex.quote(options.name)} VERSION uses another"
        raise LegerError(f"{what} is the active one, which cannot be deleted", hint=hint)
    _confirm(options, seen, what, options.number)
    client.delete_version(options.name, options.number)
    _deleted(options, f"{options.name}: version {options.number} deleted")


def _deleted(options: argparse.Namespace, told: str) -> None:
    if options.json:
        version = {"version": options.number} if options.number else {}
        output.document({"name": options.name, **version, "deleted": True})
    else:
        output.result(told)


def _seen(client: Client, name: str) -> Info:
    """The secret as it is now, as far as the caller may see that."""
    try:
        return client.info(name)
    except NotAuthorisedError:
        return Info(name, (), 0)


def _confirm(options: argparse.Namespace, seen: Info, what: str, number: int = 0) -> None:
    """Go on with --yes, with the token that a call without one tells, or with a y that is typed.

    The token is for the secret as it is now: once it has changed, there is another.
    """
    token = _token(seen, number)
    if options.yes or options.token == token:
        return
    if not options.token and sys.stdin.isatty():
        output.confirm(f"delete {what}?")
        return
    words = ["delete-version", seen.name, str(number)] if number else ["delete", seen.name]
    wrong = "the token is not, or no more, the one" if options.token else "not confirmed"
    hint = f"leger secrets {shlex.join([*words, token])}, or --yes"
    raise CancelledError(f"delete {what}: {wrong}", hint=hint)


def _token(info: Info, number: int) -> str:
    seen = f"{info.name}\n{info.active}\n{info.versions}\n{number}"
    return hashlib.sha256(seen.encode()).hexdigest()[:8]


_COMMANDS: Mapping[str, Callable[[Client, argparse.Namespace], None]] = {
    "secrets set": _set,
    "secrets put": _put,
    "secrets create-version": _create_version,
    "secrets get": _get,
    "secrets list": _list,
    "secrets info": _info,
    "secrets describe": _describe,
    "secrets activate": _activate,
    "secrets delete": _delete,
    "secrets delete-version": _delete_version,
}
