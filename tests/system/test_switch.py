"""What a switch does to running units: each test is a trap that was met on real machines."""

from __future__ import annotations

import json

from system.application import IMAGE
from system.deployment import Deployed, active, container, pid


def test_the_only_container_of_a_pod_is_restarted_with_it(deployed: Deployed) -> None:
    """Trap 7: `systemctl restart` of it ends with rc 1 and both inactive."""
    machine = deployed.machine
    tree = {"seven.pod": "[Pod]\n", "seven.container": container("Pod=seven.pod")}
    deployed.install(tree)
    tree["seven.container"] = container("Pod=seven.pod", "Environment=A=1")
    deployed.install(tree)
    assert active(machine, "seven-pod.service", "seven.service") == ["active", "active"]
    assert "A=1" in machine.run("podman", "exec", "systemd-seven", "env").stdout


def test_one_of_two_members_is_restarted_alone(deployed: Deployed) -> None:
    machine = deployed.machine
    tree = {
        "two.pod": "[Pod]\n",
        "two-a.container": container("Pod=two.pod"),
        "two-b.container": container("Pod=two.pod"),
    }
    deployed.install(tree)
    other = pid(machine, "systemd-two-b")
    tree["two-a.container"] = container("Pod=two.pod", "Environment=A=1")
    assert deployed.install(tree)["restart"] == ["two-a.service"]
    assert pid(machine, "systemd-two-b") == other
    assert "A=1" in machine.run("podman", "exec", "systemd-two-a", "env").stdout


def test_a_changed_network_gets_its_new_subnet(deployed: Deployed) -> None:
    """Trap 8: `create --ignore` keeps the old one."""
    machine = deployed.machine
    tree = {
        "eight.network": "[Network]\nSubnet=10.99.8.0/24\n",
        "eight.container": container("Network=eight.network"),
        "apart.container": container(),
    }
    deployed.install(tree)
    apart = pid(machine, "systemd-apart")
    tree["eight.network"] = "[Network]\nSubnet=10.99.9.0/24\n"
    deployed.install(tree)
    address = ("podman", "exec", "systemd-eight", "busybox", "ip", "-4", "addr", "show", "eth0")
    assert "10.99.9." in machine.run(*address).stdout
    assert pid(machine, "systemd-apart") == apart


def test_what_an_administrator_stopped_stays_stopped(deployed: Deployed) -> None:
    """Trap 9: after a network was stopped, its users look as if an administrator stopped them."""
    machine = deployed.machine
    tree = {
        "nine.network": "[Network]\nSubnet=10.99.10.0/24\n",
        "nine-a.container": container("Network=nine.network"),
        "nine-b.container": container("Network=nine.network"),
        "job.container": container(
            "Exec=true", "Volume=jobs:/jobs", service=("Type=oneshot",)
        ).replace("Exec=true", "Exec=sh -c 'echo ran >>/jobs/log'"),
    }
    deployed.install(tree)
    machine.run("systemctl", "stop", "nine-b.service")
    tree["nine.network"] = "[Network]\nSubnet=10.99.11.0/24\n"
    tree["job.container"] = tree["job.container"].replace("StopTimeout=1", "StopTimeout=2")
    deployed.install(tree)
    assert active(machine, "nine-a.service") == ["active"]
    assert active(machine, "nine-b.service") != ["active"]
    mount = machine.run("podman", "volume", "mount", "jobs").stdout.strip()
    assert machine.pull(f"{mount}/log") == b"ran\n"


def test_many_restarts_in_a_row_do_not_reach_the_start_limit(deployed: Deployed) -> None:
    """Trap 10: the fifth ends in start-limit-hit."""
    for count in range(7):
        deployed.install({"ten.container": container(f"Environment=COUNT={count}")})
    shown = deployed.machine.run("podman", "exec", "systemd-ten", "env").stdout
    assert "COUNT=6" in shown


