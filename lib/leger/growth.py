"""What one fetch adds to a mirror, measured while it runs and taken out again if it fails.

A remote that speaks Git's protocol sends one pack, and the kernel limits its size. One that only
serves files is read file by file: what that costs only the sum of them shows.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from leger import gitprogram


class Growth:
    """The objects that come into the mirror at `path` from now on."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._before = {name for name, _ in self._files()}

    def size(self) -> int:
        """How many bytes it is by now."""
        return sum(size for name, size in self._files() if name not in self._before)

    def undo(self) -> None:
        """Take it out again, and the references that would lead nowhere without it."""
        new = [name for name, _ in self._files() if name not in self._before]
        for name in new:
            Path(name).unlink(missing_ok=True)
        if new:
            self._drop_references()

    def _files(self) -> Iterator[tuple[str, int]]:
        for folder, _, names in os.walk(self.path / "objects"):
            for name in names:
                path = f"{folder}/{name}"
                with contextlib.suppress(OSError):  # Git gives a file another name, or removes it
                    yield path, os.lstat(path).st_size

    def _drop_references(self) -> None:
        listed = self._git("for-each-ref", "--format=%(objectname) %(refname)").splitlines()
        ids = b"".join(line.partition(b" ")[0] + b"\n" for line in listed)
        found = self._git("cat-file", "--batch-check", data=ids).splitlines()
        dropped = [
            b"delete " + line.partition(b" ")[2] + b"\n"
            for line, answer in zip(listed, found, strict=False)
            if answer.endswith(b" missing")
        ]
        if dropped:
            self._git("update-ref", "--stdin", data=b"".join(dropped))

    def _git(self, *arguments: str, data: bytes = b"") -> bytes:
        return gitprogram.local(arguments, self.path, 60, data=data).stdout
