"""What the host's quadlet and the checks make of repositories that are right."""

from dataclasses import replace
from pathlib import Path

import pytest
from leger import compile as compiling
from leger import hostfolders, prepare
from leger.errors import LegerError
from leger_generator import plan
from repositories import FIXTURES, content, place, shown

EVERYTHING = FIXTURES / "everything"
IMAGE = "[Container]\nImage=localhost/hello:1\n"


@pytest.fixture
def everything(prepared, compiled, scope):
    item = prepared("everything", content(EVERYTHING), values={"title": "Hello"})
    result = compiled(item)
    assert shown(result.faults) == []
    return result


def built(result, name="everything"):
    return result.deployments[name]


def test_every_kind_gives_its_unit(everything):
    kinds = {unit.name: unit.kind for unit in built(everything).units.values()}
    assert kinds == {
        "app.service": "kube",
        "cache.service": "container",
        "front-pod.service": "pod",
        "hello-image.service": "image",
        "inner-network.service": "network",
        "job.service": "plain",
        "job.timer": "plain",
        "made-build.service": "build",
        "one-volume.service": "volume",
        "store-volume.service": "volume",
        "two.service": "container",
        "web.service": "container",
        "worker@.service": "container",
        "worker@1.service": "container",
    }


def test_a_unit_knows_what_it_reads_and_needs(everything):
    web = built(everything).units["web.service"]
    assert web.inputs == ("web.service.d/restart.conf", "web/conf", "web/page.html", "web/web.env")
    assert web.depends == ("front-pod.service", "store-volume.service")
    assert (web.pod, web.resource, web.wanted) == ("front-pod.service", "systemd-web", True)
    assert built(everything).units["app.service"].inputs == ("app.yaml",)
    assert built(everything).units["app.service"].images == ("localhost/hello:1",)
    assert built(everything).units["made-build.service"].inputs == ("made",)
    assert built(everything).units["cache.service"].depends == (
        "made-build.service",
        "inner-network.service",
    )
    assert built(everything).units["worker@.service"].instances == ("worker@1.service",)
    assert built(everything).units["inner-network.service"].resource == "inner"


def test_secrets_in_every_spelling_reach_the_hook(everything):
    assert everything.files["web.service.d/00-leger.conf"]["hook"] == [
        "db-password=everything/db-password",
        "api-key=everything/api-key",
        "third=everything/other:3",
        "fifth=everything/fifth",
        "fourth=everything/fourth",
    ]
    assert everything.files["app.service.d/00-leger.conf"]["hook"] == [
        "database/password=everything/database/password",
        "bundle/token=everything/bundle/token",
    ]
    assert everything.files["worker@.service.d/00-leger.conf"]["hook"] == [
        "worker-%i=everything/worker-%i"
    ]
    assert "cache.service.d/00-leger.conf" not in everything.files


def test_bindings_name_instances_versions_and_what_may_be_missing(everything):
    bound = {item.podman: item for item in built(everything).bindings}
    assert (bound["third"].legerd, bound["third"].version) == ("everything/other", 3)
    assert bound["worker-1"].units == ("worker@1.service",)
    assert not bound["api-key"].required
    assert bound["db-password"].required


def test_plain_units_and_their_install_section_are_deployed(everything):
    assert everything.links["timers.target.wants/job.timer"] == "../job.timer"
    assert everything.files["web.service.d/restart.conf"]["text"] == "[Service]\nRestartSec=2\n"
    assert everything.links["multi-user.target.wants/web.service"] == "../web.service"


def test_shared_drop_ins_reach_their_own_deployment_only(prepared, compiled):
    first = prepared("first", {"a.container": IMAGE, "container.d/x.conf": "[Container]\nUser=7\n"})
    second = prepared("second", {"b.container": IMAGE})
    result = compiled(first, second)
    assert shown(result.faults) == []
    assert "--user 7" in built(result, "first").units["a.service"].text
    assert "--user 7" not in built(result, "second").units["b.service"].text


