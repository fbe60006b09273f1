"""Folders of a restore change places all together; a restore that is decided is not lost."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest
from leger import generation
from leger.backup import create, exchange, folders, restore
from leger.backup.journal import Pair, Work
from leger.backup.kept import Backup
from leger.backup.rules import Rules
from leger.errors import LegerError
from leger.generation import Current
from leger.model import Built, Compiled, Tree, Unit
from leger.scope import Scope
from leger.switch import Host
from leger.systemd import State

WEB = "web.service"


def pair(restored: Path, used: Path) -> Pair:
    """Two folders to exchange, each with a file that says what it holds."""
    for folder, text in ((restored, "restored"), (used, "now")):
        folder.mkdir(parents=True)
        (folder / "f").write_text(text)
    return Pair(str(restored), str(used), used.stat().st_ino)


def decided(scope: Scope, *pairs: Pair) -> Work:
    """A restore with these pairs, as the journal has it."""
    work = Work("web", "an earlier boot", folders=tuple(one.restored for one in pairs), pairs=pairs)
    work.save(scope)
    return work


def content(*folders: Path) -> list[str]:
    return [(folder / "f").read_text() for folder in folders]


def pairs_left(scope: Scope) -> int:
    work = Work.load(scope)
    return len(work.pairs) if work else 0


def test_all_are_exchanged_once(scope: Scope, tmp_path: Path) -> None:
    one, two = (pair(tmp_path / f"r{n}", tmp_path / f"u{n}") for n in (1, 2))
    work = decided(scope, one, two)
    exchange.carry_out(scope, work)
    exchange.carry_out(scope, work)
    assert content(tmp_path / "u1", tmp_path / "u2") == ["restored", "restored"]
    assert pairs_left(scope) == 0


def test_where_one_cannot_be_exchanged_none_is(scope: Scope, tmp_path: Path) -> None:
    one = pair(tmp_path / "r1", tmp_path / "u1")
    bad = pair(tmp_path / "r2", tmp_path / "r2/u2")  # a folder and one that lies in it
    work = decided(scope, one, bad)
    with pytest.raises(LegerError, match=r"u2: cannot be exchanged: .*; nothing was replaced"):
        exchange.carry_out(scope, work)
    assert content(tmp_path / "u1", tmp_path / "r2/u2") == ["now", "now"]
    assert pairs_left(scope) == 0


def test_what_cannot_go_back_stays_in_the_journal(scope: Scope, tmp_path: Path) -> None:
    one = pair(tmp_path / "r1", tmp_path / "u1")
    bad = pair(tmp_path / "r2", tmp_path / "r2/u2")
    work = decided(scope, one, bad)
    folders.exchange(tmp_path / "r1", tmp_path / "u1")
    (tmp_path / "r1").rename(tmp_path / "aside")
    told = r"u2: .*; and .*r1: No such.*: replaced are only .*u1 \(what"
    with pytest.raises(LegerError, match=told):
        exchange.carry_out(scope, work)
    assert pairs_left(scope) == 2


def test_two_folders_of_a_mount_each_are_refused_before(tmp_path: Path) -> None:
    (tmp_path / "restored").mkdir()
    with pytest.raises(LegerError, match=r"/proc/sys: cannot be exchanged: it is mounted by"):
        folders.probe(tmp_path / "restored", Path("/proc/sys"))
    (tmp_path / "used").mkdir()
    folders.probe(tmp_path / "restored", tmp_path / "used")
    assert not any((tmp_path / "restored").iterdir())


class Manager:
    """A manager in which web.service runs, and does not let itself be stopped."""

    def instances(self, _templates: Iterable[str]) -> list[str]:
        return []

    def states(self, names: Iterable[str]) -> dict[str, State]:
        return {name: State("loaded", "active", "running") for name in names}

    def stopped_with(self, _name: str) -> frozenset[str]:
        return frozenset()

    def reset_failed(self, _names: Iterable[str]) -> None:
        """There are no limits."""

    def run(self, jobs: Sequence[tuple[str, str]], _timeout: float) -> dict[str, str]:
        return {name: "refused: it may not" if verb == "stop" else "done" for verb, name in jobs}


@pytest.fixture
def host(scope: Scope, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    """A host with web.service, which uses data/web, and with a podman that has nothing."""
    for name in ("podman", "systemd-run", "systemctl"):
        program = tmp_path / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
    text = f"[Service]\nExecStart=podman run -v {scope.data}/web/uploads:/uploads x\n"
    unit = Unit(WEB, "web", "container", "web.container", text, "")
    built = Built("web", "c", "s", Tree(tmp_path / "t", "1", {}), {WEB: unit}, ())
    saved = generation.new(scope, Compiled({"web": built}, {}, {}, (), {}), {}, "").save(scope)
    Current(saved.point, confirmed=True).write(scope)
    return Host(scope, Manager(), lambda _line: None)  # type: ignore[arg-type]


def test_a_unit_that_does_not_stop_does_not_end_a_restore_that_is_decided(
    host: Host, tmp_path: Path
) -> None:
    used = host.scope.data / "web"
    decided(host.scope, pair(tmp_path / "restored", used))
    with pytest.raises(LegerError, match=r"web: the interrupted restore: web\.service could not"):
        restore.recover(host)
    assert content(used, tmp_path / "restored") == ["now", "restored"]
    assert pairs_left(host.scope) == 1
    # Each try stops what can be stopped: no command and no timer does that again by itself.
    with pytest.raises(LegerError, match="web: the interrupted restore is not finished"):
        restore.recover(host)
    with pytest.raises(LegerError, match=r"web\.service could not"):
        restore.recover(host, again=True)
    assert pairs_left(host.scope) == 1


def test_a_restore_that_is_decided_is_finished_before_another_backup_begins(
    host: Host, tmp_path: Path
) -> None:
    """Its journal is the only one that knows of the folders."""
    decided(host.scope, pair(tmp_path / "restored", host.scope.data / "web"))
    backup = Backup("web", "1", 0.0, "", "", 1, "", "", ())
    with pytest.raises(LegerError, match="restore of web has to be finished first"):
        restore.restore(host, backup)
    with pytest.raises(LegerError, match="restore of web has to be finished first"):
        create.create(host, "web", Rules(), "")
    assert pairs_left(host.scope) == 1
