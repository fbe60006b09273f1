"""What the commands of `leger backup` take."""

from __future__ import annotations

import argparse

from leger.cli.table import JSON, NAME, YES, Command, argument, deployment


def _count(text: str) -> int:
    if not 1 <= int(text) <= 10_000:
        raise argparse.ArgumentTypeError("a number from 1 to 10000 is expected")
    return int(text)


_SOME = deployment("name", nargs="?", help="one deployment's only")
_BACKUP = argument("id", metavar="ID", nargs="?", default="", help="default: the newest")
_ASKED = argument("--asked", default="", help=argparse.SUPPRESS)  # the ID that --yes was said to

COMMANDS = (
    Command(
        ("backup", "create"),
        "save the data and volumes of a deployment",
        "backup",
        (
            deployment("name", nargs="?", help="the deployment's name"),
            argument("--all", action="store_true", help="all deployments"),
            argument(
                "--method",
                choices=("stop", "pause", "run"),
                help="what its units do meanwhile (default: stop)",
            ),
            JSON,
        ),
        changes=True,
    ),
    Command(("backup", "list"), "the backups of this host", "backup", (_SOME, JSON)),
    Command(
        ("backup", "info"),
        "what a backup holds",
        "backup",
        (
            NAME,
            _BACKUP,
            argument("--verify", action="store_true", help="read all of it, too"),
            JSON,
        ),
    ),
    Command(
        ("backup", "restore"),
        "put back what a backup holds; its units are stopped meanwhile",
        "backup",
        (
            NAME,
            _BACKUP,
            argument(
                "--only",
                action="append",
                default=[],
                metavar="data|VOLUME",
                help="this alone; may be given again",
            ),
            _ASKED,
            YES,
            JSON,
        ),
        changes=True,
        question="replace what the deployment {name} has now?",
    ),
    Command(
        ("backup", "prune"),
        "remove backups that need not be kept any more",
        "backup",
        (
            _SOME,
            argument("--keep", type=_count, metavar="N", help="the newest N are kept"),
            argument("--days", type=_count, metavar="N", help="those of the last N days are kept"),
            argument("--dry-run", action="store_true", help="show which, remove none"),
            JSON,
        ),
        changes=True,
    ),
)
