"""Trees are written whole, named by their content, and readable by containers."""

import os
import stat
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from leger import tree
from leger.errors import LegerError
from leger.tree import LINK, File


def files(**extra):
    return {
        "a": File.of(b"1"),
        "b/run": File.of(b"#!", 0o755),
        "b/l": File.of(b"../a", LINK),
        **extra,
    }


def test_a_tree_is_named_by_its_content_and_read_back(scope):
    made = tree.write(scope, "web", files())
    assert made.path == scope.store / f"web-{made.digest}"
    assert tree.read(made.path) == made
    assert tree.write(scope, "web", files()) == made
    assert [path.name for path in scope.store.iterdir()] == [made.path.name]


def test_containers_can_read_and_nobody_else_writes(scope):
    old = os.umask(0o077)
    try:
        made = tree.write(scope, "web", files())
    finally:
        os.umask(old)
    modes = {
        str(path.relative_to(made.path)): stat.S_IMODE(path.lstat().st_mode)
        for path in [made.path, *made.path.rglob("*")]
        if not path.is_symlink()
    }
    assert modes == {".": 0o755, "a": 0o644, "b": 0o755, "b/run": 0o755}
    assert stat.S_IMODE(scope.store.stat().st_mode) == 0o755
    assert stat.S_IMODE(scope.state.stat().st_mode) & 0o066 == 0


def test_a_changed_file_shows_in_the_digest(scope):
    made = tree.write(scope, "web", files())
    (made.path / "a").write_text("2")
    assert tree.read(made.path).digest != made.digest


def test_many_files_are_made_durable_too(scope):
    many = {f"f{number}": File.of(b"x") for number in range(100)}
    assert len(tree.read(tree.write(scope, "web", many).path).files) == 100


def test_a_failure_leaves_nothing(scope):
    def fail() -> bytes:
        raise OSError(28, "No space left on device")

    with pytest.raises(LegerError, match="No space left on device"):
        tree.write(scope, "web", files(z=File(0o644, 1, fail)))
    assert list(scope.store.iterdir()) == []


def test_what_a_killed_command_left_is_cleaned(scope):
    (scope.store / ".tmp-1/x").mkdir(parents=True)
    made = tree.write(scope, "web", files())
    tree.clean(scope)
    assert list(scope.store.iterdir()) == [made.path]


def test_a_tree_that_is_gone_is_named(scope):
    with pytest.raises(LegerError, match="the tree is gone"):
        tree.read(scope.store / "web-0")


listings = st.dictionaries(
    st.text("ab/", min_size=1, max_size=4),
    st.tuples(st.sampled_from([0o644, 0o755, LINK]), st.text("0f", min_size=64, max_size=64)),
    max_size=4,
)


@given(listings, listings)
def test_other_content_has_another_digest(one, other):
    assert (tree.digest(one) == tree.digest(other)) == (one == other)


def test_a_pipe_in_a_tree_is_a_change_and_holds_nobody_up(scope):
    made = tree.write(scope, "web", files())
    os.mkfifo(made.path / "pipe")
    assert tree.read(made.path).digest != made.digest
    assert tree.write(scope, "web", files(), mend=True) == made
    assert tree.read(made.path) == made


def test_what_was_changed_and_hidden_by_later_times_is_mended(scope):
    files = {"a": File.of(b"1"), "b/c": File.of(b"2")}
    made = tree.write(scope, "web", files)
    (made.path / "a").write_text("evil")
    time.sleep(0.02)  # the clock of file systems is coarse
    made.path.rename(scope.store / "away")
    (scope.store / "away").rename(made.path)
    assert not tree.is_suspect(made)
    tree.write(scope, "web", files, spare=made.path, mend=True)
    assert (made.path / "a").read_text() == "evil"
    tree.write(scope, "web", files, mend=True)
    assert tree.read(made.path) == made
