"""What somebody wants of a scope; `leger.planning` finds out how much of it can be had."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from leger.deployment import Target
from leger.prepare import Prepared


@dataclass(frozen=True)
class Wish:
    """What is asked for: deployments to bring to a commit, others to remove, the rest as it is.

    `reopened` are deployments that are prepared already, as an earlier generation had them.
    `adopt` lets the targets take over the host's own quadlets; `held` are those that `reopened`
    had taken over then, and does again; `restore` those that come back. `allow_missing_secrets`
    makes a warning of a secret that legerd does not have.
    """

    targets: tuple[Target, ...] = ()
    removed: frozenset[str] = frozenset()
    reopened: Mapping[str, Prepared] = field(default_factory=dict)
    adopt: bool = False
    held: Mapping[str, tuple[Path, ...]] = field(default_factory=dict)
    restore: tuple[str, ...] = ()
    allow_missing_secrets: bool = False
