"""Published ports that collide are named with both places."""

import socket

import pytest
from leger import ports, sources
from leger.ports import Socket
from repositories import shown

IMAGE = "[Container]\nImage=localhost/hello:1\n"


def found(**quadlets):
    read = [
        source
        for deployment, texts in quadlets.items()
        for source in sources.read(deployment, texts)
    ]
    return list(ports.published(read))


def container(*published, **more):
    lines = "".join(f"PublishPort={text}\n" for text in published)
    return f"{IMAGE}{lines}"


@pytest.mark.parametrize(
    ("one", "other", "collide"),
    [
        ("80:80", "80:8080", True),
        ("80:80", "81:80", False),
        ("80:80", "80:80/udp", False),
        ("8000-8010:1-11", "8005:1", True),
        ("8000-8010:1-11", "8011:1", False),
        ("127.0.0.1:80:80", "80:80", True),
        ("0.0.0.0:80:80", "127.0.0.1:80:80", True),
        ("127.0.0.1:80:80", "127.0.0.2:80:80", False),
        ("[::1]:80:80", "127.0.0.1:80:80", False),
        ("[::]:80:80", "80:80", True),
        ("80", "80", False),
        (":80", "80:80", False),
        ("127.0.0.1::80", "80:80", False),
    ],
)
def test_ports_collide_by_address_protocol_and_range(one, other, collide):
    faults = list(
        ports.collisions(found(a={"a.container": container(one)}, b={"b.pod": pod(other)}))
    )
    assert bool(faults) == collide


def pod(port):
    return f"[Pod]\nPublishPort={port}\n"


def test_both_places_are_named():
    faults = ports.collisions(
        found(a={"a.container": container("80:80")}, b={"b.container": container("1:1", "80:81")})
    )
    assert shown(faults) == [
        "b: b.container:4: port 80/tcp is published by a.container:3 of deployment a too"
    ]


def test_podman_arguments_count_and_instances_do_not():
    texts = {"a.container": f"{IMAGE}PodmanArgs=-p 80:80 --publish=81:81\n", "b.pod": pod("81:1")}
    assert len(list(ports.collisions(found(a=texts)))) == 1
    texts = {"t@.container": container("80:80"), "t@1.container": container("80:80")}
    assert list(ports.collisions(found(a=texts))) == []


def test_a_port_that_somebody_listens_on_is_named():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        wanted = found(a={"a.container": container(f"{port}:80")})
        sockets = ports.listening(item.range for item in wanted)
        assert [(item.address, item.port) for item in sockets] == [("127.0.0.1", port)]
        assert f"port {port}/tcp is in use by" in shown(ports.busy(wanted, sockets, []))[0]
    assert ports.listening(item.range for item in wanted) == []


def test_our_own_units_may_listen():
    wanted = found(a={"a.container": container("80:80")})
    sockets = [Socket("tcp", "", 80, "a.service")]
    assert list(ports.busy(wanted, sockets, ["a.service"])) == []
    assert len(list(ports.busy(wanted, sockets, ["b.service"]))) == 1


def test_an_instance_of_our_own_template_may_listen():
    wanted = found(a={"web@.container": container("80:80")})
    sockets = [ports.Socket("tcp", "", 80, "web@1.service")]
    assert list(ports.busy(wanted, sockets, ["web@.service"])) == []
    assert len(list(ports.busy(wanted, sockets, ["other@.service"]))) == 1
