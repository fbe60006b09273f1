"""switch.json: what an interrupted switch has still to stop, start and judge.

It is written before the first unit is stopped and removed when the generation was judged. Which
side of the commit point a switch stands on is not in it: units.json says that.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from leger import disk
from leger.errors import LegerError
from leger.generation import Point
from leger.scope import Scope

FORMAT = 1


@dataclass(frozen=True)
class Returned:
    """A deployment that went back, the commit that it went back from, and why.

    `commit` is "" for one that was removed, `definition` the text of its definition then; `others`
    are the deployments that went back with it, and their commits.
    """

    deployment: str
    commit: str
    reason: str
    definition: str = ""
    others: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Switch:
    """A switch from one generation to another.

    `base` is the generation that what fails goes back to: `origin`, unless this switch itself
    goes back. `boot` is the boot id it began in. `run` maps each unit that is touched to whether
    it is to run (it did before the first stop); `gone` are those that exist no longer, `held`
    those that a pod would start although they were stopped, `watch` those that an earlier part
    of the same switch started and that are still to be judged. `adopt` are the host's own quadlet
    files that the target replaces, `restore` those that come back. `definitions` are the texts of
    deployments.d/NAME.yaml after the switch (None: no file), `previous` the same before it.
    `secrets` and `images` are Podman secrets and built images that nothing needs after it;
    `tags` are the images' names and the ids that they are to have. `bad` are the units that were
    not well, with the reason; of those, `lost` have nothing to go back to. `returned` are the
    deployments that this switch takes back, `refused` the commits not to be deployed again.
    Times are seconds. One whose target is its origin only restarts units.
    """

    origin: Point
    target: Point
    boot: str
    base: Point = field(default_factory=Point)
    stop: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    restart: tuple[str, ...] = ()
    reload: tuple[str, ...] = ()
    start: tuple[str, ...] = ()
    held: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()
    watch: tuple[str, ...] = ()
    run: Mapping[str, bool] = field(default_factory=dict)
    adopt: tuple[str, ...] = ()
    restore: tuple[str, ...] = ()
    definitions: Mapping[str, str | None] = field(default_factory=dict)
    previous: Mapping[str, str | None] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    timeout: float = 60.0
    quiet: float = 5.0
    bad: Mapping[str, str] = field(default_factory=dict)
    lost: tuple[str, ...] = ()
    returned: tuple[Returned, ...] = ()
    refused: tuple[Returned, ...] = ()

    def save(self, scope: Scope) -> None:
        """Make it durable."""
        raw = asdict(self) | {"format": FORMAT}
        disk.write_file(scope.switch, json.dumps(raw, indent=1).encode() + b"\n", 0o600)

    @classmethod
    def load(cls, scope: Scope) -> Self | None:
        """The switch that was interrupted; None if there is none. LegerError if unreadable."""
        if not scope.switch.exists():
            return None
        data = disk.read_file(scope.switch)
        try:
            return cls._parse(json.loads(data))
        except (ValueError, KeyError, TypeError) as error:
            raise LegerError(
                f"{scope.switch}: cannot be understood: {error}",
                hint=f"remove {scope.switch}, then deploy again",
            ) from error

    @classmethod
    def _parse(cls, raw: dict[str, Any]) -> Self:
        if raw.pop("format") != FORMAT:
            raise ValueError("unknown format")
        for key in ("origin", "target", "base"):
            raw[key] = Point(**raw[key])
        for key in ("returned", "refused"):
            raw[key] = [Returned(**item) for item in raw[key]]
        lists = {key: tuple(value) for key, value in raw.items() if isinstance(value, list)}
        return cls(**(raw | lists))

    @property
    def is_restart(self) -> bool:
        """Whether the generation stays as it is (`leger.restarting`)."""
        return self.origin == self.target

    @property
    def goes_back(self) -> bool:
        """Whether it takes back one that was not well; itself it is never taken back."""
        return self.base != self.origin

    def committed(self, emitted: Point | None) -> bool | None:
        """Whether units.json is the target's; None if it is neither side's."""
        if emitted == self.target:
            return True
        before = emitted is None and self.origin == Point()
        return False if emitted == self.origin or before else None

    def jobs(self, boot: str) -> list[tuple[str, str]]:
        """What is to be done with units after the reload; after a reboot (`boot` is another)
        only what the boot did not start.
        """
        if self.boot != boot:
            return [("start", name) for name in (*self.restart, *self.start, *self.watch)]
        return [
            *(("restart", name) for name in self.restart),
            *(("reload", name) for name in self.reload),
            *(("start", name) for name in self.start),
            *(("stop", name) for name in self.held),
        ]


def remove(scope: Scope) -> None:
    """Forget the switch: it is done."""
    if scope.switch.exists():
        scope.switch.unlink()
        disk.sync_folder(scope.switch.parent)


def boot_id() -> str:
    """What tells this boot from the next."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
