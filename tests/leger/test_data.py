"""Relative paths: read-only from the tree, or the host's own below data/NAME/."""

import os
import stat

import pytest
from leger import data
from leger.errors import LegerError
from leger.faults import FaultsError
from repositories import place, shown

IMAGE = "[Container]\nImage=localhost/hello:1\n"


def text(item, path="a.container"):
    return (item.tree.path / path).read_text()


def one(prepared, setting, files=None, **settings):
    return prepared("web", {"a.container": f"{IMAGE}{setting}\n", **(files or {})}, **settings)


def line(prepared, setting, files=None, **settings):
    return text(one(prepared, setting, files, **settings)).splitlines()[2]


CONF = {"conf/x": "1", "f.txt": "2", "link": "-> conf", "gone": "-> nothing"}


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("Volume=./conf:/c:ro", "Volume=./conf:/c:ro"),
        ("Volume=./conf:/c", "Volume=./conf:/c:ro"),
        ("Volume=./conf:/c:z,rw", "Volume=./conf:/c:ro,z"),
        ("Volume=./conf:/c:O", "Volume=./conf:/c:O"),
        ("Volume=./link/x:/c:ro", "Volume=./link/x:/c:ro"),
        ("Volume=./gone/x:/c", "Volume=@data@/gone/x:/c"),
        ("Volume=conf:/c", "Volume=conf:/c"),
        ("Volume=%h/conf:/c", "Volume=%h/conf:/c"),
        ("Volume=/conf:/c", "Volume=/conf:/c"),
        ("Volume=./new:/n:Z", "Volume=@data@/new:/n:Z"),
        ("Volume=./new/deep:/n:U", "Volume=@data@/new/deep:/n:U"),
        ("Mount=type=bind,source=./conf,destination=/c",
         "Mount=type=bind,source=./conf,destination=/c,ro=true"),
        ("Mount=type=bind,source=./conf,destination=/c,ro",
         "Mount=type=bind,source=./conf,destination=/c,ro"),
        ("Mount=type=bind,src=./new,dst=/c,rw=true",
         "Mount=type=bind,src=@data@/new,dst=/c,rw=true"),
        ('Mount="type=bind,source=./conf,dst=/c d"',
         'Mount="type=bind,source=./conf,dst=/c d,ro=true"'),
        ("Mount=type=volume,source=a.volume,dst=/c", "Mount=type=volume,source=a.volume,dst=/c"),
        ("EnvironmentFile=f.txt", "EnvironmentFile=f.txt"),
        ("EnvironmentFile=./own.env", "EnvironmentFile=@data@/own.env"),
        ("EnvironmentFile=/etc/x", "EnvironmentFile=/etc/x"),
        ("EnvironmentFile=%h/x", "EnvironmentFile=%h/x"),
        ("Volume=./%i:/c", "Volume=@data@/%i:/c"),
        ("Volume=./con%i:/c:ro", "Volume=./con%i:/c:ro"),
    ],
)  # fmt: skip
def test_a_relative_path_is_decided(prepared, scope, setting, expected):
    expected = expected.replace("@data@", str(scope.data / "web"))
    assert line(prepared, setting, CONF) == expected


def test_a_writable_mount_of_the_repository_is_pointed_out(prepared):
    item = one(prepared, "Volume=./conf:/c", CONF)
    assert shown(item.warnings) == ["web: a.container:3: ./conf is mounted read-only"]


def test_a_placeholder_belongs_to_the_container(prepared, scope):
    files = {"up/.gitkeep": "", "up/deep/.gitkeep": ""}
    assert line(prepared, "Volume=./up:/u", files) == f"Volume={scope.data}/web/up:/u"


def test_what_data_names_is_copied_once(prepared, scope):
    files = {"seed/a": "1", "seed/b/c": "2"}
    item = one(prepared, "Volume=./seed:/s", {**files, ".leger.yaml": "data: [seed]\n"})
    assert text(item).splitlines()[2] == f"Volume={scope.data}/web/seed:/s"
    data.provide(scope, "web", item.tree)
    seed = scope.data / "web/seed"
    assert ((seed / "a").read_text(), (seed / "b/c").read_text()) == ("1", "2")
    (seed / "a").write_text("mine")
    (seed / "b/c").unlink()
    data.provide(scope, "web", item.tree)
    assert (seed / "a").read_text() == "mine"
    assert not (seed / "b/c").exists()


