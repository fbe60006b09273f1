"""What was compiled is not compiled once more, and is as soon as anything of it may be another."""

from __future__ import annotations

import json
import socket
from dataclasses import replace

import pytest
from leger import quadlet as quadlets
from leger import recall

IMAGE = "[Container]\nImage=localhost/hello:1\n"
WEB = {"web.container": IMAGE}


@pytest.fixture
def runs(monkeypatch):
    """The folders that quadlet was run over, run by run."""
    seen = []
    run = quadlets.run

    def counted(binary, folders, **options):
        seen.append([path.name for path in folders])
        return run(binary, folders, **options)

    monkeypatch.setattr(quadlets, "run", counted)
    return seen


def test_the_same_trees_are_compiled_once(prepared, compiled, runs):
    web = prepared("web", WEB)
    first = compiled(web)
    assert compiled(web) == first
    assert len(runs) == 1
    other = prepared("other", {"other.network": "[Network]\n"})
    both = compiled(web, other)
    assert (len(runs), "other-network.service" in both.files) == (2, True)
    changed = prepared("web", {"web.container": f"{WEB['web.container']}Exec=a\n"})
    assert "Exec" in compiled(changed, other).files["web.service"]["text"]
    assert len(runs) == 3


def test_what_is_recalled_is_all_that_was_compiled(prepared, compiled, runs):
    web = prepared(
        "web",
        {
            "web.container": f"{IMAGE}Secret=key\nNetwork=web.network\nPublishPort=1234:80\n"
            "Volume=./site:/site\nVolume=data.volume:/data\nPod=all.pod\n[Install]\n"
            "WantedBy=default.target\nAlias=www.service\n",
            "web@.container": f"{IMAGE}Secret=%i,type=env\n[Install]\nDefaultInstance=a\n"
            "WantedBy=default.target\n",
            "web@b.container": f"{IMAGE}Secret=b\n",
            "all.pod": "[Pod]\nPublishPort=99:99\n",
            "web.network": "[Network]\n",
            "data.volume": "[Volume]\nVolumeName=named\n",
            "made.build": "[Build]\nImageTag=localhost/made\nSetWorkingDirectory=./image\n",
            "image/Containerfile": "FROM scratch\n",
            "play.kube": "[Kube]\nYaml=play.yaml\n",
            "play.yaml": "apiVersion: v1\nkind: Pod\nmetadata: {name: play}\n"
            "spec: {containers: [{name: a, image: localhost/hello:1}]}\n",
            "site/index.html": "hello\n",
            "job.timer": "[Timer]\nOnCalendar=daily\nUnit=web.service\n[Install]\n"
            "WantedBy=timers.target\n",
            "web.service.d/10-more.conf": "[Service]\nNice=1\n",
            ".leger.yaml": "secrets: {unused: {}}\n",
        },
    )
    first = compiled(web)
    again = compiled(web)
    assert not first.faults
    assert first.warnings
    assert again == first
    assert len(runs) == 1


@pytest.mark.parametrize("part", ["digest", "commit", "author", "deployment"])
def test_every_part_counts(prepared, compiled, runs, part):
    web = prepared("web", WEB)
    compiled(web)
    others = {
        "digest": replace(web, tree=replace(web.tree, digest="0" * 16)),
        "commit": replace(web, commit="1" * 40),
        "author": replace(web, author=replace(web.author, on_secret_change="none")),
        "deployment": replace(web, deployment=replace(web.deployment, fresh=True)),
    }
    compiled(others[part])
    assert len(runs) == 2


def test_what_is_faulty_is_told_each_time(prepared, compiled, runs):
    bad = prepared("web", {"web.container": f"{IMAGE}NoSuchKey=1\n"})
    assert compiled(bad).faults == compiled(bad).faults != ()
    assert len(runs) == 2


def test_a_unit_that_the_host_has_since_is_found(scope, prepared, compiled):
    web = prepared("web", WEB)
    assert not compiled(web).faults
    unit = scope.etc.parent / "systemd/system/web.service"
    unit.parent.mkdir(parents=True)
    unit.write_text("[Service]\nExecStart=/bin/true\n")
    assert f"which the host has in {unit.parent}" in str(compiled(web).faults[0])
    unit.unlink()
    assert not compiled(web).faults


def test_a_unit_that_is_needed_and_went_is_told(scope, prepared, compiled):
    folder = scope.etc.parent / "systemd/system"
    folder.mkdir(parents=True)
    (folder / "disk.service").write_text("")
    web = prepared("web", {"web.container": f"[Unit]\nRequires=disk.service\n{IMAGE}"})
    assert not compiled(web).warnings
    (folder / "disk.service").unlink()
    assert "disk.service is not there" in str(compiled(web).warnings[0])


def test_a_quadlet_of_the_hosts_own_is_found(scope, prepared, compiled):
    web = prepared("web", WEB)
    compiled(web)
    own = scope.quadlet_folders[0] / "web.container"
    own.parent.mkdir(parents=True, exist_ok=True)
    own.write_text(IMAGE)
    assert f"the host has {own}" in str(compiled(web).faults[0])


def test_a_port_that_somebody_took_meanwhile_is_told(prepared, compiled):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        web = prepared("web", {"web.container": f"{IMAGE}PublishPort={port}:80\n"})
        assert not compiled(web).faults
        listener.listen()
        assert f"port {port}/tcp is in use" in str(compiled(web).faults[0])


def test_a_file_in_data_that_went_is_told(scope, prepared, compiled):
    file = scope.data / "web/web.env"
    file.parent.mkdir(parents=True)
    file.write_text("")
    web = prepared(
        "web", {"web.container": f"{IMAGE}EnvironmentFile=./web.env\n"}, data=("web.env",)
    )
    assert not compiled(web).faults
    file.unlink()
    assert f"put it at {file}" in str(compiled(web).faults[0].hint)


@pytest.mark.parametrize(
    "text", ["", "[]", "\0", '{"key": 1}', '{"deployments": {}}', "asked", "files"]
)
def test_a_memory_that_cannot_be_understood_is_as_none(scope, prepared, compiled, runs, text):
    web = prepared("web", WEB)
    first = compiled(web)
    file = recall.memory(scope)
    if text in ("asked", "files"):
        text = json.dumps(json.loads(file.read_text()) | {text: []})
    file.write_text(text)
    assert compiled(web) == first
    assert len(runs) == 2


def test_another_quadlet_is_asked_anew(scope, prepared, compiled, runs, quadlet, tmp_path):
    web = prepared("web", WEB)
    compiled(web)
    copy = tmp_path / "quadlet"
    copy.write_text(f'#!/bin/sh\nexec {quadlet} "$@"\n')
    copy.chmod(0o755)
    compiled(web, quadlet=copy)
    assert len(runs) == 2