def test_an_image_that_cannot_be_had_stops_nothing(deployed: Deployed) -> None:
    """Trap 11: the old container would be gone before the pull fails."""
    machine = deployed.machine
    deployed.install({"eleven.container": container()})
    before = pid(machine, "systemd-eleven")
    for image in ("localhost/nowhere:1", "registry.invalid/nowhere:1"):
        said = deployed.fail({"eleven.container": container().replace(IMAGE, image)})
        assert image in said
    assert pid(machine, "systemd-eleven") == before
    assert not machine.run("leger", "status").stderr


def test_a_build_that_fails_stops_nothing(deployed: Deployed) -> None:
    machine = deployed.machine
    tree = {
        "made.build": "[Build]\nImageTag=localhost/made:1\nSetWorkingDirectory=unit\nPull=never\n",
        "Containerfile": f"FROM {IMAGE}\n",
        "made.container": container().replace(IMAGE, "made.build"),
    }
    deployed.install(tree)
    before = pid(machine, "systemd-made")
    tree["Containerfile"] = f"FROM {IMAGE}\nRUN no-such-program\n"
    assert "building" in deployed.fail(tree)
    assert pid(machine, "systemd-made") == before


def test_a_renamed_pod_leaves_none_behind(deployed: Deployed) -> None:
    """Trap 13: stopped under the new definition, the old pod would stay for good."""
    machine = deployed.machine
    tree = {
        "old.pod": "[Pod]\nPodName=thirteen-a\n",
        "in.container": container("Pod=old.pod"),
    }
    deployed.install(tree)
    tree["old.pod"] = "[Pod]\nPodName=thirteen-b\n"
    deployed.install(tree)
    pods = machine.run("podman", "pod", "ls", "--format", "{{.Name}}").stdout.split()
    assert pods == ["thirteen-b"]
    assert active(machine, "in.service", "old-pod.service") == ["active", "active"]


def test_a_socket_changes_while_its_service_is_active(deployed: Deployed) -> None:
    """Trap 14: `restart x.socket` ends with rc 1."""
    machine = deployed.machine
    install = "[Install]\nWantedBy=sockets.target\n"
    tree = {
        "fourteen.socket": f"[Socket]\nListenStream=/run/fourteen-a\n{install}",
        "fourteen.service": "[Service]\nExecStart=/bin/sleep infinity\n",
    }
    deployed.install(tree)
    machine.run("systemctl", "start", "fourteen.service")
    tree["fourteen.socket"] = f"[Socket]\nListenStream=/run/fourteen-b\n{install}"
    deployed.install(tree)
    assert active(machine, "fourteen.socket", "fourteen.service") == ["active", "active"]
    machine.run("test", "-S", "/run/fourteen-b")


def test_loaded_instances_of_a_template_are_restarted(deployed: Deployed) -> None:
    """Trap 14: those that run, whoever started them, and no others."""
    machine = deployed.machine
    deployed.install({"inst@.container": container("Environment=I=%i", install="")})
    machine.run("systemctl", "start", "inst@one.service")
    changes = deployed.install(
        {"inst@.container": container("Environment=I=%i", "Environment=NEW=1", install="")}
    )
    assert changes["restart"] == ["inst@one.service"]
    env = machine.run("podman", "exec", "systemd-inst_one", "env").stdout
    assert "I=one" in env
    assert "NEW=1" in env


def test_another_instance_of_a_known_template_takes_the_place_of_the_one_before(
    deployed: Deployed,
) -> None:
    machine = deployed.machine

    def tree(instance: str) -> dict[str, str]:
        return {"inst@.container": container() + f"DefaultInstance={instance}\n"}

    deployed.install(tree("one"))
    changes = deployed.install(tree("two"))
    assert (changes["stop"], changes["start"]) == (["inst@one.service"], ["inst@two.service"])
    names = ("inst@one.service", "inst@two.service", "inst@three.service")
    assert active(machine, *names) == ["inactive", "active", "inactive"]
    both = tree("two") | {"inst@three.container": container()}
    assert deployed.install(both)["start"] == ["inst@three.service"]
    assert active(machine, *names) == ["inactive", "active", "active"]
    deployed.install(tree("two"))
    assert active(machine, *names) == ["inactive", "active", "inactive"]


