"""`leger validate DIR` tells what a host would say, with its quadlet or without any."""

import json

from leger import validate
from leger.cli import main
from leger.fleet import Member
from repositories import FIXTURES, Repository, place, shown

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


def test_without_quadlet_paths_are_no_references(tmp_path):
    mounts = "Volume=/srv/disk.image:/disk.image\nMount=type=bind,src=./certs.volume,dst=/certs\n"
    place(tmp_path / "a.container", f"{IMAGE}{mounts}")
    place(tmp_path / "certs.volume", "[Volume]\n")
    assert validate.validate_folder(tmp_path, None)[0] == []


def test_a_repositorys_own_git_folder_is_left_out(tmp_path, quadlet):
    place(tmp_path / "a.container", IMAGE)
    place(tmp_path / ".git/x.container", "broken")
    assert validate.validate_folder(tmp_path, quadlet) == ([], [])


def test_what_the_author_excludes_may_be_anything(tmp_path, quadlet):
    place(tmp_path / "a.container", IMAGE)
    place(tmp_path / "docs/theme/.git", "gitdir: ../../.git/modules/theme\n")
    assert shown(validate.validate_folder(tmp_path, quadlet)[0]) == [
        "docs/theme/.git: this name leaves the tree or is Git's own"
    ]
    place(tmp_path / ".leger.yaml", "exclude: [docs, '.*']\n")
    assert validate.validate_folder(tmp_path, quadlet) == ([], [])


def fleet(tmp_path):
    web = Repository(tmp_path / "web")
    text = f"{IMAGE}PublishPort={{{{ port }}}}:80\nHostName={{{{ host.name }}}}\n"
    web.commit({"web/web.container.j2": text})
    folder = tmp_path / "fleet"
    place(folder / "deployments.d/web.yaml", f"source: {web.path}\npath: web\nhosts: web-*\n")
    place(folder / "values/all.yaml", "port: 8080\n")
    return folder


def test_a_host_of_a_fleet_is_shown_and_checked_without_it(tmp_path, quadlet):
    folder = fleet(tmp_path)
    check = validate.validate_host(folder, Member.of("web-1", ()), quadlet)
    assert check.is_good
    assert check.deployments["web"].values == {"port": 8080}
    assert check.commits.keys() == {"web"}
    assert validate.validate_host(folder, Member.of("db-1", ()), quadlet).deployments == {}


def test_what_would_collide_on_that_host_is_found(tmp_path, quadlet):
    folder = fleet(tmp_path)
    other = Repository(tmp_path / "other")
    other.commit({"other.container": f"{IMAGE}PublishPort=8080:80\n"})
    place(folder / "deployments.d/other.yaml", f"source: {other.path}\nhosts: tag:edge\n")
    assert validate.validate_host(folder, Member.of("web-1", ()), quadlet).is_good
    check = validate.validate_host(folder, Member.of("web-1", ("edge",)), quadlet)
    assert any("8080" in fault for fault in shown(check.faults))


def test_templates_see_the_tags_of_the_hosts_file_and_not_those_of_its_tailnet(tmp_path, capsys):
    folder = fleet(tmp_path)
    Repository(tmp_path / "tagged").commit(
        {"t.container.j2": f"{IMAGE}Label=t={{{{ host.tags[0] }}}}\n"}
    )
    text = f"source: {tmp_path}/tagged\nhosts: tag:edge\n"
    place(folder / "deployments.d/tagged.yaml", text)
    asked = ["validate", str(folder), "--host", "web-1", "--tag"]
    assert main.main([*asked, "edge"]) == 0
    assert main.main([*asked, "tag:edge"]) == 4
    assert "t.container.j2:3: cannot be rendered" in capsys.readouterr().err


def test_a_source_that_cannot_be_had_from_here_is_a_warning(tmp_path, quadlet):
    folder = fleet(tmp_path)
    place(folder / "deployments.d/far.yaml", "source: /nowhere/r\n")
    place(folder / "deployments.d/bad.yaml", "sorce: /r\n")
    check = validate.validate_host(folder, Member.of("web-1", ()), quadlet)
    assert [text for text in shown(check.warnings) if text.startswith("far: not checked")]
    assert check.faults == ()
    assert "bad.yaml:1: unknown key 'sorce'" in str(check.failed["bad"])


def test_another_scopes_deployment_is_refused_as_the_host_refuses_it(tmp_path, quadlet, capsys):
    folder = fleet(tmp_path)
    place(folder / "deployments.d/mine.yaml", "source: /r\nscope: alice\n")
    place(folder / "deployments.d/theirs.yaml", "source: /r\nscope: alice\nhosts: db-1\n")
    check = validate.validate_host(folder, Member.of("web-1", ()), quadlet)
    assert (list(check.failed), check.is_good) == (["mine"], False)
    assert main.main(["validate", str(folder), "--host", "web-1"]) == 4
    assert (
        f"{folder}/deployments.d/mine.yaml:2: scope: alice is not deployed from here"
        in capsys.readouterr().err
    )


def test_the_command_shows_a_host_and_ends_with_4_when_something_is_wrong(tmp_path, capsys):
    folder = fleet(tmp_path)
    assert main.main(["validate", str(folder), "--host", "web-1"]) == 0
    told = capsys.readouterr()
    assert told.out.splitlines()[1] == "  port: 8080"
    assert told.out.startswith(f"web: {tmp_path}/web web (")
    assert main.main(["validate", str(folder), "--host", "web-1", "--json"]) == 0
    described = json.loads(capsys.readouterr().out)
    assert described["deployments"]["web"]["values"] == {"port": 8080}
    place(folder / "values/group-x.yaml", "a: 1\n")
    assert main.main(["validate", str(folder), "--host", "web-1"]) == 1
    place(folder / "values/group-x.yaml", None)
    place(folder / "values/all.yaml", "other: 1\n")
    assert main.main(["validate", str(folder), "--host", "web-1"]) == 4
    assert (
        "web: web.container.j2:3: cannot be rendered: 'port' is undefined"
        in capsys.readouterr().err
    )


def test_a_fleet_that_is_taken_for_quadlets_is_told_from_them(tmp_path, capsys):
    assert main.main(["validate", str(fleet(tmp_path))]) == 4
    assert "is a fleet, --host NAME checks a host of it" in capsys.readouterr().err
    assert main.main(["validate", str(tmp_path), "--tag", "x"]) == 2
    assert main.main(["validate", str(tmp_path), "--host", "x", "--format", "gcc"]) == 2


def test_a_quadlet_is_a_path_from_here(tmp_path, monkeypatch, quadlet):
    place(tmp_path / "app/web.container", "[Container]\nImage=localhost/a:1\n")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "quadlet").symlink_to(quadlet)
    for given in ("quadlet", "./quadlet"):
        assert main.main(["validate", "app", "--quadlet", given]) == 0
