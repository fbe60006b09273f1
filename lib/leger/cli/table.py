"""One row of the command line: a command, its arguments, and those that many commands take."""

from __future__ import annotations

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


JSON = argument("--json", action="store_true", help="print JSON")
YES = argument("--yes", "-y", action="store_true", help="do not ask")
NAME = argument("name", metavar="NAME", help="the deployment's name")
