"""What podman is asked: each thing once in a command, unless it may have changed since."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from leger import podman, processes
from leger.errors import LegerError

PROGRAM = """#!/bin/sh
echo "$*" >>{log}
case "$*" in
    *" gone"*) exit 125 ;;
    "image inspect"*) shift 4; for name; do echo "id-of-$name"; done ;;
    ps*) printf 'web,alias\\tlocalhost/web:1\\tid\\n' ;;
esac
"""


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """A podman of its own; yields what it was asked since the last time."""
    log, program = tmp_path / "log", tmp_path / "podman"
    program.write_text(PROGRAM.format(log=log))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(podman, "_seen", podman._Seen())

    def read() -> list[str]:
        lines = log.read_text().splitlines() if log.exists() else []
        log.write_text("")
        return [" ".join(word for word in line.split()[:2]) for line in lines]

    return read


def test_an_image_is_asked_for_once(asked):
    assert podman.image_ids(["a", "b"]) == {"a": "id-of-a", "b": "id-of-b"}
    assert asked() == ["image inspect"]
    assert podman.has_image("a")
    assert podman.image_ids(["b"]) == {"b": "id-of-b"}
    assert asked() == []


def test_one_that_is_not_there_is_asked_for_again(asked):
    assert podman.image_ids(["a", "gone"]) == {"a": "id-of-a"}
    asked()
    assert not podman.has_image("gone")
    assert asked() == ["image inspect"]


@pytest.mark.parametrize(
    "change", [podman.changed, lambda: podman.tag("id", "a"), lambda: podman.remove_image("a")]
)
def test_after_a_change_it_is_asked_for_anew(asked, change):
    podman.has_image("a")
    podman.images_in_use(["localhost/web:1"])
    change()
    asked()
    podman.has_image("a")
    podman.images_in_use(["localhost/web:1"])
    assert asked() == ["image inspect", "ps --no-trunc"]


def test_what_was_looked_for_ahead_is_not_asked_for_again(asked):
    podman.look_at_images(["a", "b"])
    podman.look_at_containers()
    assert podman.has_image("b")
    assert podman.images_in_use(["localhost/web:1"]) == {"localhost/web:1": "id"}
    wanted = {"web.service": "web", "db.service": "db"}
    assert podman.missing("container", wanted, thorough=True) == ["db.service"]
    assert sorted(asked()) == ["image inspect", "ps --no-trunc"]


def test_many_images_are_not_looked_for_ahead(asked):
    podman.look_at_images([str(number) for number in range(100)])
    assert podman.has_image("5")
    assert asked() == ["image inspect"]


def test_what_fails_ahead_is_told_when_it_is_asked_for():
    result = processes.ahead(["/no/such/program"], timeout=5)
    with pytest.raises(LegerError, match="cannot be run"):
        result()