def test_the_hosts_drop_ins_for_a_type_change_nothing(prepared, compiled, scope):
    folder = scope.quadlet_folders[1]
    place(folder / "container.d/x.conf", "[Container]\nUser=7\n")
    place(folder / "own.container", IMAGE)
    result = compiled(prepared("web", {"a.container": IMAGE}))
    assert shown(result.faults) == []
    assert "--user 7" not in built(result, "web").units["a.service"].text


def test_what_a_tree_refers_to_on_the_host_resolves_and_is_not_taken(prepared, compiled, scope):
    place(scope.quadlet_folders[1] / "own.network", "[Network]\n")
    place(scope.quadlet_folders[1] / "bad.container", "[Container\n")
    place(scope.quadlet_folders[1] / "users/u.container", IMAGE)
    result = compiled(prepared("web", {"a.container": f"{IMAGE}Network=own.network\n"}))
    assert shown(result.faults) == []
    assert set(result.files) == {"a.service"}
    assert len(result.search) == 1


def test_the_hosts_folders_are_read_as_quadlet_reads_them(scope, tmp_path):
    system, linked = scope.quadlet_folders[1], tmp_path / "linked"
    place(system / "a.container", "")
    place(system / "deep/b.container", "")
    place(system / "users/c.container", "")
    place(linked / "d.container", "")
    (system / "link").symlink_to(linked)
    (linked / "ring").symlink_to(system)
    place(scope.quadlet_folders[0] / "a.container", "")
    found = hostfolders.find(scope)
    assert sorted(found) == ["a.container", "b.container", "d.container"]
    assert found["a.container"].parent == scope.quadlet_folders[0]


def test_a_user_has_the_users_folder_without_the_other_users(scope, tmp_path):
    users = tmp_path / "users"
    place(users / "1000/a.container", "")
    place(users / "1001/b.container", "")
    place(users / "c.container", "")
    own = replace(scope, name="user", quadlet_folders=(users / "1000", users))
    assert sorted(hostfolders.find(own)) == ["a.container", "c.container"]


def test_a_quadlet_of_the_host_keeps_its_name_until_it_is_adopted(prepared, compiled, scope):
    theirs = scope.quadlet_folders[1] / "a.container"
    place(theirs, f"{IMAGE}User=7\n")
    item = prepared("web", {"a.container": IMAGE})
    assert shown(compiled(item).faults) == [f"web: a.container: the host has {theirs}"]
    result = compiled(item, adopt=["web"])
    assert shown(result.faults) == []
    assert built(result, "web").adopted == (theirs,)
    assert "--user 7" not in built(result, "web").units["a.service"].text


def test_a_unit_of_the_host_keeps_its_name_unless_the_host_says_so(prepared, compiled, scope):
    folder = scope.etc.parent.parent / "usr/lib/systemd/system"
    place(folder / "a.service", "[Service]\n")
    item = prepared("web", {"a.container": IMAGE})
    fault = f"web: a.container: makes a.service, which the host has in {folder}"
    assert shown(compiled(item).faults) == [fault]
    allowed = prepared("web", {"a.container": IMAGE}, replaces=("a.service",))
    assert shown(compiled(allowed).faults) == []


def test_a_unit_of_ours_that_the_host_masks_is_no_fault(prepared, compiled, scope):
    item = prepared("web", {"a.container": IMAGE})
    result = compiled(item)
    files = {
        name: plan.File(entry["text"], entry["deployment"]) for name, entry in result.files.items()
    }
    written = plan.Plan(1, "system", quadlet={}, deployments={}, files=files)
    place(scope.units, plan.encode(written))
    mask = scope.etc.parent.parent / "etc/systemd/system/a.service"
    place(mask, "-> /dev/null")
    again = compiled(item)
    assert shown(again.faults) == []
    assert shown(again.warnings) == [f"web: a.container: {mask} stands beside what it makes"]


def test_an_instance_of_the_hosts_template_is_the_hosts(prepared, compiled, scope):
    folder = scope.etc.parent.parent / "usr/lib/systemd/system"
    place(folder / "user@.service", "[Service]\n")
    files = {"user@0.service": "[Service]\nExecStart=/bin/true\n"}
    assert shown(compiled(prepared("web", files)).faults) == [
        f"web: user@0.service: makes user@0.service, which the host has in {folder}"
    ]


