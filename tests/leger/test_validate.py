"""`leger validate DIR` tells what a host would say, with its quadlet or without any."""

from leger import validate
from repositories import FIXTURES, place, shown

IMAGE = "[Container]\nImage=localhost/hello:1\n"


def test_a_good_folder_has_no_faults_with_or_without_quadlet(quadlet):
    for binary in (quadlet, None):
        faults, warnings = validate.validate_folder(
            FIXTURES / "everything", binary, {"title": "Hello"}
        )
        assert shown(faults) == []
        assert shown(warnings) == ["web/web.container:10: ./page.html is mounted read-only"]


def test_faults_name_file_and_line(tmp_path, quadlet):
    place(tmp_path / "a.container", f"{IMAGE}Colour=red\nSecret=x,taget=y\n")
    faults, _ = validate.validate_folder(tmp_path, quadlet)
    assert shown(faults) == [
        "a.container:3: unsupported key 'Colour' in [Container]",
        "a.container:4: Secret= has no option 'taget'",
    ]


def test_without_quadlet_our_own_checks_are_made(tmp_path):
    place(tmp_path / "a.container", f"{IMAGE}Network=gone.network\nSecret=x,taget=y\n")
    place(tmp_path / "b.container", f"{IMAGE}ServiceName=a\n")
    faults, _ = validate.validate_folder(tmp_path, None)
    assert shown(faults) == [
        "a.container:3: gone.network is not in this deployment",
        "a.container:4: Secret= has no option 'taget'",
        "b.container: makes a.service, and so does a.container",
    ]


def test_a_repositorys_own_git_folder_is_left_out(tmp_path, quadlet):
    place(tmp_path / "a.container", IMAGE)
    place(tmp_path / ".git/x.container", "broken")
    assert validate.validate_folder(tmp_path, quadlet) == ([], [])
