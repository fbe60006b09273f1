"""leger doctor: is everything that Leger relies on as it should be?"""

from __future__ import annotations

import argparse

from leger.cli import host, output, service
from leger.cli.colour import Colour, plain


def run(options: argparse.Namespace) -> int:
    """Print a line for each thing that was looked at; exit code 1 if one is not well."""
    service.authorise(user=options.user)
    from leger import doctor

    found = list(doctor.examine(host.scope(user=options.user)))
    if options.json:
        output.document([line.raw() for line in found])
        return 0 if all(line.ok for line in found) else 1
    colour = Colour.of_stdout()
    for line in found:
        mark = colour.paint("ok", "green") if line.ok else colour.paint("wrong", "red")
        output.result(f"{mark}{'' if not line.ok else '   '}  {plain(line.text)}")
        if line.mend:
            output.result(f"       {plain(line.mend)}")
    return 0 if all(line.ok for line in found) else 1