def test_two_deployments_with_one_name_are_refused(prepared, compiled):
    first = prepared("first", {"a.container": IMAGE})
    second = prepared("second", {"a.container": IMAGE})
    assert "second: a.container: deployment first has a a.container too" in shown(
        compiled(first, second).faults
    )


def test_one_podman_secret_of_two_values_is_refused(prepared, compiled):
    first = prepared("first", {"a.container": f"{IMAGE}Secret=db\n"})
    second = prepared("second", {"b.container": f"{IMAGE}Secret=db\n"})
    assert shown(compiled(first, second).faults) == [
        "second: Podman secret 'db' is bound to 'second/db' and by deployment first to 'first/db'"
    ]
    shared = prepared("second", {"b.container": f"{IMAGE}Secret=db\n"}, secrets={"db": "first/db"})
    assert shown(compiled(first, shared).faults) == []


def test_a_fault_in_one_deployment_leaves_the_others_units(prepared, compiled):
    good = prepared("good", {"a.container": IMAGE})
    bad = prepared("bad", {"b.container": "[Container\n", "c.container": IMAGE})
    result = compiled(good, bad)
    assert {fault.deployment for fault in result.faults} == {"bad"}
    assert "a.service" in built(result, "good").units


def test_the_same_content_in_a_new_tree_gives_the_same_normal_text(prepared, compiled):
    files = {
        "a.container": f"{IMAGE}Volume=./conf dir:/c:ro\nEnvironmentFile=./a.env\n",
        "conf dir/x": "1",
        "a.env": "A=1\n",
    }
    before = built(compiled(prepared("web", files)), "web")
    after = built(compiled(prepared("web", {**files, "README": "new"})), "web")
    assert before.tree.path != after.tree.path
    assert before.units["a.service"].text != after.units["a.service"].text
    assert before.units["a.service"].normal == after.units["a.service"].normal
    assert before.units["a.service"].inputs == ("a.env", "conf dir")


def test_what_a_link_leads_to_is_read_too(prepared, compiled):
    files = {
        "a.container": f"{IMAGE}Volume=./current:/c:ro\n",
        "current": "-> versions/2",
        "versions/2/x": "1",
    }
    unit = built(compiled(prepared("web", files)), "web").units["a.service"]
    assert unit.inputs == ("current", "versions/2")


def test_deployments_that_refer_to_each_other_are_known(prepared, compiled):
    network = prepared("base", {"shared.network": "[Network]\n"})
    user = prepared("web", {"a.container": f"{IMAGE}Network=shared.network\n"})
    result = compiled(network, user)
    assert built(result, "web").refers == frozenset({"base"})
    assert built(result, "base").refers == frozenset()


def test_service_name_is_what_quadlet_made(prepared, compiled):
    result = compiled(prepared("web", {"a.container": f"{IMAGE}ServiceName=other\n"}))
    assert list(built(result, "web").units) == ["other.service"]


def test_units_json_takes_what_is_compiled(everything):
    files = {
        path: plan.File(entry["text"], entry["deployment"], entry.get("hook"))
        for path, entry in everything.files.items()
    }
    written = plan.Plan(
        1,
        "system",
        quadlet=everything.quadlet,
        deployments={"everything": {"store": str(built(everything).tree.path), "commit": "0"}},
        search=everything.search,
        files=files,
        links=everything.links,
    )
    assert plan.decode(plan.encode(written)).problems == ()


def test_warnings_name_what_would_not_start(prepared, compiled, scope):
    text = f"[Unit]\nRequires=gone.service\n{IMAGE}"
    place(scope.quadlet_folders[1] / "a.container.d/x.conf", "[Container]\nUser=7\n")
    result = compiled(prepared("web", {"a.container": text}))
    assert shown(result.faults) == []
    theirs = scope.quadlet_folders[1] / "a.container.d/x.conf"
    assert shown(result.warnings) == [
        f"web: a.container: the host's {theirs} does not apply",
        "web: a.container:2: gone.service is not there: this unit would not start",
    ]
    assert "--user 7" not in built(result, "web").units["a.service"].text


