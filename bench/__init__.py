"""Benchmarks: what must be fast, against the thing named, in the same run."""

import sys
from pathlib import Path

_ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(_ROOT / folder) for folder in ("lib", "generator", "hooks", "tests")]
