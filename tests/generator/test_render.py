"""Another quadlet binary than the one that made the units: rendered afresh, within the deadline."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from generator.generating import Host, identity_of, plan
from leger_generator.dropin import HOOK
from leger_generator.plan import File, encode

FAKE = """#!/bin/sh
out=$3
[ "$1" = -user ] && out=$4
{body}
"""
WEB = """unit() {
  printf '[Unit]\\nSourcePath=%s\\n[Service]\\nExecStartPre=/new/own\\n' "$2" >"$out/$1"
  printf 'ExecStart=/new %s\\n' "$QUADLET_UNIT_DIRS" >>"$out/$1"
}
"""


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def replaced(host: Host, body: str, **overrides: Any) -> Path:
    """A plan made by one quadlet binary, and another one in its place."""
    binary = host.root / "quadlet"
    binary.write_text("#!/bin/sh\nexit 1\n")
    binary.chmod(0o755)
    tree = host.store("web-1", {"web.container": "[Container]\nImage=x\n"})
    content: dict[str, Any] = {
        "quadlet": identity_of(binary),
        "deployments": {"web": {"store": str(tree), "commit": "c"}},
        "search": ["/etc/containers/systemd"],
        "files": {
            "web.service": File(
                f"[Unit]\nSourcePath={tree}/web.container\n[Service]\nExecStart=/old\n", "web"
            ),
            "web.service.d/00-leger.conf": File(
                f"[Service]\nExecStartPre=:{HOOK}\n", "web", ["a=b"]
            ),
            "plain.service": File("[Service]\nExecStart=/plain\n", "web"),
        },
    }
    host.units.write_bytes(encode(plan(1, **{**content, **overrides})))
    binary.write_text(FAKE.replace("{body}", f"TREE={tree}\n{WEB}{body}"))
    return tree


def test_units_of_our_trees_are_taken_with_their_links_and_drop_ins(host: Host) -> None:
    tree = replaced(
        host,
        f"unit web.service {host.root}/var/lib/leger/store/web-1/web.container\n"
        "unit theirs.service /etc/containers/systemd/theirs.container\n"
        f"unit near.service {host.root}/var/lib/leger/store/web-10/near.container\n"
        "mkdir -p $out/default.target.wants\n"
        "ln -s ../web.service $out/default.target.wants/web.service\n"
        "ln -s ../theirs.service $out/default.target.wants/theirs.service\n"
        "ln -s /etc/passwd $out/default.target.wants/evil.service\n",
    )
    run = host.generate()
    assert run.code == 0
    assert f"ExecStart=/new {tree}:/etc/containers/systemd" in run.texts["web.service"]
    assert run.texts["web.service.d/00-leger.conf"].endswith(
        f"ExecStartPre=:{HOOK} a=b\nExecStartPre=/new/own\n"
    )
    assert run.texts["plain.service"] == "[Service]\nExecStart=/plain\n"
    assert set(run.texts) == {"web.service", "web.service.d/00-leger.conf", "plain.service"}
    assert run.links == {
        "default.target.wants/web.service": "../web.service",
        "multi-user.target.wants/web.service": "../web.service",
    }
    assert run.lines == ["<6>leger-generator: quadlet was replaced: units rendered afresh with it"]
    assert host.note["rendered"] is True
    assert host.note["quadlet"] == identity_of(host.root / "quadlet")
    assert [path.name for path in (host.root / "run/leger").iterdir() if path.is_dir()] == []


BAD: Mapping[str, tuple[str, str]] = {
    "writes nothing": ("exit 0", "not made by the replaced quadlet"),
    "fails": ("exit 1", "not made by the replaced quadlet"),
    "hangs": ("sleep 60 & sleep 60", "did not end in time"),
    "is killed": ("unit web.service $TREE/web.container; kill -9 $$", "killed by signal 9"),
    "runs out of room": (
        'printf "[Unit]\\nSourcePath=$TREE/web.container\\n[Serv" >$out/web.service',
        "not made by the replaced quadlet",
    ),
}


@pytest.mark.parametrize("how", BAD)
def test_what_is_not_rendered_keeps_its_recorded_text(host: Host, how: str) -> None:
    body, message = BAD[how]
    host.limit = 1.5
    replaced(host, body)
    began = time.monotonic()
    run = host.generate()
    assert run.code == 0
    assert time.monotonic() - began < 10
    assert "ExecStart=/old" in run.texts["web.service"]
    assert f"ExecStartPre=:{HOOK}\n" in run.texts["web.service.d/00-leger.conf"]
    assert message in "".join(run.lines)
    assert [path.name for path in (host.root / "run/leger").iterdir() if path.is_dir()] == []


def test_a_hanging_quadlet_is_killed_with_its_children(host: Host) -> None:
    host.limit = 1.0
    replaced(host, f"(sleep 61.5 & echo $! >{host.root}/pid; wait) & wait")
    host.generate()
    pid = (host.root / "pid").read_text().strip()
    state = Path(f"/proc/{pid}/stat")
    end = time.monotonic() + 5
    while state.exists() and ") Z " not in state.read_text() and time.monotonic() < end:
        time.sleep(0.02)
    assert not state.exists() or ") Z " in state.read_text()


def test_a_store_that_is_not_mounted_keeps_the_recorded_texts(host: Host) -> None:
    tree = replaced(host, "exit 0")
    os.rename(tree, host.root / "elsewhere")
    run = host.generate()
    assert "ExecStart=/old" in run.texts["web.service"]
    assert "store is not there" in "".join(run.lines)
    assert host.note["rendered"] is False


def test_a_quadlet_that_is_gone_keeps_the_recorded_texts(host: Host) -> None:
    replaced(host, "exit 0")
    (host.root / "quadlet").unlink()
    run = host.generate()
    assert "ExecStart=/old" in run.texts["web.service"]
    assert len(run.lines) == 1


def test_a_quadlet_that_cannot_be_run_keeps_the_recorded_texts(host: Host) -> None:
    replaced(host, "exit 0")
    (host.root / "quadlet").write_bytes(b"\x7fELF garbage")
    run = host.generate()
    assert "ExecStart=/old" in run.texts["web.service"]
    assert "cannot be run" in "".join(run.lines)


def test_leftovers_of_a_killed_run_are_cleared(host: Host) -> None:
    replaced(host, f"unit web.service {host.root}/var/lib/leger/store/web-1/web.container")
    stale = host.root / "run/leger/render.4711/deep"
    stale.mkdir(parents=True)
    (stale / "link").symlink_to("/etc")
    host.generate()
    assert not stale.parent.exists()
    assert Path("/etc").exists()


def test_a_link_on_the_way_to_the_store_does_not_hide_it(host: Host) -> None:
    """On image-based hosts /home is a link to /var/home: quadlet writes resolved paths."""
    real = host.store("real-1", {"web.container": "[Container]\nImage=x\n"})
    link = host.root / "link"
    link.symlink_to(real.parent)
    replaced(
        host,
        f"unit web.service {real}/web.container",
        deployments={"web": {"store": f"{link}/real-1", "commit": "c"}},
    )
    assert "ExecStart=/new" in host.generate().texts["web.service"]


def test_a_real_quadlet_renders_them_afresh(host: Host, quadlet: Path) -> None:
    container = (
        "[Container]\nImage=localhost/hello:1\nSecret=db\n[Install]\nWantedBy=default.target\n"
    )
    replaced(host, "exit 0")
    tree = host.store("web-1", {"web.container": container, "data.volume": "[Volume]\n"})
    fake = host.root / "quadlet"
    fake.unlink()
    fake.symlink_to(quadlet)
    run = host.generate()
    assert "podman run" in run.texts["web.service"]
    assert f"SourcePath={tree}/web.container" in run.texts["web.service"]
    assert "data-volume.service" in run.texts
    assert run.texts["web.service.d/00-leger.conf"].endswith(f"ExecStartPre=:{HOOK} a=b\n")
    assert run.links["default.target.wants/web.service"] == "../web.service"