def test_a_removed_unit_is_gone_at_once(deployed: Deployed) -> None:
    """Stopped after its quadlet vanished, it would take 90 s and stay in podman's list."""
    machine = deployed.machine
    deployed.install({"stays.container": container(), "goes.container": container()})
    stays = pid(machine, "systemd-stays")
    assert deployed.install({"stays.container": container()})["gone"] == ["goes.service"]
    names = machine.run("podman", "ps", "-a", "--format", "{{.Names}}").stdout.split()
    assert names == ["systemd-stays"]
    assert pid(machine, "systemd-stays") == stays


def test_a_commit_with_the_same_content_restarts_nothing(deployed: Deployed) -> None:
    machine = deployed.machine
    tree = {
        "same.container": container("Volume=./conf:/conf:ro"),
        "conf/a": "1\n",
        "README": "one\n",
    }
    deployed.install(tree)
    before = pid(machine, "systemd-same")
    deployed.install(tree | {"README": "two\n"})
    assert pid(machine, "systemd-same") == before
    machine.run("podman", "exec", "systemd-same", "cat", "/conf/a")
    machine.run("systemctl", "restart", "same.service")
    mounts = machine.run("podman", "inspect", "systemd-same").stdout
    store = machine.run("ls", "/var/lib/leger/store").stdout
    assert any(name in mounts for name in store.split())


def test_what_ran_before_a_failed_switch_runs_after_it(deployed: Deployed) -> None:
    """The way back: a dependency that does not come up takes nothing down for good."""
    machine = deployed.machine
    tree = {
        "base.container": container(),
        "top.container": "[Unit]\nRequires=base.service\nAfter=base.service\n" + container(),
    }
    deployed.install(tree)
    said = deployed.fail(tree | {"base.container": container("Volume=/no/such/folder:/x")})
    assert "base.service" in said
    assert "/no/such/folder" in said
    assert active(machine, "base.service", "top.service") == ["active", "active"]
    status = json.loads(machine.run("leger", "status", "--json").stdout)
    assert status["confirmed"] is True


def test_two_commands_at_once_take_turns(deployed: Deployed) -> None:
    machine = deployed.machine
    deployed.commit({"turns.container": container()})
    install = f"leger deploy install {deployed.name} {deployed.repository}"
    done = machine.sh(f"{install} & first=$!; {install}; wait $first", timeout=120)
    assert "waiting for it" in done.stderr
    assert active(machine, "turns.service") == ["active"]


def test_a_command_and_the_timer_take_turns(deployed: Deployed) -> None:
    """Two at once: one waits and says so, and what both wanted is there."""
    machine = deployed.machine
    other = Deployed(machine, "by-timer")
    other.install({"by-timer.container": container()})
    other.commit({"by-timer.container": container("Environment=NEW=1")})
    deployed.commit({"by-hand.container": container()})
    install = f"leger deploy install {deployed.name} {deployed.repository}"
    done = machine.sh(f"leger sync & first=$!; {install}; wait $first", timeout=180)
    assert "waiting for it" in done.stderr
    assert active(machine, "by-hand.service") == ["active"]
    assert "NEW=1" in machine.run("podman", "exec", "systemd-by-timer", "env").stdout
    other.remove()


def test_reloads_of_others_in_between_do_no_harm(deployed: Deployed) -> None:
    """A package that is installed meanwhile reloads the manager, too."""
    machine = deployed.machine
    reloads = "while :; do systemctl daemon-reload; sleep 0.2; done"
    with machine.spawn("sh", "-c", reloads) as loop:
        for version in (1, 2, 3):
            tree = {
                "reloads.network": f"[Network]\nSubnet=10.98.{version}.0/24\n",
                "reloads.container": container(
                    "Network=reloads.network", f"Environment=V={version}"
                ),
            }
            deployed.install(tree)
            assert f"V={version}" in machine.run("podman", "exec", "systemd-reloads", "env").stdout
        loop.kill()
    assert json.loads(machine.run("leger", "status", "--json").stdout)["confirmed"] is True


