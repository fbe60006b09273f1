"""`leger doctor` finds what is wrong with files, and says what mends it."""

from __future__ import annotations

import json

import pytest
from leger import collect, disk, doctor, hostfolders, podman, tree
from leger.doctor import Patient
from leger.tree import File
from repositories import place


@pytest.fixture
def patient(scope):
    """An installation without a deployment, whose folders are as leger makes them."""
    disk.make_folder(scope.etc, 0o755)
    disk.make_folder(scope.state)
    disk.make_folder(scope.manifests)
    return Patient(scope, None)


def wrong(lines):
    return [(line.text, line.mend) for line in lines if not line.ok]


def test_what_is_well_is_told_too(patient):
    lines = list(doctor.modes(patient))
    assert [line.ok for line in lines] == [True]


def test_a_mode_that_lets_others_in_is_told_with_the_command(patient):
    scope = patient.scope
    scope.manifests.chmod(0o755)
    place(scope.units, "{}")
    scope.units.chmod(0o666)
    assert wrong(doctor.modes(patient)) == [
        (f"{scope.units} has mode 0666, which lets others in", f"chmod 0644 {scope.units}"),
        (f"{scope.manifests} has mode 0755, which lets others in", f"chmod 0700 {scope.manifests}"),
    ]


def test_a_manifest_and_a_current_that_cannot_be_read_are_told(patient):
    scope = patient.scope
    place(scope.current, "{")
    place(scope.manifests / "3.json", "{}")
    place(scope.manifests / "3.units.json", "")
    place(scope.switch, "{}")
    found = wrong(doctor.files(patient))
    assert found[0] == ("a switch was interrupted", "leger settle")
    assert f"{scope.current} cannot be understood" in found[1][0]
    assert f"{scope.manifests}/3.json" in found[2][0]
    assert found[2][1].startswith("rm ")


def test_a_tree_that_no_unit_uses_is_read_as_well(patient):
    made = tree.write(patient.scope, "web", {"a": File.of(b"1")})
    assert wrong(doctor.trees(patient)) == []
    (made.path / "a").write_text("2")
    assert wrong(doctor.trees(patient)) == [
        (
            f"{made.path} was changed by hand; nothing that runs uses it",
            f"rm -r {made.path}: it is made again when it is needed",
        )
    ]


def test_no_tree_is_to_be_removed_under_who_uses_it(patient, monkeypatch):
    """Without it a container's mounts would turn empty, and the generator lack the host's own."""
    used = tree.write(patient.scope, "web", {"a": File.of(b"1")})
    theirs = tree.write(patient.scope, hostfolders.NAME, {"0000/a.network": File.of(b"")})
    (patient.scope.store / "stray").write_text("")
    (used.path / "a").write_text("2")
    (theirs.path / "0000/a.network").write_text("x")
    monkeypatch.setattr(collect, "mounted", lambda: {used.path.name})
    mends = dict(wrong(doctor.trees(patient)))
    assert len(mends) == 3
    assert mends[f"{theirs.path} was changed by hand"] == "leger apply"
    assert mends[f"{patient.scope.store}/stray is none of Leger's"].startswith("rm ")
    assert not any("rm -r" in mend for mend in mends.values())


def test_the_hosts_own_quadlets_are_copied_as_they_are(scope):
    own = scope.quadlet_folders[0] / "a.network"
    place(own, "[Network]\n")
    found = hostfolders.find(scope)
    made = hostfolders.copy(scope, found, ())
    (made.path / "0000/a.network").write_text("[Network]\nInternal=true\n")
    hostfolders.copy(scope, found, ())
    assert (made.path / "0000/a.network").read_text() == "[Network]\n"


@pytest.mark.parametrize(
    ("known", "values", "told"),
    [
        ({"1": {"name": "a"}}, {"1": "x"}, ""),
        ({"1": {"name": "a"}, "2": {"name": "b"}}, {"1": "x"}, "the values of b are lost"),
        (None, {}, "secrets"),
    ],
)
def test_a_secret_whose_value_is_lost_is_told(tmp_path, monkeypatch, known, values, told):
    """Podman itself lists it as if nothing was wrong."""
    program = tmp_path / "podman"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    text = "{" if known is None else json.dumps({"secrets": known})
    place(tmp_path / "secrets/secrets.json", text)
    place(tmp_path / "secrets/filedriver/secretsdata.json", json.dumps(values))
    assert told in podman.broken_secrets(tmp_path)
    assert bool(told) == bool(podman.broken_secrets(tmp_path))
    program.write_text("#!/bin/sh\necho 'Error: unexpected end of JSON input' >&2; exit 125\n")
    assert "unexpected end" in podman.broken_secrets(tmp_path)
