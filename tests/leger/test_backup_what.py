"""Which volumes a deployment has, by the names that podman knows them by, and who uses them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from leger.backup import what
from leger.backup.rules import Rules
from leger.backup.what import Users
from leger.model import Compiled
from leger.prepare import Prepared
from leger.scope import Scope

Prepare = Callable[..., Prepared]
Compile = Callable[..., Compiled]
KUBE = """apiVersion: v1
kind: Pod
metadata: {name: k}
spec:
  volumes:
    - name: d
      persistentVolumeClaim: {claimName: claimed}
    - name: e
      emptyDir: {}
  containers: [{name: c, image: localhost/x}]
"""


Fake = Callable[..., None]
PODMAN = """#!/bin/sh
case $1 in
    ps) cat {0}/ids ;;
    inspect) cat {0}/containers ;;
    volume) cat {0}/volumes ;;
esac
"""


@pytest.fixture
def podman(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fake:
    """Lets podman say what runs (unit: volumes and folders that it mounts) and what there is."""
    folder = tmp_path / "podman"
    folder.mkdir()
    (folder / "podman").write_text(PODMAN.format(folder))
    (folder / "podman").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")

    def say(
        mounts: Mapping[str, tuple[str, ...]] | None = None, volumes: tuple[str, ...] = ()
    ) -> None:
        rows = [
            {
                "Id": unit,
                "Name": unit.removesuffix(".service"),
                "Config": {"Labels": {"PODMAN_SYSTEMD_UNIT": unit}},
                "Mounts": [{"Source" if one.startswith("/") else "Name": one} for one in given],
            }
            for unit, given in (mounts or {}).items()
        ]
        (folder / "ids").write_text("".join(f"{row['Id']}\n" for row in rows))
        (folder / "containers").write_text(json.dumps(rows))
        named = [{"Name": one, "Mountpoint": f"/v/{one}", "Driver": "local"} for one in volumes]
        (folder / "volumes").write_text(json.dumps(named))

    say()
    return say


def container(*lines: str) -> str:
    return "\n".join(["[Container]", "Image=localhost/x", *lines, ""])


def test_volumes_are_found_in_every_spelling(
    scope: Scope, prepared: Prepare, compiled: Compile
) -> None:
    app = prepared(
        "app",
        {
            "a.container": container(
                "Volume=own.volume:/a",
                "Volume=named:/b:ro",
                "Volume=/srv/host:/c",
                "Volume=/anonymous",
                "Mount=type=volume,source=mounted,destination=/d",
                "Mount=type=bind,source=/srv/x,destination=/e",
                "PodmanArgs=-v given:/f --volume=joined:/g",
            ),
            "own.volume": "[Volume]\nVolumeName=real\n",
            "unused.volume": "[Volume]\n",
            "w@.container": container("Volume=of-%i:/x"),
            "w@one.container": container("Volume=of-%i:/x"),
            "k.kube": "[Kube]\nYaml=./k.yaml\n",
            "k.yaml": KUBE,
            "p.pod": "[Pod]\nVolume=podded:/p\n",
        },
    )
    found = what.volumes(scope, compiled(app), "app")
    assert set(found) == {
        *("real", "named", "mounted", "given", "joined"),
        *("systemd-unused", "of-one", "claimed", "podded"),
    }
    assert what.volumes(scope, compiled(app), "other") == ()


def test_a_volume_belongs_to_the_deployment_that_defines_it(
    scope: Scope, prepared: Prepare, compiled: Compile
) -> None:
    one = prepared("one", {"shared.volume": "[Volume]\n", "mine.volume": "[Volume]\n"})
    two = prepared("two", {"u.container": container("Volume=shared.volume:/s", "Volume=plain:/p")})
    both = compiled(one, two)
    assert what.volumes(scope, both, "one") == ("systemd-mine", "systemd-shared")
    assert what.volumes(scope, both, "two") == ("plain",)
    assert what.unshared(scope, both, "one") == ("systemd-mine",)
    assert what.unshared(scope, both, "two") == ("plain",)


def test_volumes_of_instances_that_were_started_by_hand_are_found(
    scope: Scope, prepared: Prepare, compiled: Compile
) -> None:
    files = {"w@.container": container("Volume=of-%i:/x"), "w@one.container": ""}
    app = compiled(prepared("app", files | {"w@one.container": files["w@.container"]}))
    loaded = ["w@one.service", "w@two.service", "other@three.service"]
    assert what.volumes(scope, app, "app", loaded) == ("of-one", "of-two")
    assert what.unshared(scope, app, "app", loaded) == ("of-one", "of-two")


HOSTS = {
    "disk.volume": "[Volume]\n",
    "named.volume": "[Volume]\nVolumeName=overridden\n",
    "named.volume.d/10.conf": "[Volume]\nVolumeName=real\n",
    "looks.container": container(
        "Volume=plain:/p", "Mount=type=volume,src=mounted,dst=/m", "PodmanArgs=-v given:/g"
    ),
    "kube.kube": "[Kube]\nYaml=kube.yaml\n",
    "kube.yaml": KUBE,
}


@pytest.fixture
def hosts(scope: Scope) -> Path:
    """Quadlets of the host's own, in a folder below its quadlet folder."""
    folder = scope.quadlet_folders[1] / "hosts"
    for name, text in HOSTS.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def test_what_the_hosts_own_quadlets_use_is_not_the_deployments_alone(
    scope: Scope, prepared: Prepare, compiled: Compile, hosts: Path, podman: Fake
) -> None:
    named = ("disk.volume", "real", "plain", "mounted", "given", "claimed", "mine", "overridden")
    app = prepared("app", {"a.container": container(*(f"Volume={n}:/{n}" for n in named))})
    both = compiled(app)
    saved = ("claimed", "given", "mine", "mounted", "overridden", "plain")
    assert what.volumes(scope, both, "app") == saved
    assert what.unshared(scope, both, "app") == ("mine", "overridden")
    podman(volumes=[*saved, "real", "systemd-disk"])
    found, left = what.chosen(scope, both, "app", Rules(volumes=("real",)), ())
    assert [one.name for one in found] == sorted([*saved, "real"])
    assert left == [f"volume systemd-disk: it is the host's own, by {hosts}/disk.volume"]
    assert what.chosen(scope, both, "app", Rules(exclude=("real", "*disk")), ())[1] == []


