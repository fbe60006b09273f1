"""The arguments of leger secrets refresh and prune."""

from __future__ import annotations

from leger.cli.table import JSON, Command, argument, deployment

_DRY = argument("--dry-run", action="store_true", help="show, change nothing")

COMMANDS = (
    Command(
        ("secrets", "refresh"),
        "restart or reload the units that still have an earlier value",
        "refresh",
        (
            argument("name", metavar="NAME", nargs="?", help="the secret's name in legerd"),
            deployment("--deployment", default="", help="its units only"),
            _DRY,
            JSON,
        ),
        changes=True,
    ),
    Command(
        ("secrets", "prune"),
        "remove the Podman secrets that no deployment needs any more",
        "refresh",
        (_DRY, JSON),
        changes=True,
    ),
)
