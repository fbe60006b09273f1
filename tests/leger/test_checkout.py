"""What a commit may hold: no path leaves, links stay inside, sizes are bounded."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from leger import checkout, git, prepare
from leger.config import Limits
from leger.deployment import Deployment
from leger.errors import InvalidQuadletsError, LegerError
from leger.faults import FaultsError


def read(scope, repository, folder="", limits=Limits()):  # noqa: B008
    item = Deployment("web", str(repository.path))
    commit = git.fetch(scope, item)
    with git.Commit(git.Mirror.of(scope, item), commit) as source:
        entries = source.entries(folder, limits.files)
        files = checkout.checkout(source, entries, "web", limits)
        return {path: (file.mode, file.read()) for path, file in files.items()}


def refused(scope, repository, **limits):
    with pytest.raises(FaultsError) as caught:
        read(scope, repository, limits=Limits(**limits))
    return [str(fault) for fault in caught.value.faults]


def test_a_folder_is_read_with_modes_and_links(scope, repository):
    repository.commit({"other": "x", "web/a": "1", "web/b/run": "#!", "web/l": "-> b/run"})
    (repository.path / "web/b/run").chmod(0o755)
    repository.commit({})
    assert read(scope, repository, "web") == {
        "a": (0o644, b"1"),
        "b/run": (0o755, b"#!"),
        "l": (0o120777, b"b/run"),
    }


def test_a_folder_that_is_not_there_is_named(scope, repository):
    commit = repository.commit({"a": "1"})
    with pytest.raises(LegerError, match=f"commit {commit[:12]} has no folder 'web'"):
        read(scope, repository, "web")


def test_a_submodule_is_refused(scope, repository):
    commit = repository.commit({"a": "1"})
    repository.git("update-index", "--add", "--cacheinfo", f"160000,{commit},sub")
    repository.git("commit", "-qm", "sub")
    assert refused(scope, repository) == [
        "web: sub: submodules are not deployed; put the files into the repository"
    ]


def raw_tree(repository, *entries: tuple[bytes, bytes, str]) -> str:
    """Write a tree of (mode, name, id) that Git's own commands would not make."""
    raw = repository.path / "raw"
    raw.write_bytes(
        b"".join(mode + b" " + name + b"\0" + bytes.fromhex(id_) for mode, name, id_ in entries)
    )
    return repository.git("hash-object", "-t", "tree", "--literally", "-w", str(raw))


def publish(repository, tree: str) -> None:
    commit = repository.git("commit-tree", tree, "-m", "planted")
    repository.git("update-ref", "refs/heads/main", commit)


def plant(repository, name: bytes, mode: bytes = b"100644") -> None:
    repository.commit({"a": "1"})
    blob = repository.git("rev-parse", "HEAD:a")
    publish(repository, raw_tree(repository, (mode, name, blob)))


def test_two_files_of_one_name_in_one_folder_are_refused(scope, repository):
    repository.commit({"a": "1", "b": "2"})
    first, second = (repository.git("rev-parse", f"HEAD:{name}") for name in "ab")
    publish(repository, raw_tree(repository, (b"100644", b"x", first), (b"100755", b"x", second)))
    assert refused(scope, repository) == ["web: x: is there twice in its folder"]


def test_a_tree_that_is_no_tree_is_refused(scope, repository):
    repository.commit({"a": "1"})
    blob = repository.git("rev-parse", "HEAD:a")
    tree = raw_tree(repository, (b"0000100644", b"a", blob))
    publish(repository, tree)
    with pytest.raises(LegerError, match=f"tree {tree} is malformed"):
        read(scope, repository)


@pytest.mark.parametrize(
    ("files", "path"),
    [
        ({"l": "-> /etc/passwd"}, "l"),
        ({"l": "-> ../outside"}, "l"),
        ({"a/l": "-> ../../outside"}, "a/l"),
        ({"a/up": "-> ..", "a/l": "-> up/../x"}, "a/l"),
        ({"a/b/up": "-> ../..", "l": "-> a/b/up/../x"}, "l"),
        ({"l": "-> l"}, "l"),
        ({"l": "-> m", "m": "-> l"}, "l"),
    ],
)
def test_a_link_that_leaves_the_tree_is_refused_by_its_name(scope, repository, files, path):
    repository.commit(files)
    assert f"web: {path}: this link leaves the tree or never ends" in refused(scope, repository)


@pytest.mark.parametrize("target", ["", "a\0b", "a/" * 2048, "a/" * 3000])
def test_a_link_whose_target_is_no_path_is_refused(scope, repository, target):
    repository.commit({"target": target})
    blob = repository.git("rev-parse", "HEAD:target")
    publish(repository, raw_tree(repository, (b"120000", b"l", blob)))
    assert refused(scope, repository) == [
        "web: l: this link's target is empty, too long or no path"
    ]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("web.container", "Web.container"),
        ("caf\u00e9", "cafe\u0301"),
        ("stra\u00dfe", "STRASSE"),
        ("Web/a", "web/b"),
        ("\uff41", "a"),
    ],
)
def test_names_that_differ_only_by_case_or_coding_are_refused(scope, repository, first, second):
    repository.commit({first: "1", second: "2"})
    assert "only by case or by how a letter is coded" in refused(scope, repository)[0]


def test_a_pointer_of_lfs_is_refused(scope, repository):
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 9\n"
    repository.commit({"big.bin": pointer})
    assert refused(scope, repository) == [
        "web: big.bin: is kept by Git LFS, which is not supported"
    ]


