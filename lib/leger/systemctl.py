"""A service manager asked by systemctl: for the time at boot when there is no bus."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from leger import processes, properties
from leger.errors import LegerError

if TYPE_CHECKING:
    from leger.systemd import State

_STOPPED_WITH = "RequiredBy,RequisiteOf,BoundBy,ConsistsOf,PropagatesStopTo"


Tell = Callable[[Collection[str]], None]


def untold(_waiting: Collection[str]) -> None:
    """Where nobody looks."""


class Systemctl:
    """The manager by systemctl; the same interface as over the bus."""

    def __init__(self, user: bool) -> None:
        self._user = user
        self._command = ["systemctl", *(["--user"] if user else []), "--no-pager"]

    def phase(self) -> str:
        return self._run("is-system-running").stdout.decode().strip()

    def reload(self) -> None:
        done = self._run("daemon-reload", timeout=180)
        if done.code != 0:
            raise LegerError(f"daemon-reload failed: {done.message}")

    def states(self, names: Iterable[str]) -> dict[str, State]:
        from leger.systemd import State

        wanted = list(dict.fromkeys(names))
        if not wanted:
            return {}
        text = self._run("show", "-p", "Id,LoadState,ActiveState,SubState", "--", *wanted).stdout
        blocks = text.decode().strip().split("\n\n")
        found = (dict(line.split("=", 1) for line in block.splitlines()) for block in blocks)
        return {
            name: State(block["LoadState"], block["ActiveState"], block["SubState"])
            for name, block in zip(wanted, found, strict=True)
        }

    def present(self) -> dict[str, State]:
        from leger.systemd import State

        text = self._run("list-units", "--all", "--full", "--plain", "--no-legend").stdout.decode()
        rows = (line.split()[:4] for line in text.splitlines())
        return {row[0]: State(*row[1:]) for row in rows if len(row) == 4}

    def instances(self, templates: Iterable[str]) -> list[str]:
        patterns = [name.replace("@.", "@?*.", 1) for name in templates]
        if not patterns:
            return []
        text = self._run(
            "list-units", "--all", "--full", "--plain", "--no-legend", "--", *patterns
        ).stdout
        return sorted(line.split()[0] for line in text.decode().splitlines() if line.split())

    def stopped_with(self, name: str) -> frozenset[str]:
        keys = f"{_STOPPED_WITH},Triggers" if name.endswith(".socket") else _STOPPED_WITH
        return frozenset(self._show(name, keys).split())

    def fragment(self, name: str) -> Path | None:
        path = self._show(name, "FragmentPath").strip()
        return Path(path) if path else None

    def restarts(self, name: str) -> int:
        text = self._show(name, "NRestarts").strip()
        return int(text) if text.isdigit() else 0

    def was_stopped(self, name: str) -> bool:
        found = properties.endings([name], user=self._user).get(name)
        return found is not None and found.stopped

    def reset_failed(self, names: Iterable[str]) -> None:
        wanted = list(names)
        if wanted:
            self._run("reset-failed", "--", *wanted)

    def can_reload(self, name: str) -> bool:
        return self._show(name, "CanReload").strip() == "yes"

    def run(
        self, jobs: Sequence[tuple[str, str]], timeout: float, tell: Tell = untold
    ) -> dict[str, str]:
        results: dict[str, str] = {}
        for verb, name in jobs:
            tell([other for _, other in jobs if other not in results])
            try:
                done = self._run(verb, "--", name, timeout=timeout)
            except processes.TimedOutError:
                results[name] = "unfinished"
            else:
                results[name] = "done" if done.code == 0 else _result(done.message)
        return results

    def queue(self, verb: str, name: str) -> None:
        done = self._run(verb, "--no-block", "--", name)
        if done.code != 0:
            raise LegerError(f"{name}: cannot be {verb}ed: {done.message}")

    def _show(self, name: str, keys: str) -> str:
        return self._run("show", "--value", "-p", keys, "--", name).stdout.decode()

    def _run(self, *arguments: str, timeout: float = 60) -> processes.Completed:
        return processes.run([*self._command, *arguments], timeout=timeout)


def _result(message: str) -> str:
    """systemctl's last word on a job, in the words of JobRemoved."""
    if "dependency" in message:
        return "dependency"
    return "failed" if message.startswith("Job for ") else f"refused: {message}"