def test_an_instance_that_was_started_by_hand_is_no_stranger(
    scope: Scope, prepared: Prepare, compiled: Compile, podman: Fake
) -> None:
    app = compiled(prepared("app", {"w@.container": container("Volume=of-%i:/x")}))
    podman({"w@one.service": ("of-one",), "x.service": ("of-one",), "y.service": ("of-two",)})
    active = {"w@one.service": True, "w@two.service": True, "w@gone.service": False}
    users = what.users(scope, app, ["of-one"], "", active)
    assert (users.units, users.held) == (("w@one.service",), ("w@one.service",))
    assert (users.containers, users.strangers) == (("w@one.service",), ("x",))


def test_who_has_a_folder_above_or_below_uses_data(
    scope: Scope, prepared: Prepare, compiled: Compile, podman: Fake
) -> None:
    data = scope.data
    plain = "[Service]\nExecStart=/bin/x\n"
    files = {
        "all.container": container(f"Volume={data}:/x"),
        "state.container": container(f"Mount=type=bind,src={scope.state}/,dst=/x"),
        "in.container": container(f"Volume={data}/web/a/b:/x"),
        "folder.service": f"{plain}WorkingDirectory={data}/web\n",
        "specifier.service": f"{plain}WorkingDirectory=%S/leger/data/web\n",
        "file.service": f'{plain}Environment="A=b" "C={data}/web/c"\n',
        "webshop.container": container(f"Volume={data}/webshop:/x"),
        "whole.container": container(f"Volume={scope.state.parent}:/x", "Volume=/:/y"),
        "other.service": f"{plain}WorkingDirectory={data}/we\n",
    }
    app = compiled(prepared("app", files))
    active = dict.fromkeys(app.deployments["app"].units, True)
    using = ("all", "file", "folder", "in", "specifier", "state")
    expected = tuple(f"{name}.service" for name in using)
    assert what.users(scope, app, (), "web", active).units == expected
    assert what.users(scope, app, (), "", active) == Users()
    podman(
        {
            "a.service": (str(data),),
            "b.service": (f"{scope.state}",),
            "c.service": (f"{data}/web",),
            "d.service": (f"{data}/web/x", "/etc"),
            "e.service": ("/", "/var/lib", f"{data}/webshop", f"{scope.state}/store/web-1"),
        }
    )
    assert what.users(scope, app, (), "web", {}).strangers == ("a", "b", "c", "d")
