"""Machines by hand: `PYTHONPATH=tests python3 -m machine COMMAND ...`, as root."""

from __future__ import annotations

import argparse
import os
import sys
from contextlib import suppress
from pathlib import Path

from machine import Machine, MachineError, base_image, installed_image, machines
from machine.host import cache
from machine.image import SUITES


def main(arguments: list[str] | None = None) -> int:
    """Carry out one command; the exit code is that of what ran in the machine."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.action(options) or 0)
    except MachineError as error:
        print(f"machine: error: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m machine", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    build = commands.add_parser("build", help="build the images that are not there yet")
    build.add_argument("suite", nargs="*", default=SUITES)
    build.add_argument("--installed", action="store_true", help="the ones with Leger, too")
    build.set_defaults(action=_build)
    boot = commands.add_parser("boot", help="boot a machine that stays until it is dropped")
    boot.add_argument("name")
    boot.add_argument("suite", nargs="?", default="trixie", choices=SUITES)
    boot.add_argument("--installed", action="store_true", help="with Leger installed")
    boot.add_argument("--share", type=Path, help="a folder to see read-only at /srv/host")
    boot.set_defaults(action=_boot)
    run = commands.add_parser("run", help="run a command in a machine")
    run.add_argument("name")
    run.add_argument("argv", nargs=argparse.REMAINDER, metavar="COMMAND ...")
    run.set_defaults(action=_run)
    shell = commands.add_parser("shell", help="a root shell in a machine")
    shell.add_argument("name")
    shell.set_defaults(action=_shell)
    commands.add_parser("list", help="name the machines").set_defaults(action=_list)
    for name, text in (
        ("start", "boot it again"),
        ("stop", "shut it down"),
        ("cut", "cut its power"),
        ("drop", "remove it"),
    ):
        command = commands.add_parser(name, help=text)
        command.add_argument("name")
        command.set_defaults(action=_power, power=name)
    return parser


def _build(options: argparse.Namespace) -> None:
    for suite in options.suite:
        print(installed_image(suite) if options.installed else base_image(suite))


def _boot(options: argparse.Namespace) -> None:
    share = options.share.resolve() if options.share else None
    machine = Machine.boot(
        options.suite, installed=options.installed, name=options.name, share=share
    )
    machine.keep()


def _run(options: argparse.Namespace) -> int:
    data = b"" if sys.stdin.isatty() else sys.stdin.buffer.read()
    argv = options.argv[1:] if options.argv[:1] == ["--"] else options.argv
    result = Machine.attach(options.name).run(*argv, input=data, check=False, timeout=3600)
    sys.stdout.write(result.stdout)
    sys.stderr.write(result.stderr)
    return result.code


def _shell(options: argparse.Namespace) -> None:
    command = Machine.attach(options.name).shell_command()
    os.execvp(command[0], command)


def _list(_: argparse.Namespace) -> None:
    for folder in sorted(machines().glob("*")):
        with suppress(MachineError):  # one that is just being dropped
            print(folder.name, "on" if Machine.attach(folder.name).is_on() else "off")
    print(f"images and machines are in {cache()}", file=sys.stderr)


def _power(options: argparse.Namespace) -> None:
    machine = Machine.attach(options.name)
    if options.power == "start":
        print(machine.start())
    else:
        {"stop": machine.stop, "cut": machine.cut, "drop": machine.drop}[options.power]()


if __name__ == "__main__":
    sys.exit(main())
