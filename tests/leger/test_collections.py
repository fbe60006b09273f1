"""Repositories as people keep them: every shape compiles, and a fault names its application."""

from __future__ import annotations

from pathlib import Path

import pytest
from leger import validate
from repositories import content, shown

COLLECTIONS = Path(__file__).resolve().parents[1] / "data/collections"

UNITS = {
    "cookbook": {
        "db.service", "db-data-volume.service", "backend-network.service", "web.service",
        "db-backup.service", "db-backup.timer", "recipes.target",
    },
    "flat": {
        "alpha.service", "bravo.service", "charlie.service", "proxy-network.service",
        "media-pod.service", "media-server.service", "media-index.service",
        "cache-volume.service", "base-image.service", "cron@.service", "cron@hourly.service",
    },
    "areas": {"front.service", "dns.service", "wiki.service", "one.service", "cafe.service"},
    "library": {
        "player.service", "media-network.service", "builder-build.service", "builder.service",
        "stack.service",
    },
    "bundles": {
        "shop.service", "shop-data-volume.service", "monitor.service", "welcome.service",
    },
}  # fmt: skip


@pytest.mark.parametrize("name", UNITS)
def test_a_collection_gives_all_of_its_units_and_no_other(prepared, compiled, name):
    made = compiled(prepared(name, content(COLLECTIONS / name)))
    assert shown(made.faults) == []
    assert set(made.deployments[name].units) == UNITS[name]


@pytest.mark.parametrize("name", UNITS)
def test_a_collection_is_valid_with_and_without_a_quadlet(quadlet, name):
    for binary in (quadlet, None):
        assert shown(validate.validate_folder(COLLECTIONS / name, binary)[0]) == []


def test_all_collections_of_one_host_live_together(prepared, compiled):
    made = compiled(*(prepared(name, content(COLLECTIONS / name)) for name in UNITS))
    assert shown(made.faults) == []
    assert {name: set(built.units) for name, built in made.deployments.items()} == UNITS


@pytest.mark.parametrize(
    ("folder", "names"),
    [
        ("broken", ("typo", "nowhere", "noimage", "option")),
        ("unread", ("words", ".swap")),
    ],
)
def test_the_faults_of_one_application_name_its_files_and_no_others(
    prepared, compiled, folder, names
):
    """What quadlet could not read at all is told first, and by itself."""
    files = content(COLLECTIONS / "faulty")
    other = "unread" if folder == "broken" else "broken"
    made = compiled(prepared("all", {p: t for p, t in files.items() if not p.startswith(other)}))
    assert {fault.file for fault in made.faults} == {f"{folder}/{n}.container" for n in names}


def test_an_application_by_itself_is_not_held_back_by_its_neighbours(quadlet):
    for name in ("good", "fine"):
        assert validate.validate_folder(COLLECTIONS / "faulty" / name, quadlet)[0] == []


def test_text_that_only_looks_like_a_template_passes_unchanged(prepared):
    made = prepared("bundles", content(COLLECTIONS / "bundles"))
    for path in ("monitor.container", "monitor/rules.tmpl"):
        there = (made.tree.path / path).read_bytes()
        assert there == (COLLECTIONS / "bundles" / path).read_bytes()


def test_hundreds_of_applications_in_folders_of_their_own(prepared, compiled):
    files = {}
    for number in range(150):
        folder = f"apps/app{number}"
        network = f"[Network]\nSubnet=10.{number}.0.0/24\n"
        container = (
            f"[Container]\nImage=x/app:{number}\nNetwork=net{number}.network\n"
            f"EnvironmentFile=./app.env\nVolume=./conf:/conf:ro\n"
        )
        files |= {
            f"{folder}/app{number}.container": container,
            f"{folder}/net{number}.network": network,
            f"{folder}/app.env": f"N={number}\n",
            f"{folder}/conf/a.conf": "x\n",
            f"{folder}/README.md": "x\n",
        }
    made = compiled(prepared("many", files))
    assert shown(made.faults) == []
    assert len(made.deployments["many"].units) == 300
    inputs = made.deployments["many"].units["app7.service"].inputs
    assert inputs == ("apps/app7/app.env", "apps/app7/conf")
