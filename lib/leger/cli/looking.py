"""The commands that look at what is deployed, unit by unit, and at the installation."""

from __future__ import annotations

from leger.cli.table import JSON, NAME, Command, argument

COMMANDS = (
    Command(("doctor",), "check the installation, file by file", "doctor", (JSON,)),
    Command(("service", "status"), "the units of a deployment", "services", (NAME, JSON)),
    Command(
        ("service", "logs"),
        "what the units of a deployment wrote to the journal",
        "services",
        (
            NAME,
            argument("--lines", "-n", type=int, default=100, metavar="N", help="the last N lines"),
            argument("--follow", "-f", action="store_true", help="go on as lines come in"),
            argument("--since", default="", metavar="TIME", help="as journalctl takes it"),
        ),
    ),
    *(
        Command(("service", verb), text, "services", (NAME,), changes=verb == "restart")
        for verb, text in (
            ("start", "start the units of a deployment that a boot starts"),
            ("stop", "stop the units of a deployment until the next boot or start"),
            ("restart", "restart the units of a deployment that run"),
        )
    ),
    Command(
        ("why",),
        "why a unit is not loaded, does not run, or will be restarted",
        "why",
        (argument("unit", metavar="UNIT", help="a unit, a quadlet's file, a container"), JSON),
    ),
)
