"""The one door in and out: parses the arguments, runs the command, maps errors to exit codes."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from leger import __version__
from leger.cli import arguments, output
from leger.errors import CancelledError, LegerError, of_the_disk


def main(argv: Sequence[str] | None = None) -> int:
    """Run `leger`; the exit codes are 0 done, 1 failed, 2 usage, 3 not authorised,
    4 invalid quadlets, 5 cancelled.
    """
    given = list(sys.argv[1:] if argv is None else argv)
    options = arguments.parser(__version__, given).parse_args(given)
    try:
        return output.finished(_run(options, given))
    except LegerError as error:
        output.error(error)
        return error.exit_code
    except KeyboardInterrupt:
        hint = "leger history says whether anything was switched before" if options.changes else ""
        output.error(CancelledError("cancelled", hint=hint))
        return CancelledError.exit_code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        if error.filename is None:
            raise
        output.error(of_the_disk(error))
        return 1


def program() -> NoReturn:
    """Run `leger` as a whole process, and end it without taking apart what it built first."""
    os._exit(main())


def _run(options: argparse.Namespace, given: list[str]) -> int:
    inside = options.inside = _is_inside()
    others = _is_for_another(options)
    if options.question and not inside and not options.yes:
        output.confirm(_question(options, others=others))
        given = [*given, "--yes", *getattr(options, "confirmed", ())]
    if options.changes and not inside:
        from leger.cli import service

        service.authorise(user=options.user)
        if service.is_possible():
            return service.run_inside(given, user=options.user)
    if others:
        from leger.cli import users

        return users.delegate(options, given)
    return _run_here(options, given)


def _run_here(options: argparse.Namespace, given: list[str]) -> int:
    """Run the command; root's, where it is for all deployments, for its users' too."""
    options.given = given

    def run() -> int:
        module = importlib.import_module(f"leger.cli.{options.module}")
        code: int = module.run(options)
        return code

    alone = options.user or os.getuid() != 0 or _names(options)
    if options.for_each and not alone and (options.changes or not options.inside) and _has_users():
        from leger.cli import users

        return users.each(options, given, run)
    return run()


def _names(options: argparse.Namespace) -> bool:
    """Whether the command is about deployments that are named, all of which are one scope's."""
    return bool(getattr(options, "name", None)) or any(getattr(options, "accept_rewind", ()))


def _has_users() -> bool:
    """Whether root may have defined deployments for users: most hosts spare the import."""
    from leger.scope import USERS

    return USERS.is_dir() and any(USERS.iterdir())


def _is_for_another(options: argparse.Namespace) -> bool:
    """Whether --scope names a user who is not the caller; the caller's own name is --user."""
    if options.scope in ("", "system"):
        return False
    from leger.cli import users

    if not users.is_own(options.scope):
        return True
    options.user = True
    return False


def _question(options: argparse.Namespace, *, others: bool) -> str:
    """What is asked: the module's own words, if it has some that say more than the table's.

    What belongs to another user (`others`) is not looked at from here.
    """
    module = importlib.import_module(f"leger.cli.{options.module}")
    asked = "" if others else getattr(module, "question", lambda _: "")(options)
    return asked or str(options.question.format(name=options.name))


def _is_inside() -> bool:
    """Whether this is the service that the command started for itself."""
    return os.environ.pop("LEGER_INSIDE", "") == "1"
