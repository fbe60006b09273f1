"""The generator as a process of its own, in a folder that stands for the root of a host."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from leger_generator.identity import quadlet_identity
from leger_generator.plan import File, Plan, encode

ROOT = Path(__file__).resolve().parents[2]
PYTHON = "/usr/bin/python3"
START = """#!{python} -IS
import posix, sys
sys.path.insert(0, {modules!r})
from leger_generator.main import environment, main
code = main(sys.argv, environment(), root={root!r}, kmsg={kmsg!r}, limit={limit!r})
if environment().get("SHOW_MODULES"):
    print("\\n".join(sys.modules))
sys.exit(code)
"""


@dataclass(frozen=True)
class Run:
    """What one run of the generator did: exit status, stderr's lines, the files it wrote."""

    code: int
    lines: list[str]
    stdout: str
    folder: Path

    @property
    def texts(self) -> dict[str, str]:
        return {
            str(path.relative_to(self.folder)): path.read_text()
            for path in sorted(self.folder.rglob("*"))
            if path.is_file() and not path.is_symlink()
        }

    @property
    def links(self) -> dict[str, str]:
        return {
            str(path.relative_to(self.folder)): str(path.readlink())
            for path in sorted(self.folder.rglob("*"))
            if path.is_symlink()
        }


@dataclass
class Host:
    """A host's files below `root`, and its generator."""

    root: Path
    limit: float = 5.0
    kmsg: str = "/nonexistent/kmsg"
    runs: int = field(default=0)

    def __post_init__(self) -> None:
        for name in ("etc/leger", "run/leger", "var/lib/leger/store", "generated"):
            (self.root / name).mkdir(parents=True, exist_ok=True)

    @property
    def units(self) -> Path:
        return self.root / "etc/leger/units.json"

    @property
    def previous(self) -> Path:
        return self.root / "etc/leger/units.json.prev"

    @property
    def last_good(self) -> Path:
        return self.root / "run/leger/units.json"

    @property
    def note(self) -> dict[str, Any]:
        return dict(json.loads((self.root / "run/leger/emitted.json").read_text()))

    def store(self, name: str, files: Mapping[str, str]) -> Path:
        """A tree in the store."""
        tree = self.root / "var/lib/leger/store" / name
        for path, text in files.items():
            target = tree / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)
        return tree

    def generate(
        self,
        *,
        environ: Mapping[str, str] | None = None,
        argv0: str = "leger-generator",
        folder: Path | None = None,
    ) -> Run:
        """Run the generator as systemd runs it, into a fresh folder or `folder`."""
        self.runs += 1
        folder = folder or self.root / "generated" / str(self.runs)
        folder.mkdir(exist_ok=True)
        program = self.root / argv0
        program.parent.mkdir(parents=True, exist_ok=True)
        program.write_text(
            START.format(
                python=PYTHON,
                modules=str(ROOT / "generator"),
                root=str(self.root),
                kmsg=self.kmsg,
                limit=self.limit,
            )
        )
        program.chmod(0o755)
        done = subprocess.run(
            [program, folder, f"{folder}.early", f"{folder}.late"],
            cwd="/",
            env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", **(environ or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )
        return Run(done.returncode, done.stderr.splitlines(), done.stdout, folder)


def plan(generation: int = 1, *, scope: str = "system", **overrides: Any) -> Plan:
    """A small plan: a service with its drop-in and the link that starts it."""
    content: dict[str, Any] = {
        "quadlet": {},
        "deployments": {"web": {"store": "/var/lib/leger/store/web-0", "commit": "c" * 40}},
        "files": {
            "web.service": File(f"[Service]\nExecStart=/bin/true {generation}\n", "web"),
            "web.service.d/00-leger.conf": File("[Service]\n", "web", ["db=web/db"]),
        },
        "links": {"multi-user.target.wants/web.service": "../web.service"},
    }
    return Plan(generation, scope, **{**content, **overrides})


def encoded(generation: int = 1, **overrides: Any) -> bytes:
    """The bytes of such a plan."""
    return encode(plan(generation, **overrides))


def identity_of(path: Path) -> dict[str, object]:
    """The identity that a compile with the binary at `path` records."""
    return quadlet_identity(str(path))
