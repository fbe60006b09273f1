"""The example of docs/setec-client.md runs as it stands, but for its addresses."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from leger.secretvalue import SecretValue

from tests.legerd.daemon import Daemon
from tests.setec import setecs

ROOT = Path(__file__).parents[2]


def example() -> str:
    found = re.search(r"```python\n(.*?)```", (ROOT / "docs/setec-client.md").read_text(), re.S)
    assert found
    return found[1]


def test_the_example_has_ten_lines() -> None:
    assert len([line for line in example().splitlines() if line]) == 10


def test_the_example_runs(port: Daemon, tmp_path: Path) -> None:
    setecs.client(port).put("ours/db-password", SecretValue(b"hunter2"))
    program = (
        example()
        .replace("http://legerd.example.ts.net:8080", setecs.url(port))
        .replace("/run/shop", str(tmp_path))
        .replace("shop/db-password", "ours/db-password")
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": str(ROOT / "lib")},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("the password has 7 characters\n", "")
    assert b"aHVudGVyMg==" in (tmp_path / "secrets").read_bytes()
