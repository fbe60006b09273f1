"""What lies below backups/: whole archives, every change noticed, kept by number and age."""

from __future__ import annotations

import io
import json
import subprocess
import tarfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from leger import yamlfile
from leger.backup import archive, automatic, kept, restore, retention
from leger.backup.journal import Pair, Work
from leger.backup.kept import Archive, Backup, DamagedError
from leger.backup.rules import Rules
from leger.deployment import Deployment, dump
from leger.errors import ConfigError, LegerError, UsageError
from leger.quantities import DAY
from leger.scope import Scope

ID = "20260102T030405Z"
Add = Callable[[bytes], object]


def stream(*names: str, target: str = "") -> bytes:
    """A tar stream with these files, or links to `target`."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w|") as tar:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = 0 if target else 3000
            member.type, member.linkname = (tarfile.LNKTYPE if target else b"0"), target
            tar.addfile(member, io.BytesIO(b"x" * 3000))
    return made.getvalue()


def keep(scope: Scope, content: bytes, id_: str = ID, kind: str = "volume") -> Backup:
    """A backup whose one archive holds `content`."""
    folder = kept.folder(scope, "web") / id_
    folder.mkdir(parents=True)
    name = "store" if kind == "volume" else ""

    def fill(add: Add) -> None:
        for start in range(0, len(content), 1000):
            add(content[start : start + 1000])

    written = archive.write(folder / kept.file_name(kind, name), fill)
    assert written.content == len(content)
    one = Archive(kind, name, **vars(written), owner=(33, 44, 0o1770), options={"o": "uid=1"})
    made = Backup("web", id_, 1.5, "root(0)", "by hand", 3, "c" * 40, "source: x\n", (one,), ("l",))
    (folder / kept.MANIFEST).write_bytes(made.encoded())
    return made


def test_what_is_written_is_read_and_whole(scope: Scope) -> None:
    content = stream("a", "b/c")
    made = keep(scope, content)
    loaded = Backup.load(scope, "web", ID)
    assert loaded == made
    assert b"".join(archive.read(scope, loaded, loaded.archives[0])) == content
    archive.verify(scope, loaded, loaded.archives[0])
    file = kept.folder(scope, "web") / ID / "volume-store.tar.zst"
    assert file.stat().st_mode & 0o777 == 0o600
    assert subprocess.run(["zstd", "-dc", file], capture_output=True).stdout == content


def test_every_changed_byte_is_noticed(scope: Scope) -> None:
    made = keep(scope, stream("a", "b"))
    folder = kept.folder(scope, "web") / ID
    for file in sorted(folder.iterdir()):
        data = file.read_bytes()
        for place in range(0, len(data), 7):
            file.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
            with pytest.raises(DamagedError, match=file.name):
                archive.verify(scope, Backup.load(scope, "web", ID), made.archives[0])
        for cut in (0, 5, len(data) // 2, len(data) - 1):
            file.write_bytes(data[:cut])
            with pytest.raises(DamagedError, match=file.name):
                archive.verify(scope, Backup.load(scope, "web", ID), made.archives[0])
        file.write_bytes(data)
    archive.verify(scope, Backup.load(scope, "web", ID), made.archives[0])


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a/../../x"])
@pytest.mark.parametrize("kind", ["volume", "data"])
def test_a_forged_archive_is_refused_before_anything_is_unpacked(
    scope: Scope, name: str, kind: str
) -> None:
    made = keep(scope, stream("fine", name), kind=kind)
    with pytest.raises(DamagedError, match="would leave its folder"):
        restore.verify(scope, made, made.archives, str)


def test_a_forged_hard_link_is_refused(scope: Scope) -> None:
    made = keep(scope, stream("x", target="../../etc/shadow"))
    with pytest.raises(DamagedError, match="would leave its folder"):
        archive.verify(scope, made, made.archives[0])
    inside = keep(scope, stream("x", target="y"), id_="1", kind="data")
    with pytest.raises(DamagedError, match="which is no file"):
        archive.verify(scope, inside, inside.archives[0])


def test_what_is_no_tar_stream_is_refused(scope: Scope) -> None:
    made = keep(scope, b"nothing of the kind " * 600)
    with pytest.raises(DamagedError, match="damaged"):
        archive.verify(scope, made, made.archives[0])


def test_an_exchanged_archive_is_noticed(scope: Scope) -> None:
    made = keep(scope, stream("a"))
    keep(scope, stream("b"), id_="2")
    file = "volume-store.tar.zst"
    folder = kept.folder(scope, "web")
    (folder / ID / file).write_bytes((folder / "2" / file).read_bytes())
    with pytest.raises(DamagedError, match="checksum is wrong"):
        archive.verify(scope, made, made.archives[0])
    (folder / ID / kept.MANIFEST).write_bytes((folder / "2" / kept.MANIFEST).read_bytes())
    with pytest.raises(DamagedError, match="it is backup 2 of web"):
        Backup.load(scope, "web", ID)


def test_a_link_in_the_place_of_a_backup_is_not_followed(scope: Scope) -> None:
    keep(scope, stream("a"))
    folder = kept.folder(scope, "web")
    (folder / "link").symlink_to(folder / ID)
    with pytest.raises(LegerError, match="there is no backup link of web"):
        Backup.load(scope, "web", "link")
    file = folder / ID / "volume-store.tar.zst"
    file.rename(folder / ID / "other")
    file.symlink_to("other")
    made = Backup.load(scope, "web", ID)
    with pytest.raises(DamagedError, match="cannot be read"):
        archive.verify(scope, made, made.archives[0])


@pytest.mark.parametrize(("name", "id_"), [("..", ID), ("web", ".."), ("web", "a/b"), ("W", ID)])
def test_what_is_no_name_is_no_path(scope: Scope, name: str, id_: str) -> None:
    with pytest.raises(UsageError):
        Backup.load(scope, name, id_)


def test_what_is_not_there_is_said(scope: Scope) -> None:
    with pytest.raises(LegerError, match="there is no backup of web"):
        kept.newest(scope, "web")
    with pytest.raises(LegerError, match="there is no backup x of web"):
        Backup.load(scope, "web", "x")
    assert kept.names(scope) == []


def test_a_full_disk_is_said_with_the_file(tmp_path: Path) -> None:
    with pytest.raises(LegerError, match="full: cannot be written: "):
        archive.write(tmp_path / "no folder" / "full", lambda add: add(b"x"))


NOW = 1767323045.0  # that of ID


def test_only_whole_backups_are_seen_and_ids_grow(scope: Scope) -> None:
    keep(scope, stream("a"))
    (kept.folder(scope, "web") / ".unfinished").mkdir()
    assert kept.ids(scope, "web") == [ID]
    assert kept.names(scope) == ["web"]
    made = [ID]
    for _ in range(105):
        new = kept.new_id(scope, "web", NOW)
        (kept.folder(scope, "web") / new).mkdir()
        made.append(new)
        assert kept.newest(scope, "web") == new
    assert kept.ids(scope, "web") == made
    assert kept.new_id(scope, "web", NOW + 1) == "20260102T030406Z"


def test_what_is_made_after_the_clock_was_ahead_is_the_newest_and_stays(scope: Scope) -> None:
    ahead = "20360101T000000Z"
    for id_ in (ahead, *(f"{ahead}-{number}" for number in range(93, 99))):
        (kept.folder(scope, "web") / id_).mkdir(parents=True)
    for number in range(99, 103):
        new = kept.new_id(scope, "web", NOW)
        assert new == f"{ahead}-{number}"
        (kept.folder(scope, "web") / new).mkdir()
        assert len(retention.prune(scope, "web", keep=7, days=0)) == 1
        assert kept.newest(scope, "web") == new


def test_the_age_of_a_backup_is_that_of_its_content(scope: Scope) -> None:
    """Both were made while the newest ID was one of a clock that was ahead."""
    old, young = "20360101T000000Z-02", "20360101T000000Z-03"
    for id_, created in ((old, time.time() - 3 * DAY), (young, time.time())):
        made = replace(keep(scope, stream("a"), id_=id_), created=created)
        (kept.folder(scope, "web") / id_ / kept.MANIFEST).write_bytes(made.encoded())
    assert retention.prune(scope, "web", keep=9, days=4) == []
    assert retention.prune(scope, "web", keep=9, days=2) == [old]


def test_what_has_no_id_for_a_name_is_no_backup(scope: Scope) -> None:
    keep(scope, stream("a"))
    folder = kept.folder(scope, "web")
    (folder / "README").write_text("x")
    (folder / "golden-copy").mkdir()
    (folder / f"{ID}-old").mkdir()
    (scope.backups / "notes").write_text("x")
    assert kept.ids(scope, "web") == [ID]
    assert kept.names(scope) == ["web"]
    assert kept.new_id(scope, "web", NOW) == f"{ID}-02"
    assert retention.prune(scope, "web", keep=1, days=0) == []
    with pytest.raises(LegerError, match="there is no backup README of web"):
        Backup.load(scope, "web", "README")


def test_what_is_selected_must_be_there(scope: Scope) -> None:
    made = keep(scope, stream("a"))
    assert restore.select(made, ()) == made.archives
    assert restore.select(made, ["store"]) == made.archives
    with pytest.raises(UsageError, match=f"backup {ID} has no data"):
        restore.select(made, ["data"])


@given(
    st.lists(st.integers(0, 100), unique=True, min_size=1).map(sorted),
    st.integers(1, 9),
    st.integers(0, 50),
)
def test_the_newest_are_kept_and_none_too_old(days: list[int], keep_: int, limit: int) -> None:
    now = 100 * 86400.0 + 1e9
    ids = [kept.stamp(1e9 + day * 86400) for day in days]
    gone = retention.surplus({one: one for one in ids}, keep=keep_, days=limit, now=now)
    left = [one for one in ids if one not in gone]
    assert ids[-1] in left
    assert left == ids[-len(left) :]
    assert len(left) <= keep_
    young = [one for one, day in zip(ids, days, strict=True) if not limit or 100 - day <= limit]
    assert set(left) == {*young[-keep_:], ids[-1]}


def test_pruning_removes_whole_folders_only_when_meant(scope: Scope) -> None:
    for number in range(4):
        keep(scope, stream("a"), id_=f"2026010{number + 1}T000000Z")
    expected = ["20260101T000000Z", "20260102T000000Z"]
    assert retention.prune(scope, "web", keep=2, days=0, dry_run=True) == expected
    assert len(kept.ids(scope, "web")) == 4
    assert retention.prune(scope, "web", keep=2, days=0) == expected
    left = sorted(path.name for path in kept.folder(scope, "web").iterdir())
    assert left == ["20260103T000000Z", "20260104T000000Z"]


def test_the_backups_of_a_removed_deployment_are_kept_as_it_said(scope: Scope) -> None:
    """Its file is gone, and so is it from the generation: the newest backup has what it said."""
    for number in range(1, 10):
        made = keep(scope, stream("a"), id_=f"2026010{number}T000000Z")
        made = replace(made, definition=f"source: /srv/web\nbackup: {{keep: {number}0}}\n")
        (kept.folder(scope, "web") / made.id / kept.MANIFEST).write_bytes(made.encoded())
    assert automatic.rules(scope, "web").keep == 90
    (kept.folder(scope, "web") / "20260109T000000Z" / kept.MANIFEST).write_text("damaged")
    assert automatic.rules(scope, "web").keep == 80
    scope.deployments.mkdir(parents=True)
    (scope.deployments / "web.yaml").write_text("source: /srv/web\n")
    assert automatic.rules(scope, "web") == Rules()


def test_all_is_kept_where_nobody_knows_for_how_long(scope: Scope) -> None:
    for number in range(1, 10):
        (kept.folder(scope, "web") / f"2026010{number}T000000Z").mkdir(parents=True)
    rules = automatic.rules(scope, "web")
    assert retention.prune(scope, "web", keep=rules.keep, days=rules.days) == []


def test_the_journal_is_loaded_as_saved(scope: Scope) -> None:
    assert Work.load(scope) is None
    work = Work.begin("web", ["leger-restore-1", "/data/.web.restore"])
    assert (work.volumes, work.folders) == (("leger-restore-1",), ("/data/.web.restore",))
    pairs = (Pair("/a", "/b", 7, "store", (1, 2, 3)), Pair("/c", "/d", 8))
    work = replace(work, start=("a.service",), paused=("x",), pairs=pairs)
    work.save(scope)
    assert Work.load(scope) == work
    raw = json.loads(scope.backup_journal.read_bytes())
    scope.backup_journal.write_text(json.dumps(raw | {"format": 9}))
    with pytest.raises(LegerError, match="cannot be understood: unknown format"):
        Work.load(scope)


RULES = "before-update: true\nkeep: 3\ndays: 30\nmethod: pause\nvolumes: [a]\nexclude: ['x*']\n"


def test_the_rules_are_read_and_written_back() -> None:
    rules = Rules.parse(yamlfile.parse(RULES.encode(), "x"))
    assert rules == Rules(True, 3, 30, "pause", ("a",), ("x*",))
    text = dump(Deployment("web", "/r", backup=rules))
    assert Deployment.parse(yamlfile.parse(text, "x"), name="web").backup == rules
    assert Rules.parse(yamlfile.parse(b"", "x")) == Rules()
    assert rules.leaves_out("xyz/file")
    assert not rules.leaves_out("a")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("keep: 0\n", "x:1: a number from 1 to 10000"),
        ("method: kill\n", "x:1: 'kill' is not one of stop, pause, run"),
        ("kep: 1\n", "x:1: unknown key 'kep'"),
        ("before-update: yes\n", "x:1: true or false is expected"),
    ],
)
def test_wrong_rules_are_named(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Rules.parse(yamlfile.parse(text.encode(), "x"))
    assert str(caught.value).startswith(message)
