"""setec's server in plain Python, for a caller who may do everything: the oracle of random tests.

Written from setec's documented behaviour, not from legerd's code, and as plainly as can be. Every
call gives what the server would answer: a status and, on success, what is in the body. Of its
known bugs it has neither: a put of an empty value after the latest version was deleted makes a
version, and there is none after the last number.
"""

from __future__ import annotations

from dataclasses import dataclass, field

Answer = tuple[int, object]

LAST = 2**32 - 1
DONE: Answer = (200, {})
MISSING: Answer = (404, None)
UNCHANGED: Answer = (304, None)
INVALID: Answer = (400, None)
CLAIMED: Answer = (412, None)
FAILED: Answer = (500, None)


@dataclass
class Entry:
    """One secret."""

    versions: dict[int, bytes] = field(default_factory=dict)
    active: int = 0
    latest: int = 0
    deleted: set[int] = field(default_factory=set)


class Model:
    """All secrets of a server."""

    def __init__(self) -> None:
        self.secrets: dict[str, Entry] = {}

    def list(self) -> Answer:
        """SecretInfo of all, by name; None where Go says null."""
        return 200, [self.info(name)[1] for name in sorted(self.secrets, key=str.encode)] or None

    def info(self, name: str) -> Answer:
        """SecretInfo of one."""
        entry = self.secrets.get(name)
        if entry is None:
            return MISSING
        versions = sorted(entry.versions)
        return 200, {"Name": name, "Versions": versions, "ActiveVersion": entry.active}

    def get(self, name: str, version: int = 0, if_changed: bool = False) -> Answer:
        """(value, version)."""
        entry = self.secrets.get(name)
        if entry is None:
            return MISSING
        if version and if_changed:
            if version == entry.active:
                return UNCHANGED
            version = 0
        number = version or entry.active
        if number not in entry.versions:
            return MISSING
        return 200, (entry.versions[number], number)

    def put(self, name: str, value: bytes) -> Answer:
        """The number of the version."""
        if name == "" or name.startswith("_internal/"):
            return FAILED
        entry = self.secrets.get(name)
        if entry is None:
            self.secrets[name] = Entry({1: value}, 1, 1)
            return 200, 1
        if entry.latest in entry.versions and entry.versions[entry.latest] == value:
            return 200, entry.latest
        if entry.latest == LAST:
            return FAILED
        entry.latest += 1
        entry.versions[entry.latest] = value
        return 200, entry.latest

    def create_version(self, name: str, version: int, value: bytes) -> Answer:
        """Nothing."""
        if name == "":
            return FAILED
        if version == 0:
            return INVALID
        entry = self.secrets.get(name, Entry())
        if version in entry.versions or version in entry.deleted:
            return CLAIMED
        self.secrets[name] = entry
        entry.versions[version] = value
        entry.active = version
        entry.latest = max(entry.latest, version)
        return DONE

    def activate(self, name: str, version: int) -> Answer:
        """Nothing."""
        if name == "" or name.startswith("_internal/") or version == 0:
            return FAILED
        entry = self.secrets.get(name)
        if entry is None or version not in entry.versions:
            return MISSING
        entry.active = version
        return DONE

    def delete(self, name: str) -> Answer:
        """Nothing."""
        if name.startswith("_internal/"):
            return FAILED
        self.secrets.pop(name, None)
        return DONE

    def delete_version(self, name: str, version: int) -> Answer:
        """Nothing."""
        if name.startswith("_internal/") or version == 0:
            return FAILED
        entry = self.secrets.get(name)
        if entry is None:
            return MISSING
        if version == entry.active:
            return FAILED
        if version not in entry.versions:
            return MISSING
        del entry.versions[version]
        entry.deleted.add(version)
        return DONE
