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