def test_a_tree_that_is_mounted_is_not_collected(deployed: Deployed) -> None:
    """Trap 31: without it the container's mounts would turn empty."""
    machine = deployed.machine
    tree = {"mounted.container": container("Volume=./conf:/conf:ro"), "conf/a": "1\n"}
    deployed.install(tree)
    before = pid(machine, "systemd-mounted")
    machine.push("keep: {generations: 1}\n", "/etc/leger/config.yaml")
    store = ("sh", "-c", f"ls -d /var/lib/leger/store/{deployed.name}-*")
    first = machine.run(*store).stdout.split()
    for readme in ("one", "two", "three"):
        deployed.install(tree | {"README": readme})
    assert pid(machine, "systemd-mounted") == before
    assert machine.run("podman", "exec", "systemd-mounted", "cat", "/conf/a").stdout == "1\n"
    assert set(first) < set(machine.run(*store).stdout.split())
    machine.run("systemctl", "restart", "mounted.service")
    deployed.install(tree | {"README": "four"})
    machine.run("rm", "/etc/leger/config.yaml")
    assert not set(first) & set(machine.run(*store).stdout.split())


def test_a_closed_terminal_does_not_stop_a_switch(deployed: Deployed) -> None:
    """Trap 18: what an ssh session started ends with it."""
    machine = deployed.machine
    deployed.commit({"goes-on.container": container()})
    script = (
        f"leger deploy install {deployed.name} {deployed.repository} & pid=$!\n"
        "until test -e /var/lib/leger/switch.json; do sleep 0.01; done; kill -9 $pid\n"
    )
    machine.run("script", "-qc", f"bash -c '{script}'", "/dev/null", check=False)
    machine.sh("until systemctl is-active -q goes-on.service; do sleep 0.1; done")
    machine.sh("while test -e /var/lib/leger/switch.json; do sleep 0.1; done")
    assert json.loads(machine.run("leger", "status", "--json").stdout)["confirmed"] is True


def test_another_podman_restarts_nothing(deployed: Deployed) -> None:
    """Trap 12: the units' texts are made anew, which is no reason to touch what runs."""
    machine = deployed.machine
    deployed.install({"twelve.container": container()})
    before = pid(machine, "systemd-twelve")
    machine.run("touch", "/usr/libexec/podman/quadlet")
    assert "was replaced" in machine.run("leger", "status").stderr
    deployed.install({"twelve.container": container(), "README": "another commit\n"})
    assert pid(machine, "systemd-twelve") == before
    assert "was replaced" not in machine.run("leger", "status").stderr


def test_a_deployment_that_became_faulty_does_not_hold_back_others(deployed: Deployed) -> None:
    """Another podman refuses what the one before took: it stays as it was."""
    machine = deployed.machine
    deployed.install({"early.container": container()})
    before = pid(machine, "systemd-early")
    machine.sh("sed -i 's/^Image=/NoSuchKey=1\\n&/' /var/lib/leger/store/a-depl*/early.container")
    other = Deployed(machine, "other")
    assert other.install({"late.container": container()})["start"] == ["late.service"]
    assert pid(machine, "systemd-early") == before
    assert active(machine, "early.service", "late.service") == ["active", "active"]
    other.remove()


def test_an_interrupt_after_the_first_stop_waits_for_the_end(deployed: Deployed) -> None:
    machine = deployed.machine
    deployed.install({"int.container": container()})
    deployed.commit({"int.container": container("Environment=NEW=1", "ContainerName=int-new")})
    argv = ("leger", "deploy", "update", deployed.name)
    command = f"timeout -s INT 30 {' '.join(argv)} & until test -e /var/lib/leger/switch.json\n"
    machine.sh(f"{command}do sleep 0.01; done; kill -INT $!; wait $! || true")
    machine.sh("while test -e /var/lib/leger/switch.json; do sleep 0.1; done")
    assert "NEW=1" in machine.run("podman", "exec", "int-new", "env").stdout
    assert json.loads(machine.run("leger", "status", "--json").stdout)["confirmed"] is True
