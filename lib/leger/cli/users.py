"""What root does for users: it runs `leger --user` as them, and never writes into a home."""

from __future__ import annotations

import argparse
import json
import os
import pwd
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from leger import processes, relay, users
from leger.cli import output, service
from leger.deployment import Deployment
from leger.errors import LegerError, NotAuthorisedError
from leger.scope import Scope
from leger.users import Account

_SECONDS = 24 * 3600.0  # a sync may pull many images; each step has a limit of its own
_PENDING = 10
_READING = ("deploy list", "plan", "status")
_KEPT = ("LANG", "LC_ALL", "TERM", "NO_COLOR")


def is_own(name: str) -> bool:
    """Whether --scope names the calling user. Raises NotAuthorisedError for another one."""
    if pwd.getpwuid(os.getuid()).pw_name == name and os.getuid() != 0:
        return True
    if os.getuid() != 0:
        raise NotAuthorisedError(
            f"the deployments of {name} are not yours",
            hint="use sudo, or leger --user for your own",
        )
    return False


def delegate(options: argparse.Namespace, given: Sequence[str]) -> int:
    """Run the command as the user that --scope names, who is not the caller."""
    account = users.find(options.scope)
    words = _for_user(given)
    if options.command == "deploy install":
        return _install(account, options, words)
    if options.command == "deploy remove":
        return _remove(account, options, words)
    if options.changes or options.command == "sync":
        users.provide_manager(account, _report)
        return _changing(account, words)
    return _attached(account, words)


def _install(account: Account, options: argparse.Namespace, words: list[str]) -> int:
    from leger.cli import deploy

    wanted = deploy.wanted(users.defined(account, options.name), "user", options)
    words[words.index(options.source)] = wanted.source
    users.provide_manager(account, _report)
    if options.dry_run:
        return _attached(account, words)
    return _defining(account, options.name, wanted, words)


def _remove(account: Account, options: argparse.Namespace, words: list[str]) -> int:
    users.provide_manager(account, _report)
    return _defining(account, options.name, None, words)


def _defining(account: Account, name: str, wanted: Deployment | None, words: list[str]) -> int:
    with users.defining(account, name, wanted) as keep:
        code = _changing(account, words)
        if code == 0:
            keep()
    return code


def _changing(account: Account, words: list[str]) -> int:
    with relay.listening(account.runtime, account.uid) as heard:
        code = _attached(account, words, heard.path)
    _notify(account, heard.lines)
    return code


def _notify(account: Account, lines: Sequence[bytes], failure: str | None = None) -> None:
    from leger import telling

    hearer = telling.Watcher(Scope.system(), output.progress)
    telling.of_user(hearer, account.name, lines, failure)


def each(options: argparse.Namespace, given: Sequence[str], run: Callable[[], int]) -> int:
    """`run` for the system, then the same for each user that root has defined deployments for.

    What fails for one is told and does not hold back the others; the exit code is the worst.
    """
    accounts, strangers = users.with_definitions()
    for line in strangers:
        output.progress(f"leger: warning: {line}")
    if not accounts:
        return run()
    words = _for_user(given)
    if getattr(options, "json", False):
        return _each_as_json(options, accounts, words, run)
    codes = [_system(run)]
    for account in accounts:
        tell = output.result if options.command in _READING else output.progress
        tell(f"\nuser {account.name}")
        codes.append(_one(account, options, partial(_attached, account, words)))
    return _worst(codes)


def _each_as_json(
    options: argparse.Namespace,
    accounts: Sequence[Account],
    words: list[str],
    run: Callable[[], int],
) -> int:
    code, text = _kept_back(partial(_system, run))
    codes, found = [code], {}
    for account in accounts:
        said: list[str] = []
        codes.append(_one(account, options, partial(_captured, account, words, said)))
        found[account.name] = _document("".join(said), codes[-1])
    output.document(_merged(_document(text, code), found))
    return _worst(codes)


