"""Go, which runs setec's own code: one that setec's module accepts (or 1.21, which fetches one)."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.legerd import oracle


def run(module: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Go in `module`; it may fetch a newer one of itself if the module needs that."""
    command = oracle.go()
    assert command
    home = os.environ.get("HOME") or str(Path("~").expanduser())
    return subprocess.run(
        [command, *arguments],
        cwd=module,
        env={**os.environ, "HOME": home, "GOFLAGS": "-mod=mod", "GOTOOLCHAIN": "auto"},
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )


def need(module: Path) -> None:
    """Skip, and say so, where there is no Go, or not what `module` is made of (in CI: fail)."""
    if not oracle.go():
        pytest.skip("setec's own code needs Go, which is not installed")
    if (version := run(module, "version")).returncode:
        pytest.skip(f"this Go is too old for setec's own code: {_last_line(version)}")
    fetched = run(module, "list", "-deps", "-test", ".")
    if fetched.returncode and not os.environ.get("CI"):
        pytest.skip(f"setec's own code cannot be had: {_last_line(fetched)}")
    assert fetched.returncode == 0, fetched.stderr


def _last_line(done: subprocess.CompletedProcess[str]) -> str:
    return (done.stderr.strip().splitlines() or ["no word"])[-1]
