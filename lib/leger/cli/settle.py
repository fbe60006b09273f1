"""leger settle: what leger-settle.service runs."""

from __future__ import annotations

import argparse

from leger.cli import host, output


def run(options: argparse.Namespace) -> int:
    """Mend what the generator could not, and judge what was not confirmed."""
    from leger import settle, telling
    from leger.switch import NotHealthyError

    with host.changing(user=options.user) as locked:
        try:
            for line in settle.settle(locked):
                output.result(line)
        except NotHealthyError as error:
            telling.went_back(locked, "settle after the boot", (), error)
            raise
    return 0
