"""Users whose deployments root defines, in /etc/leger/users/NAME/deployments.d/.

Root writes there and nowhere else: never into a home, which its owner could turn into a trap by a
link. All that is deployed for a user is done by `leger --user` as that user.
"""

from __future__ import annotations

import pwd
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from leger import disk, processes, yamlfile
from leger.deployment import Deployment, dump, root_folder
from leger.errors import LegerError, UsageError
from leger.scope import USERS

_LINGER = Path("/var/lib/systemd/linger")


@dataclass(frozen=True)
class Account:
    """A user of the host who is not root."""

    name: str
    uid: int

    @property
    def runtime(self) -> Path:
        """XDG_RUNTIME_DIR of this user's manager."""
        return Path(f"/run/user/{self.uid}")

    @property
    def has_manager(self) -> bool:
        """Whether this user's service manager runs."""
        return (self.runtime / "systemd/private").exists()

    @property
    def lingers(self) -> bool:
        """Whether the manager runs from the boot on, without a login."""
        return (_LINGER / self.name).exists()

    def definition(self, deployment: str) -> Path:
        """Where root defines `deployment` of this user."""
        return root_folder(self.name) / f"{deployment}.yaml"


def find(name: str) -> Account:
    """The user `name`. Raises UsageError if there is none, or if it is root."""
    try:
        entry = pwd.getpwnam(name)
    except (KeyError, ValueError) as error:
        raise UsageError(f"there is no user {name}", hint="useradd makes one") from error
    if entry.pw_uid == 0:
        raise UsageError("root's deployments are the system's", hint="leave --scope out")
    return Account(entry.pw_name, entry.pw_uid)


def with_definitions() -> tuple[list[Account], list[str]]:
    """The users that root has defined deployments for, and lines about those that are not there."""
    accounts: list[Account] = []
    strangers: list[str] = []
    for folder in sorted(USERS.iterdir()) if USERS.is_dir() else ():
        if folder.name.startswith(".") or not (folder / "deployments.d").is_dir():
            continue
        try:
            accounts.append(find(folder.name))
        except UsageError as error:
            strangers.append(f"{folder}: {error}")
    return accounts, strangers


def require_manager(account: Account) -> None:
    """Raise LegerError unless the user's service manager runs."""
    if not account.has_manager:
        raise LegerError(
            f"user {account.name}: no service manager runs",
            hint=f"loginctl enable-linger {account.name}",
        )


def provide_manager(account: Account, report: Callable[[str], None]) -> None:
    """Let the user's manager run from now on and from every boot on; says so if that is new."""
    if not account.lingers:
        done = processes.run(["loginctl", "enable-linger", account.name], timeout=60)
        if done.code != 0:
            raise LegerError(
                f"user {account.name}: no lingering: {done.message}",
                hint=f"loginctl enable-linger {account.name}",
            )
        report(f"user {account.name}: lingering enabled, so that its units start with the host")
    start = ["systemctl", "start", f"user@{account.uid}.service"]
    done = processes.run(start, timeout=120)
    if done.code != 0:
        raise LegerError(
            f"user {account.name}: the service manager does not start: {done.message}",
            hint=f"systemctl status user@{account.uid}.service",
        )


def defined(account: Account, deployment: str) -> Deployment | None:
    """What root has defined as `deployment` of this user. Raises ConfigError."""
    path = account.definition(deployment)
    if not path.exists():
        return None
    return Deployment.parse(yamlfile.read(path), name=deployment, scope="user")


@contextmanager
def defining(
    account: Account, name: str, wanted: Deployment | None
) -> Iterator[Callable[[], None]]:
    """Define `name` as `wanted` (None: not at all), for good once what is yielded is called.

    Otherwise, whatever happens, the definition of before comes back.
    """
    path = account.definition(name)
    before = disk.read_file(path) if path.exists() else None
    kept: list[bool] = []
    _put(path, dump(wanted) if wanted else None)
    try:
        yield lambda: kept.append(True)
    finally:
        if not kept:
            _put(path, before)


def _put(path: Path, data: bytes | None) -> None:
    if data is not None:
        disk.make_folder(path.parent, 0o755)
        disk.write_file(path, data)
        return
    if path.exists():
        path.unlink()
        disk.sync_folder(path.parent)
    with suppress(OSError):  # others are still there
        path.parent.rmdir()
        path.parent.parent.rmdir()