def _kept_back(run: Callable[[], int]) -> tuple[int, str]:
    """Run it, and what it wrote to stdout meanwhile, its child processes too."""
    sys.stdout.flush()
    own = os.dup(1)
    with os.fdopen(os.memfd_create("stdout"), "w+") as memory:
        os.dup2(memory.fileno(), 1)
        try:
            code = run()
        finally:
            sys.stdout.flush()
            os.dup2(own, 1)
            os.close(own)
        memory.seek(0)
        return code, memory.read()


def _merged(system: Any, found: Mapping[str, Any]) -> Any:
    """One document: a list gets the users' rows, each with its user; an object a key `users`."""
    if isinstance(system, list):
        rows = [
            {**row, "user": name}
            for name, document in found.items()
            for row in (document if isinstance(document, list) else [document])
        ]
        return [*system, *rows]
    return {**system, "users": found}


def _document(text: str, code: int) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return {"failed": code}


def _system(run: Callable[[], int]) -> int:
    try:
        return run()
    except LegerError as error:
        output.error(error)
        return error.exit_code


def _one(account: Account, options: argparse.Namespace, run: Callable[[Path | None], int]) -> int:
    """Run something as one of the users; what is in the way of that is told.

    What changes things is given a file for what it tells root.
    """
    lines: list[bytes] = []
    failure = ""
    try:
        if options.command in _READING:
            users.require_manager(account)
            code = run(None)
        else:
            users.provide_manager(account, _report)
            with relay.listening(account.runtime, account.uid) as heard:
                code = run(heard.path)
            lines = heard.lines
        if code not in (0, _PENDING):
            failure = f"user {account.name}: leger ended with exit code {code}"
            output.progress(f"leger: error: {failure}")
    except LegerError as error:
        output.error(error)
        code, failure = error.exit_code, str(error)
    if options.command not in _READING:
        _notify(account, lines, failure if options.command == "sync" else None)
    return code


def _worst(codes: Sequence[int]) -> int:
    failed = [code for code in codes if code not in (0, _PENDING)]
    return max(failed) if failed else max(codes)


def _attached(account: Account, words: Sequence[str], told: Path | None = None) -> int:
    unit = service.new_name()
    return service.attached(_command(account, words, unit, told), ["systemctl"], unit)


def _captured(
    account: Account, words: Sequence[str], said: list[str], told: Path | None = None
) -> int:
    command = _command(account, words, service.new_name(), told)
    done = processes.run(command, timeout=_SECONDS)
    said.append(done.stdout.decode(errors="replace"))
    for line in done.stderr.decode(errors="replace").splitlines():
        output.progress(line)
    return done.code


def _command(account: Account, words: Sequence[str], unit: str, told: Path | None) -> list[str]:
    """A service of the system's manager that runs leger as the user, beside the user's manager."""
    environment = {key: os.environ[key] for key in _KEPT if key in os.environ}
    environment["XDG_RUNTIME_DIR"] = str(account.runtime)
    environment["SUDO_UID"] = os.environ.get("SUDO_UID", "0")  # who it is that does this
    if told is not None:
        environment[relay.VARIABLE] = str(told)
    return [
        *service.transient(unit, environment),
        f"--uid={account.name}",
        f"--property=Requires=user@{account.uid}.service",
        f"--property=After=user@{account.uid}.service",
        f"--property=SuccessExitStatus={_PENDING}",
        "--working-directory=/",
        "--",
        *service.program(),
        "--user",
        *words,
    ]


def _for_user(given: Sequence[str]) -> list[str]:
    """The words of the command without what says whose scope it is."""
    words: list[str] = []
    rest = iter(given)
    for word in rest:
        if word == "--scope":
            next(rest, None)
        elif word != "--user" and not word.startswith("--scope="):
            words.append(word)
    return words


def _report(text: str) -> None:
    output.progress(f"leger: {text}")