def test_a_secret_that_nothing_uses_and_a_shared_volume_are_warned_of(prepared, compiled):
    first = prepared("first", {"a.volume": "[Volume]\nVolumeName=x\n"})
    second = prepared("second", {"b.volume": "[Volume]\nVolumeName=x\n"}, secrets={"db": "prod/db"})
    assert shown(compiled(first, second).warnings) == [
        "second: secret 'db' is named, but no quadlet uses it",
        "second: b.volume: the volume x is deployment first's too",
    ]


def test_a_users_manager_never_reaches_multi_user(prepared, scope, quadlet, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    item = prepared("web", {"a.container": f"{IMAGE}[Install]\nWantedBy=multi-user.target\n"})
    result = compiling.compile_scope(replace(scope, name="user"), {"web": item}, quadlet=quadlet)
    assert shown(result.faults) == []
    assert shown(result.warnings) == [
        "web: a.container:4: multi-user.target is never reached by a user's manager"
    ]


def test_a_hook_of_a_user_says_so(prepared, scope, quadlet, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    item = prepared("web", {"a.container": f"{IMAGE}Secret=db\n"})
    result = compiling.compile_scope(replace(scope, name="user"), {"web": item}, quadlet=quadlet)
    text = result.files["a.service.d/00-leger.conf"]["text"]
    assert "secrets-hook --user db=web/db" in text


def test_a_quadlet_binary_that_hangs_is_left(prepared, scope, tmp_path, monkeypatch):
    monkeypatch.setattr(compiling, "TIMEOUT", 0.5)
    hanging = tmp_path / "quadlet"
    hanging.write_text("#!/bin/sh\nsleep 1000 &\nsleep 1000\n")
    hanging.chmod(0o755)
    item = prepared("web", {"a.container": IMAGE})
    with pytest.raises(LegerError, match=r"no end after 0\.5 s"):
        compiling.compile_scope(scope, {"web": item}, quadlet=hanging)


def test_a_quadlet_binary_that_makes_nothing_is_a_fault(prepared, scope):
    item = prepared("web", {"a.container": IMAGE})
    result = compiling.compile_scope(scope, {"web": item}, quadlet=Path("/bin/true"))
    assert shown(result.faults) == [
        "web: a.container: quadlet made no unit of it and does not say why"
    ]


def test_a_unit_of_the_hosts_quadlets_keeps_its_name(prepared, compiled, scope):
    theirs = scope.quadlet_folders[1] / "other.container"
    place(theirs, f"{IMAGE}ServiceName=a\n")
    place(theirs.with_name("other.container.d") / "x.conf", "[Container]\nUser=7\n")
    result = compiled(prepared("web", {"a.container": IMAGE}))
    assert shown(result.faults) == [
        f"web: a.container: makes a.service, and so does the host's {theirs}"
    ]


def test_a_tree_that_was_compiled_before_is_reopened(prepared, compiled, scope):
    files = {"a.container": f"{IMAGE}Secret=db\n", ".leger.yaml": "on-secret-change: none\n"}
    first = prepared("web", files)
    done = compiled(first)
    again = prepare.reopen(first.deployment, done.deployments["web"])
    assert compiled(again) == done
    assert built(compiled(again), "web").on_secret_change == "none"


def test_the_hosts_names_of_secrets_win(prepared, compiled, scope):
    place(scope.config, "secrets: {prefix: prod}\n")
    text = f"{IMAGE}Secret=a\nSecret=b\nSecret=c\n[X-Leger]\nSecret=a=prod/web/x b=prod/web/y:2\n"
    result = compiled(prepared("web", {"a.container": text}, secrets={"b": "other/b"}, fresh=True))
    assert shown(result.faults) == []
    assert result.files["a.service.d/00-leger.conf"]["hook"] == [
        "--fresh",
        "a=prod/web/x",
        "b=other/b",
        "c=prod/web/c",
    ]
