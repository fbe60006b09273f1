"""Which unit a hook notes that failed for want of legerd."""

from __future__ import annotations

import pytest
from leger_hook.waiting import unit_of


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("0::/system.slice/web.service\n", "web.service"),
        ("0::/system.slice/web.service/.control\n", "web.service"),
        ("0::/system.slice/system-app.slice/app@a.service\n", "app@a.service"),
        ("0::/user.slice/user-0.slice/user@0.service/app.slice/x.service\n", "x.service"),
        ("1:name=systemd:/old.service\n0::/system.slice/new.service\n", "new.service"),
        ("0::/user.slice/user-0.slice/session-1.scope\n", ""),
        ("", ""),
    ],
)
def test_the_innermost_service_counts(text: str, unit: str) -> None:
    assert unit_of(text) == unit
