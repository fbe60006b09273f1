"""When two quadlet binaries are one: after a boot the same file may be on another device number."""

from __future__ import annotations

from pathlib import Path

from leger_generator.identity import is_same, quadlet_identity


def test_another_device_number_is_no_other_binary(tmp_path: Path) -> None:
    binary = tmp_path / "quadlet"
    binary.write_text("#!/bin/sh\n")
    identity = quadlet_identity(str(binary))
    assert is_same(identity, {**identity, "dev": 7})


def test_a_replaced_binary_of_the_same_size_and_time_is_another(tmp_path: Path) -> None:
    old, new = tmp_path / "quadlet", tmp_path / "new"
    for path in (old, new):
        path.write_text("#!/bin/sh\n")
    before = quadlet_identity(str(old))
    new.replace(old)
    after = {**quadlet_identity(str(old)), "mtime_ns": before["mtime_ns"]}
    assert not is_same(before, after)


def test_no_identity_is_another(tmp_path: Path) -> None:
    assert not is_same({}, {"path": "/usr/libexec/podman/quadlet"})
    assert is_same({}, {})
