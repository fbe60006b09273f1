"""Which volumes a deployment has, by the names that podman knows them by."""

from __future__ import annotations

from collections.abc import Callable

from leger.backup import what
from leger.model import Compiled
from leger.prepare import Prepared

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


def container(*lines: str) -> str:
    return "\n".join(["[Container]", "Image=localhost/x", *lines, ""])


def test_volumes_are_found_in_every_spelling(prepared: Prepare, compiled: Compile) -> None:
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
    found = what.volumes(compiled(app), "app")
    assert set(found) == {
        *("real", "named", "mounted", "given", "joined"),
        *("systemd-unused", "of-one", "claimed", "podded"),
    }
    assert what.volumes(compiled(app), "other") == ()


def test_a_volume_belongs_to_the_deployment_that_defines_it(
    prepared: Prepare, compiled: Compile
) -> None:
    one = prepared("one", {"shared.volume": "[Volume]\n", "mine.volume": "[Volume]\n"})
    two = prepared("two", {"u.container": container("Volume=shared.volume:/s", "Volume=plain:/p")})
    both = compiled(one, two)
    assert what.volumes(both, "one") == ("systemd-mine", "systemd-shared")
    assert what.volumes(both, "two") == ("plain",)
    assert what.unshared(both, "one") == ("systemd-mine",)
    assert what.unshared(both, "two") == ("plain",)