def test_everything_that_is_wrong_is_named_at_once(scope, repository):
    repository.commit({"a": "1"})
    blob = repository.git("rev-parse", "HEAD:a")
    commit = repository.git("rev-parse", "HEAD")
    publish(
        repository,
        raw_tree(
            repository,
            (b"120000", b"link", repository.git("rev-parse", "HEAD:a")),
            (b"100644", b".git", blob),
            (b"060000", b"disk", blob),
            (b"160000", b"module", commit),
        ),
    )
    found = refused(scope, repository)
    assert [text.split(": ")[1] for text in found] == [".git", "disk", "module"]


@pytest.mark.parametrize(
    "name", [b"..", b".git", b".GIT", b"git~1", b"a/b/../../../x", b"/x", b"."]
)
def test_a_name_that_leaves_the_tree_is_refused(scope, repository, name):
    plant(repository, name)
    assert "this name leaves the tree or is Git's own" in refused(scope, repository)[0]


@pytest.mark.parametrize("name", [b"a\x1b[2J", b"a\nb", b"\xff\xfe", "a\u202eb".encode()])
def test_a_name_that_cannot_be_shown_is_refused(scope, repository, name):
    plant(repository, name)
    assert "control characters or is not UTF-8" in refused(scope, repository)[0]


def test_a_mode_that_is_no_file_is_refused(scope, repository):
    plant(repository, b"device", b"020666")
    assert refused(scope, repository)[0].startswith("web: device: neither a file nor a link")


def test_sizes_are_bounded_before_anything_is_unpacked(scope, repository):
    repository.commit({"big": b"\0" * (3 << 20), "b": "1", "c": "2"})
    assert refused(scope, repository, file_bytes=1 << 20) == ["web: big: larger than 1 MiB"]
    assert refused(scope, repository, tree_bytes=2 << 20) == ["web: more than 2 MiB of files"]
    with pytest.raises(InvalidQuadletsError, match="has more than 2 files and folders"):
        read(scope, repository, limits=Limits(files=2))


def test_folders_in_folders_a_thousandfold_end(scope, repository):
    """A tree of ten trees of ten trees: a few objects that are 10^8 files."""
    repository.commit({"a": "1"})
    child = f"100644 blob {repository.git('rev-parse', 'HEAD:a')}"
    for _ in range(8):
        raw = repository.path / "raw"
        kind = child.split(" ")
        entries = b"".join(
            f"{kind[0].lstrip('0')} {name}\0".encode() + bytes.fromhex(kind[2])
            for name in "abcdefghij"
        )
        raw.write_bytes(entries)
        tree = repository.git("hash-object", "-t", "tree", "-w", str(raw))
        child = f"40000 tree {tree}"
    commit = repository.git("commit-tree", child.split(" ")[2], "-m", "bomb")
    repository.git("update-ref", "refs/heads/main", commit)
    with pytest.raises(InvalidQuadletsError, match="has more than 1000 files and folders"):
        read(scope, repository, limits=Limits(files=1000))


parts = st.sampled_from(["a", "b", "c", "..", "."])
targets = st.lists(parts, min_size=1, max_size=5).map("/".join)
link_sets = st.dictionaries(st.sampled_from(["a", "b", "c/a", "c/b"]), targets, max_size=4)


@given(link_sets, st.lists(parts, min_size=1, max_size=4).map("/".join))
def test_links_are_resolved_as_the_kernel_does(tmp_path_factory, links, path):
    root = tmp_path_factory.mktemp("links")
    inside = root / "one/two/tree"
    (inside / "c").mkdir(parents=True)
    for name, target in links.items():
        os.symlink(target, inside / name)
    found = checkout.resolve(path, links)
    try:
        real = Path(os.path.realpath(inside / path, strict=True))
    except OSError:
        return
    if found is None:
        # Refused: it leaves the tree somewhere on its way, perhaps to come back.
        return
    assert real == inside / found


@given(st.dictionaries(st.text("ab/.*?[", min_size=1, max_size=5), st.none(), max_size=5),
       st.lists(st.text("ab/*", min_size=1, max_size=4), max_size=3))  # fmt: skip
def test_excluding_removes_only(paths, patterns):
    kept = [path for path in paths if not checkout.excluded(path, patterns)]
    assert patterns or kept == list(paths)


def test_patterns_exclude_files_folders_and_last_parts():
    paths = ["a/b.md", "docs/x/y", "web.container", "docs2/z", ".leger.yaml"]
    kept = [path for path in paths if not checkout.excluded(path, ["*.md", "docs/", ".*"])]
    assert kept == ["web.container", "docs2/z", ".leger.yaml"]


@pytest.mark.parametrize("who", ["author", "host"])
def test_what_is_excluded_may_be_anything(scope, repository, who):
    """A submodule, a pointer of LFS, a large file, two names that are alike, a link away."""
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 9\n"
    commit = repository.commit(
        {
            "web.container": "[Container]\nImage=x\n",
            ".leger.yaml": "exclude: [docs, '*.iso', '.*']\n" if who == "author" else "",
            "docs/logo.png": pointer,
            "docs/Logo.png": "x",
            "docs/away": "-> /etc/passwd",
            "big.iso": b"\0" * (3 << 20),
        }
    )
    repository.git("update-index", "--add", "--cacheinfo", f"160000,{commit},docs/theme")
    repository.git("commit", "-qm", "theme")
    scope.etc.mkdir(parents=True)
    scope.config.write_text("limits: {file-size: 1M, tree-size: 2M}\n")
    exclude = ("docs", "*.iso", ".*") if who == "host" else ()
    item = Deployment("web", str(repository.path), exclude=exclude)
    made = prepare.prepare(scope, item, git.fetch(scope, item))
    assert list(made.tree.files) == [".leger.yaml", "web.container"]
