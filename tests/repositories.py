"""Real Git repositories for tests, and faults as an administrator reads them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

from leger.model import Fault

FIXTURES = Path(__file__).parent / "data/repositories"
IDENTITY = {
    "GIT_AUTHOR_NAME": "Ada",
    "GIT_AUTHOR_EMAIL": "ada@example.org",
    "GIT_COMMITTER_NAME": "Ada",
    "GIT_COMMITTER_EMAIL": "ada@example.org",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_NOSYSTEM": "1",
}


class Repository:
    """A real Git repository; a file's content is text, bytes, or a link's target ("-> target")."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True)
        self.git("init", "--quiet", "--initial-branch=main")

    def git(self, *arguments: str) -> str:
        done = subprocess.run(
            ["git", *arguments],
            cwd=self.path,
            env={**os.environ, **IDENTITY},
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout.strip()

    def commit(self, files: Mapping[str, str | bytes | None], message: str = "change") -> str:
        for name, content in files.items():
            place(self.path / name, content)
        self.git("add", "--all", "--force")
        self.git("commit", "--quiet", "--allow-empty", "-m", message)
        return self.git("rev-parse", "HEAD")


def place(path: Path, content: str | bytes | None) -> None:
    """Write, link ("-> target") or remove (None) one file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_symlink() or path.exists():
        path.unlink()
    if isinstance(content, str) and content.startswith("-> "):
        path.symlink_to(content[3:])
    elif content is not None:
        path.write_bytes(content.encode() if isinstance(content, str) else content)


def content(folder: Path) -> dict[str, str | bytes | None]:
    """The files of a folder, as Repository.commit takes them."""
    found: dict[str, str | bytes | None] = {}
    for path in sorted(folder.rglob("*")):
        if path.is_symlink():
            found[str(path.relative_to(folder))] = f"-> {path.readlink()}"
        elif path.is_file():
            found[str(path.relative_to(folder))] = path.read_bytes()
    return found


def shown(faults: Iterable[Fault]) -> list[str]:
    """Faults as an administrator reads them."""
    return [str(fault) for fault in faults]
