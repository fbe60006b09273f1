"""`make demo`: the story is told to its end, with nothing in it that went wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from machine import Machine

ROOT = Path(__file__).resolve().parents[2]
CHAPTERS = (
    "A host",
    "From Git to running containers",
    "The host restarts",
    "One change",
    "One bad commit",
    "The power goes",
    "Go on by hand",
)


@pytest.mark.machine
def test_the_demo_tells_its_story_to_the_end(machines_allowed: None) -> None:
    name = f"demo-test-{os.getpid()}"
    try:
        told = subprocess.run(
            [sys.executable, str(ROOT / "tools/demo.py")],
            env={**os.environ, "LEGER_DEMO": name},
            capture_output=True,
            text=True,
            timeout=500,
        )
    finally:
        Machine(name).drop()
    assert told.returncode == 0, told.stdout[-3000:] + told.stderr
    places = [told.stdout.index(chapter) for chapter in CHAPTERS]
    assert places == sorted(places)
    assert "worker.container:6: unsupported key 'Imgae'" in told.stdout
    assert "Hello from Git, autumn sale" in told.stdout
    assert "warning" not in told.stdout
    assert "Traceback" not in told.stdout
