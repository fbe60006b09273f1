"""leger apply: podman is asked what runs while the rest of the program is loaded."""

from __future__ import annotations

import argparse

from leger import podman


def run(options: argparse.Namespace) -> int:
    """Apply what was fetched; 1 if anything failed, whatever else was done."""
    podman.look_at_containers()
    from leger.cli import reconcile

    return reconcile.run(options)
