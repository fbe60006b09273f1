"""A folder as a stream and back, whatever a container put into it; two folders exchanged."""

from __future__ import annotations

import io
import os
import socket
import stat
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from leger.backup import folders
from leger.backup.inside import Inside
from leger.errors import LegerError


def packed(folder: Path, *patterns: str) -> tuple[bytes, list[str]]:
    """The stream of `folder`, and what could not be kept."""
    target = io.BytesIO()
    left = list(folders.pack(folder, target, patterns))
    return target.getvalue(), left


def shape(folder: Path) -> dict[str, tuple[object, ...]]:
    """All that is below `folder`: kind, mode, owner, time, content or target."""
    found = {}
    for path in [folder, *sorted(folder.rglob("*"))]:
        status = path.lstat()
        content: object = b""
        if path.is_symlink():
            content = path.readlink()
        elif path.is_file():
            content = path.read_bytes()
        time = 0 if path.is_symlink() else int(status.st_mtime)
        found[str(path.relative_to(folder))] = (status.st_mode, status.st_uid, time, content)
    return found


def archive(*members: tuple[str, bytes, bytes, str]) -> io.BytesIO:
    """A stream made by somebody else: (name, type, content, target) each."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w|") as made:
        for name, kind, content, link in members:
            member = tarfile.TarInfo(name)
            member.type, member.size, member.linkname = kind, len(content), link
            member.mode = 0o755
            made.addfile(member, io.BytesIO(content))
    target.seek(0)
    return target


def test_all_that_is_kept_comes_back(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    (folder / "deep/er").mkdir(parents=True)
    (folder / "deep/er/file").write_bytes(os.urandom(100_000))
    (folder / "deep/er/file").chmod(0o4711)
    (folder / "empty").touch()
    (folder / "link").symlink_to("/etc/passwd")
    (folder / "dangling").symlink_to("../../nowhere")
    Path(os.fsdecode(bytes(folder) + b"/not utf-8 \xff")).write_text("x")
    (folder / ("long" * 50)).write_text("x")
    os.utime(folder / "deep", (1e9, 1e9))
    (folder / "deep").chmod(0o2570)
    folder.chmod(0o750)
    stream, left = packed(folder)
    folders.unpack(io.BytesIO(stream), tmp_path / "back")
    assert left == []
    assert shape(tmp_path / "back") == shape(folder)


def test_what_is_no_file_is_left_out_and_named(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        stream, left = packed(tmp_path)
    assert left == ["pipe", "socket"]
    with tarfile.open(fileobj=io.BytesIO(stream)) as read:
        assert read.getnames() == ["."]


class Busy(io.BytesIO):
    """Takes a stream, and lets `change` happen when something of the file `a` has come."""

    def __init__(self, change: Callable[[], object]) -> None:
        super().__init__()
        self._change: Callable[[], object] | None = change

    def write(self, data: Any) -> int:
        if self._change and b"a" * 512 in bytes(data):
            self._change()
            self._change = None
        return super().write(data)


def packed_while(folder: Path, change: Callable[[], object]) -> tuple[dict[str, bytes], list[str]]:
    """The files in the stream of `folder`, which changes at its file `a`; what is left out."""
    target = Busy(change)
    left = list(folders.pack(folder, target))
    target.seek(0)
    with tarfile.open(fileobj=target) as read:
        files = {one.name: read.extractfile(one).read() for one in read if one.isreg()}  # type: ignore[union-attr]
    return files, left


def test_what_is_removed_meanwhile_is_left_out_and_named(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"a" * 100_000)
    (tmp_path / "b").touch()
    (tmp_path / "c").mkdir()
    (tmp_path / "d").symlink_to("x")
    (tmp_path / "e").touch()

    def change() -> None:
        (tmp_path / "b").unlink()
        (tmp_path / "c").rmdir()
        (tmp_path / "d").unlink()

    files, left = packed_while(tmp_path, change)
    assert files.keys() == {"a", "e"}
    assert left == [f"{name} (removed meanwhile)" for name in "bcd"]


def test_a_file_that_is_cut_off_meanwhile_is_filled_and_named(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"a" * 1_000_000)
    (tmp_path / "b").write_bytes(b"b")
    files, left = packed_while(tmp_path, lambda: os.truncate(tmp_path / "a", 600_000))
    assert files == {"a": b"a" * 600_000 + bytes(400_000), "b": b"b"}
    assert left == ["a (cut off meanwhile: it ends with zeros)"]


def test_a_link_is_never_followed(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "key").write_text("sesame")
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "folder").symlink_to(secret)
    (folder / "file").symlink_to(secret / "key")
    stream, _ = packed(folder)
    assert b"sesame" not in stream
    with pytest.raises(OSError, match="Not a directory"):
        packed(folder / "folder")


def test_patterns_leave_out_files_and_folders(tmp_path: Path) -> None:
    for name in ("cache/a/b", "keep/cache", "x.tmp", "keep/y"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    stream, _ = packed(tmp_path, "cache", "*.tmp")
    with tarfile.open(fileobj=io.BytesIO(stream)) as read:
        assert read.getnames() == [".", "keep", "keep/cache", "keep/y"]


def test_folders_too_deep_are_an_error_not_a_crash(tmp_path: Path) -> None:
    here = os.open(tmp_path, os.O_RDONLY)
    for _ in range(300):
        os.mkdir("d", dir_fd=here)
        here = os.open("d", os.O_RDONLY, dir_fd=here)
    with pytest.raises(LegerError, match="too deeply"):
        packed(tmp_path)


@pytest.mark.parametrize("name", ["/etc/x", "../x", "a/../../x", "a/..", ".."])
def test_a_name_that_leaves_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(folders.UnsafeNameError, match="would leave its folder"):
        folders.unpack(archive((name, tarfile.REGTYPE, b"x", "")), tmp_path / "back")
    assert not (tmp_path / "x").exists()


def test_a_member_behind_a_link_is_refused(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    members = [("l", tarfile.SYMTYPE, b"", str(outside)), ("l/x", tarfile.REGTYPE, b"x", "")]
    with pytest.raises(OSError, match="Not a directory"):
        folders.unpack(archive(*members), tmp_path / "back")
    twice = [("l", tarfile.SYMTYPE, b"", str(outside / "x")), ("l", tarfile.REGTYPE, b"x", "")]
    with pytest.raises(FileExistsError):
        folders.unpack(archive(*twice), tmp_path / "again")
    assert not any(outside.iterdir())


@pytest.mark.parametrize("kind", [tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_a_member_that_is_no_file_is_refused(tmp_path: Path, kind: bytes) -> None:
    with pytest.raises(LegerError, match="which is no file"):
        folders.unpack(archive(("x", kind, b"", "/etc/passwd")), tmp_path / "back")


@given(st.lists(st.text(alphabet="./a\0", min_size=1, max_size=9), max_size=4))
def test_no_name_gets_out(parts: list[str]) -> None:
    name = "/".join(parts)
    try:
        found = folders.check_name(name)
    except folders.UnsafeNameError:
        return
    assert os.path.normpath("/".join(["top", *found])).split("/")[0] == "top"


def test_two_folders_change_places_at_once(tmp_path: Path) -> None:
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    steps = Inside()
    steps.exchange(tmp_path / "new", tmp_path / "old", (os.getuid(), os.getgid(), 0o1751))
    assert os.listdir(tmp_path / "old") == ["new"]
    assert os.listdir(tmp_path / "new") == ["old"]
    assert stat.S_IMODE((tmp_path / "old").stat().st_mode) == 0o1751
    present, absent = steps.status([tmp_path / "old", tmp_path / "nothing"])
    assert present is not None
    assert present.inode == (tmp_path / "old").stat().st_ino
    assert absent is None
    steps.remove(tmp_path / "new")
    steps.remove(tmp_path / "new")
    assert os.listdir(tmp_path) == ["old"]


def test_a_step_that_fails_says_why(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    with pytest.raises(LegerError, match=r"nothing: cannot be exchanged: No such file"):
        Inside().exchange(tmp_path / "one", tmp_path / "nothing", None)
    with pytest.raises(LegerError, match=r"nothing: No such file or directory"):
        Inside().pack(tmp_path / "nothing", (), bytes)
    stream = archive(("../x", tarfile.REGTYPE, b"x", "")).getvalue()
    with pytest.raises(LegerError, match="would leave its folder"):
        Inside().unpack([stream], tmp_path / "back")
