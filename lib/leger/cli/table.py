"""One row of the command line: a command, its arguments, and those that many commands take."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Argument:
    """One argument as argparse takes it."""

    names: tuple[str, ...]
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Command:
    """A command or subcommand; `module` of leger.cli runs it, `changes` says it switches units.

    `question` is asked first unless --yes is given. With `for_each`, root runs it for each user
    too whose deployments root defines.
    """

    words: tuple[str, ...]
    help: str
    module: str
    arguments: tuple[Argument, ...] = ()
    changes: bool = False
    question: str = ""
    for_each: bool = False


def argument(*names: str, **options: Any) -> Argument:
    """An argument with these names."""
    return Argument(names, options)


def deployment(*names: str, **options: Any) -> Argument:
    """An argument that names deployments: what can be no such name is an error of usage."""
    return Argument(names, {"metavar": "NAME", "type": _name, **options})


def _name(text: str) -> str:
    from leger.deployment import NAME  # --help does without

    if text and NAME.fullmatch(text) is None:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a deployment's name: lower case letters, digits and dashes"
        )
    return text


JSON = argument("--json", action="store_true", help="print JSON")
YES = argument("--yes", "-y", action="store_true", help="do not ask")
NAME = deployment("name", help="the deployment's name")
