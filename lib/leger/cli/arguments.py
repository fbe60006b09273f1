"""What the command line takes: one table for each command, and the parser that they make."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from leger.cli import backups, looking, refreshes
from leger.cli.table import JSON as _JSON
from leger.cli.table import NAME as _NAME
from leger.cli.table import YES as _YES
from leger.cli.table import Command
from leger.cli.table import argument as _argument
from leger.cli.table import deployment as _deployment

_SECRET = _argument("name", metavar="NAME", help="the secret's name in legerd")
_VALUE = _argument("value", metavar="-|@FILE", help="- for standard input, or @ and a file")
_VERSION = _argument("number", type=int, metavar="VERSION")
_TOKEN = _argument(
    "token", nargs="?", default="", metavar="TOKEN", help="confirms it; asked for without one"
)
_SERVER = _argument(
    "--server",
    "-s",
    default="",
    metavar="URL",
    help="a setec server instead of this host's (default: $SETEC_SERVER)",
)
_DRY = _argument("--dry-run", action="store_true", help="check and show, switch nothing")
_MISSING = _argument(
    "--allow-missing-secrets", action="store_true", help="deploy although secrets are missing"
)
_ADOPT = _argument(
    "--adopt",
    action="store_true",
    help="take over quadlets of the same name in /etc/containers/systemd",
)
_WHOSE = (
    _argument("--user", action="store_true", help="your own deployments, not the system's"),
    _argument(
        "--scope",
        default="",
        metavar="USER",
        help="the deployments of this user, for whom root runs leger",
    ),
)

_NAMES = _deployment("name", nargs="*", help="deployments (default: all)")
_STAGED = _deployment("name", nargs="*", help="staged deployments")
_ALL = _argument("--all", action="store_true", help="all of them")
_RETRY = _argument("--retry", action="store_true", help="try commits again that were given up")
_STRICT = _argument(
    "--strict", action="store_true", help="change nothing as long as anything is wrong"
)
_STAGE = _argument("--stage", action="store_true", help="fetch, check and let it wait")

_SET = _argument(
    "--set",
    action="append",
    default=[],
    metavar="KEY=VALUE",
    help="a value for templates",
)

COMMANDS = (
    Command(
        ("deploy", "install"),
        "deploy a folder of quadlets from a Git repository",
        "deploy",
        (
            _NAME,
            _argument("source", metavar="SOURCE", help="https, ssh, git@host:path or a path"),
            _argument("--ref", help="branch, tag or commit (default: the remote's)"),
            _argument("--path", help="the folder in the repository"),
            _SET,
            _argument(
                "--bind-secret",
                action="append",
                default=[],
                metavar="NAME=LEGERD-NAME",
                help="where a Podman secret's value comes from",
            ),
            _argument(
                "--ssh-key",
                default="",
                metavar="HELD",
                help="for a private repository: a key's file or systemd credential",
            ),
            _argument(
                "--token",
                default="",
                metavar="HELD",
                help="for a private repository: an https token's file or systemd credential",
            ),
            _ADOPT,
            _STAGE,
            _DRY,
            _MISSING,
            _JSON,
        ),
        changes=True,
    ),
    Command(("deploy", "list"), "the deployments of this host", "deploy", (_JSON,), for_each=True),
    Command(
        ("deploy", "update"),
        "bring deployments to the newest commit",
        "deploy",
        (
            _deployment("name", nargs="?", help="the deployment's name"),
            _argument("--all", action="store_true", help="all deployments"),
            _ADOPT,
            _STAGE,
            _DRY,
            _MISSING,
            _JSON,
        ),
        changes=True,
    ),
    Command(
        ("deploy", "remove"),
        "stop a deployment and remove it; its data and volumes stay",
        "deploy",
        (
            _NAME,
            _argument("--volumes", action="store_true", help="its volumes go, too"),
            _YES,
            _JSON,
        ),
        changes=True,
        question="stop and remove the deployment {name}?",
    ),
    Command(
        ("sync",),
        "fetch all sources, then apply, stage or remove what is new",
        "sync",
        (
            _RETRY,
            _deployment(
                "--accept-rewind",
                action="append",
                nargs="*",
                default=[],
                help="follow branches that were rewritten, for these deployments (default: all)",
            ),
            _STRICT,
            _JSON,
        ),
        for_each=True,
    ),
    Command(
        ("plan",),
        "fetch, and show what apply would do and why",
        "plan",
        (
            _NAMES,
            _RETRY,
            _argument("--exit-code", action="store_true", help="10 if there is something to do"),
            _JSON,
        ),
        for_each=True,
    ),
    Command(
        ("apply",),
        "bring the host to what was fetched, and mend what drifted",
        "apply",
        (
            _NAMES,
            _argument("--start", action="store_true", help="start what was stopped by hand too"),
            _RETRY,
            _STRICT,
            _JSON,
        ),
        changes=True,
        for_each=True,
    ),
    Command(("staged", "list"), "what waits", "staged", (_JSON,)),
    Command(("staged", "diff"), "what it would change", "staged", (_STAGED, _ALL, _JSON)),
    Command(
        ("staged", "apply"),
        "deploy it",
        "staged",
        (_STAGED, _ALL, _STRICT, _JSON),
        changes=True,
    ),
    Command(("staged", "discard"), "let it wait no longer", "staged", (_STAGED, _ALL, _JSON)),
    Command(
        ("rollback",),
        "deploy again what an earlier generation had",
        "history",
        (
            _argument("number", metavar="N", nargs="?", type=int, help="default: the one before"),
            _deployment("--deployment", default="", help="this deployment alone"),
            _DRY,
            _JSON,
        ),
        changes=True,
    ),
    Command(("history",), "the generations that are kept: who, when and why", "history", (_JSON,)),
    Command(("status",), "what is deployed, and how it runs", "status", (_JSON,), for_each=True),
    Command(
        ("validate",),
        "check a folder of quadlets without deploying it",
        "validate",
        (
            _argument("folder", metavar="DIR", help="the folder to check"),
            _argument("--quadlet", metavar="FILE", help="the quadlet generator to check with"),
            _SET,
            _argument(
                "--format",
                choices=("text", "gcc", "github", "gitlab"),
                default="text",
                help="how faults are told: as editors, GitHub or GitLab take them",
            ),
            _argument(
                "--host",
                metavar="NAME",
                default="",
                help="DIR is a fleet: what this host would get",
            ),
            _argument(
                "--tag", metavar="TAG", action="append", default=[], help="a tag of that host"
            ),
            _JSON,
        ),
    ),
    Command(
        ("secrets", "set"),
        "store a value, from standard input or a file",
        "secrets",
        (
            _SECRET,
            _VALUE,
            _argument("--no-activate", action="store_true", help="store it, but do not use it yet"),
            _SERVER,
            _JSON,
        ),
    ),
    Command(
        ("secrets", "put"),
        "store a value as setec does: it is not active unless it is the first",
        "secrets",
        (
            _SECRET,
            _argument("--from-file", default="", metavar="FILE", help="not standard input"),
            _argument("--trim-space", action="store_true", help="take space off its ends"),
            _argument("--verbatim", action="store_true", help="store space at its ends, too"),
            _argument("--empty-ok", action="store_true", help="store an empty value, too"),
            _SERVER,
            _JSON,
        ),
    ),
    Command(
        ("secrets", "create-version"),
        "store a value as a version of your choice, and use it",
        "secrets",
        (_SECRET, _VERSION, _VALUE, _SERVER, _JSON),
    ),
    Command(
        ("secrets", "get"),
        "print a value, byte for byte",
        "secrets",
        (
            _SECRET,
            _argument("--version", dest="number", type=int, default=0, metavar="N"),
            _argument(
                "--if-changed",
                action="store_true",
                help="the active version, if that is another than --version; else exit with 1",
            ),
            _SERVER,
            _JSON,
        ),
    ),
    Command(("secrets", "list"), "the secrets that you may see", "secrets", (_SERVER, _JSON)),
    Command(
        ("secrets", "info"),
        "the versions of a secret, who made them, and what is said of it",
        "secrets",
        (_SECRET, _SERVER, _JSON),
    ),
    Command(
        ("secrets", "describe"),
        "say what a secret is for and when it expires; an empty text takes it away",
        "secrets",
        (
            _SECRET,
            _argument("--description", metavar="TEXT"),
            _argument(
                "--label",
                action="append",
                metavar="KEY=VALUE",
                help="all of its labels; may be given again",
            ),
            _argument("--expires", metavar="DATE", help="2027-01-31, or with a time, RFC 3339"),
            _SERVER,
        ),
    ),
    Command(
        ("secrets", "activate"),
        "use another version of a secret",
        "secrets",
        (_SECRET, _VERSION, _SERVER, _JSON),
    ),
    Command(
        ("secrets", "delete"),
        "delete a secret, or one version of it",
        "secrets",
        (
            _SECRET,
            _TOKEN,
            _argument("--version", dest="number", type=int, default=0, metavar="N"),
            _YES,
            _SERVER,
            _JSON,
        ),
    ),
    Command(
        ("secrets", "delete-version"),
        "delete one version of a secret for ever",
        "secrets",
        (_SECRET, _VERSION, _TOKEN, _YES, _SERVER, _JSON),
    ),
    *backups.COMMANDS,
    *looking.COMMANDS,
    *refreshes.COMMANDS,
    Command(("settle",), "what leger-settle.service runs late in the boot", "settle"),
)
_GROUPS = {
    "deploy": "deployments",
    "staged": "deployments that wait",
    "backup": "what containers wrote: saved and put back",
    "secrets": "secrets in legerd",
    "service": "the units of a deployment",
}


def parser(version: str, given: Sequence[str] = ()) -> argparse.ArgumentParser:
    """The parser of all commands; of those only that `given` can mean, if it names one."""
    wanted = _wanted(given)
    top = argparse.ArgumentParser(
        prog="leger", description="The containers of this host, kept in Git.", allow_abbrev=False
    )
    top.add_argument("--version", action="version", version=f"leger {version}")
    for argument in _WHOSE:
        top.add_argument(*argument.names, **argument.options)
    commands = top.add_subparsers(metavar="COMMAND", required=True)
    groups = {}
    for name, text in _GROUPS.items():
        if not any(command.words[0] == name for command in wanted):
            continue
        group = commands.add_parser(name, help=text, allow_abbrev=False)
        groups[name] = group.add_subparsers(metavar="COMMAND", required=True)
    for command in wanted:
        parent = groups[command.words[0]] if len(command.words) > 1 else commands
        _add(parent, command)
    return top


def _wanted(given: Sequence[str]) -> tuple[Command, ...]:
    """The commands that begin as `given` does: each parser that is not made saves a millisecond."""
    scopes = {index + 1 for index, word in enumerate(given) if word == "--scope"}
    words = (w for i, w in enumerate(given) if not w.startswith("-") and i not in scopes)
    word = next(words, "")
    return tuple(command for command in COMMANDS if command.words[0] == word) or COMMANDS


def _add(parent: Any, command: Command) -> None:
    added = parent.add_parser(
        command.words[-1], help=command.help, description=command.help, allow_abbrev=False
    )
    added.set_defaults(
        command=" ".join(command.words),
        module=command.module,
        changes=command.changes,
        question=command.question,
        for_each=command.for_each,
    )
    for argument in command.arguments:
        added.add_argument(*argument.names, **argument.options)
    for argument in _WHOSE:
        hidden = {"default": argparse.SUPPRESS, "help": argparse.SUPPRESS}
        added.add_argument(*argument.names, **argument.options | hidden)