def test_missing_folders_are_made_with_instances_written_out(prepared, scope):
    files = {
        "t@.container": f"{IMAGE}Volume=./own-%i:/o\n",
        "t@1.container": "-> t@.container",
    }
    item = one(prepared, "Volume=./new/deep:/n", files)
    data.provide(scope, "web", item.tree)
    assert (scope.data / "web/new/deep").is_dir()
    assert (scope.data / "web/own-1").is_dir()
    assert sorted(os.listdir(scope.data / "web")) == ["new", "own-1"]
    assert stat.S_IMODE((scope.data / "web/new").stat().st_mode) == 0o755


def test_nothing_is_made_before_the_switch(prepared, compiled, scope):
    compiled(one(prepared, "Volume=./new:/n"))
    assert not scope.data.exists()


def test_a_file_is_asked_for_by_name_until_the_host_has_it(prepared, compiled, scope):
    item = one(prepared, "EnvironmentFile=own.env")
    assert shown(compiled(item).faults) == [
        "web: a.container:3: own.env is not in the repository, and not on this host"
    ]
    assert compiled(item).faults[0].hint == f"put it at {scope.data}/web/own.env"
    place(scope.data / "web/own.env", "A=1\n")
    assert shown(compiled(item).faults) == []


@pytest.mark.parametrize("planted", ["sub", "sub/deep"])
def test_a_link_that_a_container_made_is_not_followed(prepared, scope, tmp_path, planted):
    """A container that can write data/NAME/sub puts a link to /etc there."""
    target = tmp_path / "etc"
    target.mkdir()
    item = one(prepared, "Volume=./sub/deep/x:/n")
    place(scope.data / "web" / planted, f"-> {target}")
    with pytest.raises(LegerError, match="cannot be made"):
        data.provide(scope, "web", item.tree)
    assert list(target.iterdir()) == []


def test_changing_the_owner_of_the_repositorys_files_is_refused(prepared, compiled):
    faults = compiled(one(prepared, "Volume=./conf:/c:U", CONF)).faults
    assert shown(faults) == [
        "web: a.container:3: the option U changes the owner of files of the repository"
    ]


def test_a_path_may_leave_its_folder_but_not_the_repository(prepared):
    item = prepared("web", {"x/a.container": f"{IMAGE}Volume=../conf:/c:ro\n", "conf/x": "1"})
    assert text(item, "x/a.container").endswith("Volume=../conf:/c:ro\n")
    with pytest.raises(FaultsError, match="leaves the repository's folder"):
        one(prepared, "Volume=./../../x:/c")


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("a.container", f"{IMAGE}PodmanArgs=--env-file ./x\n"),
        ("a.container", f"{IMAGE}SeccompProfile=./x\n"),
        ("a.volume", "[Volume]\nDevice=./x\n"),
        ("a.container", f"{IMAGE}Volume=./x/../x/y:/y\nPodmanArgs=-v ./x:/x\n"),
    ],
)
def test_what_quadlet_leaves_relative_is_warned_of(prepared, file, content):
    item = prepared("web", {file: content})
    assert "quadlet leaves ./x" in shown(item.warnings)[0]


@pytest.mark.parametrize(
    ("setting", "path"),
    [
        ("Volume=conf/x:/c", "conf/x"),
        ("Mount=type=bind,source=conf,destination=/c", "conf"),
        ("Volume=conf:/c", ""),
        ("Volume=%h/x:/c", ""),
        ("Volume=/x/y:/c", ""),
        ("Mount=type=volume,source=conf,destination=/c", ""),
    ],
)
def test_a_path_without_a_dot_is_warned_of(prepared, setting, path):
    found = [fault.hint for fault in one(prepared, setting, CONF).warnings]
    assert found == ([f"write ./{path}"] if path else [])


def test_drop_ins_are_relative_to_their_quadlet(prepared, scope):
    files = {
        "d/a.container": IMAGE,
        "a.container.d/x.conf": "[Container]\nEnvironmentFile=own.env\n",
    }
    item = prepared("web", files)
    assert f"{scope.data}/web/d/own.env" in text(item, "a.container.d/x.conf")
