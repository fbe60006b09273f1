"""Plain systemd units beside the quadlets are deployed like them."""

from repositories import shown

IMAGE = "[Container]\nImage=localhost/hello:1\n"


def test_links_of_plain_units_are_kept(prepared, compiled):
    files = {
        "job@.service": "[Service]\nExecStart=/bin/true\n",
        "job@a.service": "-> job@.service",
        "job@.timer": "[Timer]\nOnCalendar=daily\n[Install]\nWantedBy=timers.target\n"
        "DefaultInstance=a\n",
        "nice.target": "[Unit]\n",
        "nice.target.wants/job@b.service": "-> ../job@.service",
        "conf/other.service": "no unit: not beside a quadlet",
    }
    result = compiled(prepared("web", files))
    assert shown(result.faults) == []
    assert result.links == {
        "job@a.service": "job@.service",
        "nice.target.wants/job@b.service": "../job@.service",
        "timers.target.wants/job@a.timer": "../job@.timer",
    }
    assert set(result.files) == {"job@.service", "job@.timer", "nice.target"}
    instances = {name: unit.instances for name, unit in result.deployments["web"].units.items()}
    assert instances == {
        "job@.service": ("job@b.service",),
        "job@.timer": ("job@a.timer",),
        "nice.target": (),
    }
    assert shown(result.warnings) == [
        "web: conf/other.service: is not deployed: there is no quadlet in its folder"
    ]


def test_a_plain_link_that_leads_nowhere_is_a_fault(prepared, compiled):
    result = compiled(prepared("web", {"a.service": "-> b.service"}))
    assert shown(result.faults) == ["web: a.service: this link leads nowhere"]


def test_all_kinds_of_plain_units_are_deployed_where_a_quadlet_is(prepared, compiled):
    install = "[Install]\nWantedBy="
    files = {
        "app/web.container": IMAGE,
        "app/job.service": "[Service]\nExecStart=/bin/true\n",
        "app/job.timer": f"[Timer]\nOnCalendar=daily\n{install}timers.target\n",
        "app/in.socket": f"[Socket]\nListenStream=/run/in\n{install}sockets.target\n",
        "app/in.service": "[Service]\nExecStart=/bin/cat\n",
        "app/see.path": f"[Path]\nPathExists=/x\n{install}paths.target\n",
        "app/see.service": "[Service]\nExecStart=/bin/true\n",
        "app/all.target": f"[Unit]\nWants=web.service\n{install}multi-user.target\n",
        "app/web.service.d/x.conf": "[Service]\nNice=1\n",
        "app/job.timer.d/x.conf": "[Timer]\nPersistent=true\n",
        "app/disk.mount": "[Mount]\nWhat=/dev/x\nWhere=/disk\n",
    }
    result = compiled(prepared("web", files))
    assert shown(result.faults) == []
    assert shown(result.warnings) == [
        "web: app/disk.mount: is not deployed: only service, timer, socket, path, target are"
    ]
    deployed = {path.removeprefix("app/") for path in files} - {"web.container", "disk.mount"}
    assert deployed <= set(result.files)
    assert {
        "timers.target.wants/job.timer",
        "sockets.target.wants/in.socket",
        "paths.target.wants/see.path",
        "multi-user.target.wants/all.target",
    } <= set(result.links)


def test_a_link_to_a_file_elsewhere_in_the_tree_is_a_unit_with_its_content(prepared, compiled):
    files = {
        "app/web.container": IMAGE,
        "app/job.service": "-> ../common/other.service",
        "app/job.timer": "-> hop.timer",
        "app/hop.timer": "-> ../common/job.timer",
        "app/web.service.d/x.conf": "-> ../../common/x.conf",
        "common/other.service": "[Service]\nExecStart=/bin/true\n",
        "common/job.timer": "[Timer]\nOnCalendar=daily\n[Install]\nWantedBy=timers.target\n",
        "common/x.conf": "[Service]\nNice=1\n",
        "common/unused.service": "[Service]\nExecStart=/bin/true\n",
    }
    result = compiled(prepared("web", files))
    assert shown(result.faults) == []
    assert result.files["job.service"]["text"] == files["common/other.service"]
    assert result.files["web.service.d/x.conf"]["text"] == files["common/x.conf"]
    assert result.files["job.timer"]["text"] == files["common/job.timer"]
    assert result.links["timers.target.wants/job.timer"] == "../job.timer"
    assert not [path for path, target in result.links.items() if path == target]
    assert [line for line in shown(result.warnings) if "hop" not in line] == [
        "web: common/unused.service: is not deployed: there is no quadlet in its folder"
    ]


def test_a_trigger_of_nothing_is_told(prepared, compiled):
    timer = "[Timer]\nOnCalendar=daily\n"
    files = {
        "web.container": IMAGE,
        "web.timer": timer,
        "a.timer": f"{timer}Unit=gone.service\n",
        "b.timer": f"{timer}Unit=web.service\n",
        "c.path": "[Path]\nPathExists=/x\n",
        "d.socket": "[Socket]\nListenStream=/run/d\nAccept=yes\n",
        "e.socket": "[Socket]\nListenStream=/run/e\nAccept=yes\n",
        "e@.service": "[Service]\nExecStart=/bin/cat\n",
        "f@.timer": f"{timer}Unit=%i.service\n",
    }
    result = compiled(prepared("web", files))
    assert shown(result.faults) == []
    assert shown(result.warnings) == [
        "web: a.timer: starts gone.service, which is not there",
        "web: c.path: starts c.service, which is not there",
        "web: d.socket: starts d@.service, which is not there",
    ]


def test_what_cannot_be_installed_names_its_file(prepared, compiled):
    text = "[Service]\nExecStart=/bin/true\n[Install]\nAlias=a/b\n"
    (fault,) = shown(compiled(prepared("web", {"job.service": text})).faults)
    assert fault == "web: job.service: cannot be installed as 'a/b'"
