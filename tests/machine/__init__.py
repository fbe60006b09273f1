"""Test machines: real systemd and podman in namespaces, booted in seconds, thrown away.

    with Machine.boot("forky", installed=True) as machine:
        machine.run("leger", "status")
        machine.cut()
        machine.start()

`python -m machine` (with tests/ on the path) does the same by hand. Root only: `why_not` says
whether and why machines cannot run here.
"""

from machine.command import CommandError, Result
from machine.host import MachineError, machines, why_not
from machine.image import SUITES, base_image, quadlet_binary
from machine.installed import installed_image
from machine.machine import Machine, collect

__all__ = [
    "SUITES",
    "CommandError",
    "Machine",
    "MachineError",
    "Result",
    "base_image",
    "collect",
    "installed_image",
    "machines",
    "quadlet_binary",
    "why_not",
]
