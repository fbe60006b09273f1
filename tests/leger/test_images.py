"""Images that are built ahead: what runs keeps the image that it has until the switch."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from leger import imageids, images, podman
from leger.images import ImageError
from leger.model import Unit

APP, BASE = "localhost/app:latest", "localhost/base:latest"
# Each name is a file that holds the id; a build's id is what its Containerfile, a script, prints.
PROGRAM = """#!/bin/sh
cd {store}
file() {{ echo "$1" | tr / _; }}
case "$1 $2" in
    "image inspect")
        shift 4
        for name; do
            if [ -e "id-$name" ]; then echo "$name"; else cat "$(file "$name")" || exit 125; fi
        done ;;
    "build --tag")
        id=$(sh "$4/Containerfile") && [ "$id" ] || exit 1
        echo "$id" >"$(file "$3")"; : >"id-$id" ;;
    "tag "*) echo "$2" >"$(file "$3")" ;;
esac
"""


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What a podman of its own has: app means the image `live`."""
    store, program = tmp_path / "store", tmp_path / "bin/podman"
    for folder in (store, program.parent):
        folder.mkdir()
    program.write_text(PROGRAM.format(store=store))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setattr(podman, "_seen", podman._Seen())
    (store / "localhost_app:latest").write_text("live\n")
    (store / "id-live").touch()
    return store


def build(tmp_path: Path, name: str, script: str) -> Unit:
    """A .build whose image has the id that `script` prints."""
    context = tmp_path / f"context-{len(list(tmp_path.iterdir()))}"
    context.mkdir()
    (context / "Containerfile").write_text(script)
    text = f"[X-Build]\nImageTag={name}\n[Service]\nExecStart=podman build --tag {name} {context}\n"
    return Unit("app-build.service", "web", "build", "app.build", text, text)


def meaning() -> dict[str, str]:
    return podman.image_ids([APP, BASE])


def provide(*units: Unit, known: tuple[str, ...] = ()) -> dict[str, str]:
    return images.provide(units, lambda _line: None, known)


def test_a_name_that_runs_means_what_it_meant_until_the_switch(store: Path, tmp_path: Path) -> None:
    made = provide(build(tmp_path, APP, "echo next"))
    assert (made, meaning()) == ({APP: "next"}, {APP: "live"})
    imageids.give_back(made)
    assert meaning() == {APP: "next"}


def test_a_name_that_is_new_is_there_at_once(store: Path, tmp_path: Path) -> None:
    """Nothing runs with it, and what names it without its .build would miss it."""
    web = Unit("web.service", "web", "container", "web.container", "", "", image=BASE)
    assert provide(build(tmp_path, BASE, "echo first"), web) == {BASE: "first"}
    assert meaning()[BASE] == "first"


def test_a_build_finds_what_another_one_made_before_it(store: Path, tmp_path: Path) -> None:
    (store / "localhost_base:latest").write_text("old\n")
    chained = build(tmp_path, APP, 'echo "on-$(cat localhost_base:latest)"')
    assert provide(build(tmp_path, BASE, "echo new"), chained) == {APP: "on-new", BASE: "new"}
    assert meaning() == {APP: "live", BASE: "old"}


def test_after_a_failure_the_name_means_what_it_meant(store: Path, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"app\.build: building app\.build failed"):
        provide(build(tmp_path, APP, "echo next"), build(tmp_path, BASE, "exit 1"))
    assert meaning() == {APP: "live"}


def test_what_the_switch_gives_an_image_is_not_pulled(store: Path) -> None:
    web = Unit("web.service", "web", "container", "web.container", "", "", image=BASE)
    tags = {BASE: "live", "localhost/gone:1": "removed"}
    assert imageids.present(tags) == {BASE: "live"}
    assert provide(web, known=(BASE,)) == {}
    with pytest.raises(ImageError, match="is not on this host"):
        provide(web)
