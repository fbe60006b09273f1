"""Where things lie: the paths of the system scope and of a user's scope."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Self

#: Below it, root defines deployments for users: NAME/deployments.d/.
USERS = Path("/etc/leger/users")


@dataclass(frozen=True)
class Scope:
    """The folders that one manager's deployments live in; `name` is "system" or "user".

    `host_config` is the host's config.yaml, which holds for a user's scope too.
    """

    name: str
    etc: Path
    state: Path
    runtime: Path
    quadlet_folders: tuple[Path, ...]
    vendor: Path | None = None
    host_config: Path | None = None

    @classmethod
    def system(cls, root: Path = Path("/")) -> Self:
        """The scope of the system manager; `root` is another folder in tests only."""
        return cls(
            name="system",
            etc=root / "etc/leger",
            state=root / "var/lib/leger",
            runtime=root / "run/leger",
            quadlet_folders=(
                root / "run/containers/systemd",
                root / "etc/containers/systemd",
                root / "usr/share/containers/systemd",
            ),
            vendor=root / "usr/lib/leger",
        )

    @classmethod
    def user(cls) -> Self:
        """The scope of the calling user's manager: below the home, wherever XDG's variables point,
        because a shell, the manager's services and its generators each see others.
        """
        home = Path.home()
        uid = os.getuid()
        runtime = Path(os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{uid}")
        config = os.environ.get("XDG_CONFIG_HOME", "")
        podman = Path(config) if config.startswith("/") else home / ".config"
        return cls(
            name="user",
            etc=home / ".config/leger",
            state=home / ".local/state/leger",
            runtime=runtime / "leger",
            quadlet_folders=(
                runtime / "containers/systemd",
                podman / "containers/systemd",
                Path(f"/etc/containers/systemd/users/{uid}"),
                Path("/etc/containers/systemd/users"),
            ),
            host_config=Path("/etc/leger/config.yaml"),
        )

    @property
    def config(self) -> Path:
        return self.etc / "config.yaml"

    @property
    def deployments(self) -> Path:
        return self.etc / "deployments.d"

    @property
    def units(self) -> Path:
        return self.etc / "units.json"

    @property
    def units_previous(self) -> Path:
        return self.etc / "units.json.prev"

    @property
    def current(self) -> Path:
        return self.state / "current"

    @property
    def sources(self) -> Path:
        return self.state / "sources"

    @property
    def store(self) -> Path:
        return self.state / "store"

    @property
    def data(self) -> Path:
        return self.state / "data"

    @property
    def staged(self) -> Path:
        return self.state / "staged"

    @property
    def backups(self) -> Path:
        return self.state / "backups"

    @property
    def backup_journal(self) -> Path:
        return self.state / "backup.json"

    @property
    def manifests(self) -> Path:
        return self.state / "manifests"

    @property
    def switch(self) -> Path:
        return self.state / "switch.json"

    @property
    def bad_commits(self) -> Path:
        return self.state / "badcommits.json"

    @property
    def fleet(self) -> Path:
        """What this host gets of its fleet: a link to a folder with definitions."""
        return self.sources / "fleet"

    @property
    def lock(self) -> Path:
        return self.state / "lock"

    @property
    def notified(self) -> Path:
        return self.state / "notified"

    @property
    def started(self) -> Path:
        """Where the hook notes which values each unit got; not there before the first does."""
        return self.runtime / "started"

    @property
    def owed(self) -> Path:
        """The restarts that units are owed (`leger.owed`)."""
        return self.runtime / "owed.json"
