"""Who may do what: setec's rules and patterns, and policy.yaml for the unix sockets."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from leger import yamlfile
from leger.errors import ConfigError, LegerError

from legerd import log

ACTIONS = ("get", "info", "put", "create-version", "activate", "delete")
METRICS = "metrics"  # of no secret: whoever has any rule may read the metrics
_SELECTORS = ("user", "uid", "group", "unit")


def matches(pattern: str, name: str) -> bool:
    """Whether setec's `pattern` covers `name`: only * is special, it stands for anything."""
    if "*" not in pattern:
        return pattern == name
    parts = pattern.split("*")
    if not name.startswith(parts[0]):
        return False
    at = len(parts[0])
    for part in parts[1:-1]:
        found = name.find(part, at)
        if found < 0:
            return False
        at = found + len(part)
    return len(name) - len(parts[-1]) >= at and name.endswith(parts[-1])


@dataclass(frozen=True)
class Rule:
    """What setec calls a capability rule: these actions on the secrets of these patterns."""

    actions: frozenset[str]
    secrets: tuple[str, ...]

    def allows(self, action: str, name: str) -> bool:
        """Whether this rule covers `action` on `name`."""
        return action in self.actions and any(matches(pattern, name) for pattern in self.secrets)


EVERYTHING = Rule(frozenset(ACTIONS), ("*",))


def allows(rules: Iterable[Rule], action: str, name: str) -> bool:
    """Whether any of `rules` covers `action` on `name`; there is no deny."""
    return any(rule.allows(action, name) for rule in rules)


@dataclass(frozen=True)
class Subject:
    """A local process as the policy sees it; `unit` is its system unit, "" if it has none."""

    uid: int
    user: str
    groups: frozenset[str]
    unit: str
    contained: bool


@dataclass(frozen=True)
class LocalRule:
    """A rule of policy.yaml: a rule, and whom it is for. What is not given does not matter."""

    rule: Rule
    user: str | None = None
    uid: int | None = None
    group: str | None = None
    unit: str | None = None

    @classmethod
    def parse(cls, node: yamlfile.Node) -> Self:
        """One entry of `rules`; ConfigError names file and line."""
        given = node.mapping({*_SELECTORS, "action", "secret"})
        if not any(name in given for name in _SELECTORS):
            raise node.error(f"a rule names one of {', '.join(_SELECTORS)}")
        if "action" not in given:
            raise node.error("a rule names its action")
        actions = [item.choice((*ACTIONS, METRICS)) for item in given["action"].sequence()]
        if "secret" not in given and set(actions) != {METRICS}:
            raise node.error("a rule names its secret")
        secrets = given["secret"].texts() if "secret" in given else ()
        return cls(
            rule=Rule(frozenset(actions), secrets),
            user=given["user"].text() if "user" in given else None,
            uid=given["uid"].integer() if "uid" in given else None,
            group=given["group"].text() if "group" in given else None,
            unit=given["unit"].text() if "unit" in given else None,
        )

    def names(self, subject: Subject) -> bool:
        """Whether this rule is for `subject`; a container only by the name of its unit."""
        if subject.contained and self.unit is None:
            return False
        return (
            self.user in (None, subject.user)
            and self.uid in (None, subject.uid)
            and (self.group is None or self.group in subject.groups)
            and self.unit in (None, subject.unit)
        )


@dataclass(frozen=True)
class Policy:
    """All rules of policy.yaml."""

    rules: tuple[LocalRule, ...] = ()
    closed: bool = False

    @classmethod
    def parse(cls, node: yamlfile.Node) -> Self:
        """The content of policy.yaml; ConfigError names file and line."""
        given = node.mapping({"rules"})
        entries: Sequence[yamlfile.Node] = given["rules"].sequence() if "rules" in given else ()
        return cls(tuple(LocalRule.parse(entry) for entry in entries))

    def rules_for(self, subject: Subject) -> tuple[Rule, ...]:
        """What `subject` may do: root everything unless a rule names it, others by rules only."""
        if self.closed:
            return ()
        found = tuple(entry.rule for entry in self.rules if entry.names(subject))
        if not found and subject.uid == 0 and not subject.contained:
            return (EVERYTHING,)
        return found


class PolicyFile:
    """policy.yaml as it is now: read again when it changed, the last good one while it is bad."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._policy = Policy(closed=True)
        self._seen: tuple[int, ...] | None = None

    def current(self) -> Policy:
        """The policy to go by; a file that is not there means: root everything, others nothing."""
        with self._lock:
            signature = self._signature()
            if signature != self._seen:
                self._seen = signature
                self._read(there=bool(signature))
            return self._policy

    def _signature(self) -> tuple[int, ...]:
        try:
            status = self._path.stat()
        except FileNotFoundError:
            return ()
        except OSError as error:
            return (-(error.errno or 1),)
        return status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino

    def _read(self, *, there: bool) -> None:
        try:
            self._policy = self._parsed() if there else Policy()
        except LegerError as error:
            kept = "nobody may do anything" if self._policy.closed else "the last good one stays"
            log.error(f"{error}: {kept}", error.hint)

    def _parsed(self) -> Policy:
        if self._path.is_file() and self._path.stat().st_mode & 0o022:
            raise ConfigError(
                f"{self._path}: others than its owner may write it",
                hint=f"chmod go-w {self._path}",
            )
        return Policy.parse(yamlfile.read(self._path))
