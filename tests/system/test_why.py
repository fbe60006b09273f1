"""`leger why`, `status`, `doctor` and `service` on a machine where much has gone wrong."""

from __future__ import annotations

import json

import pytest
from machine import Machine
from system.application import commit
from system.causes import RUNNING, TREE, quadlet

REPOSITORY = "/srv/causes"
TRIED = ("secret", "needing", "limited", "slow", "nocommand", "noimage", "refused")


@pytest.fixture(scope="module")
def causes(shared_machine: Machine) -> Machine:
    """Everything is deployed, and what nothing starts was started by hand."""
    machine = shared_machine
    commit(machine, TREE, REPOSITORY)
    machine.run("leger", "secrets", "set", "causes/held", "-", input="one")
    deploy = ["deploy", "install", "causes", REPOSITORY, "--allow-missing-secrets"]
    machine.run("leger", *deploy, timeout=180)
    for unit in TRIED:
        machine.run("systemctl", "start", unit, check=False, timeout=100)
    machine.sh("until systemctl is-failed limited; do sleep 0.1; done")
    return machine


def why(machine: Machine, unit: str) -> tuple[str, str]:
    """All that was found, and what mends it."""
    answer = json.loads(machine.run("leger", "why", unit, "--json").stdout)
    return "\n".join(found["text"] for found in answer["findings"]), answer["mend"]


CAUSES = {
    "good": ("", ""),
    "idle": ("nothing starts it: idle.container has no [Install] section", "systemctl start"),
    "secret": ("legerd has no causes/token", "leger secrets set causes/token -"),
    "skipped": ("ConditionPathExists=/no/such/path was not met", ""),
    "needing": ("it needs broken.service, which is failed", "leger why broken.service"),
    "broken": ("failed: exit status 1", "journalctl -b -u broken.service"),
    "limited": ("and gave up (StartLimitBurst=)", "journalctl -b -u limited.service"),
    "slow": ("within its time limit", "journalctl -b -u slow.service"),
    "nocommand": ("exit status 127: the image has no such command", "journalctl"),
    "noimage": ("no image localhost/no-such-image:1", "podman pull localhost/no-such-image:1"),
    "refused": ("Service has no ExecStart=", "in the repository, then leger apply"),
    "tick": ("tick.timer starts it", ""),
    "mail@": ("a template runs under the name of an instance only", ""),
    "off.container": ("off.container.disabled, which is no quadlet's name", ""),
    "dbus.service": ("it is not Leger's: /usr/lib/systemd/system/dbus.service", "systemctl"),
}


@pytest.mark.parametrize("unit", CAUSES)
def test_the_cause_is_told_with_what_mends_it(causes: Machine, unit: str) -> None:
    text, mend = CAUSES[unit]
    found, command = why(causes, unit)
    assert text in found
    assert mend in command
    assert bool(mend) == bool(command)


def test_a_name_that_is_nearly_right_is_guessed(causes: Machine) -> None:
    done = causes.run("leger", "why", "gud.service", check=False)
    assert done.code == 1
    assert "did you mean good.service" in done.stderr


def test_a_quadlets_file_and_a_containers_name_are_understood(causes: Machine) -> None:
    for name in ("good.container", "systemd-good", "good"):
        assert causes.run("leger", "why", name).stdout.startswith("good.service  active (running)")


def drift(machine: Machine) -> dict[str, str]:
    """What `leger status` says has drifted: unit or kind -> message."""
    status = json.loads(machine.run("leger", "status", "--json").stdout)
    return {one["unit"] or one["kind"]: one["message"] for one in status["drift"]}


def test_what_failed_is_drift_and_what_is_as_it_should_be_is_none(causes: Machine) -> None:
    found = drift(causes)
    assert "good.service" not in found
    assert "skipped.service" not in found
    assert "idle.service" not in found
    assert found["broken.service"] == "failed: exit status 1"


def test_who_stopped_a_unit_is_told_apart(causes: Machine) -> None:
    causes.run("systemctl", "stop", "good")
    assert drift(causes)["good.service"] == "stopped by hand"
    causes.run("systemctl", "daemon-reload")
    assert why(causes, "good") == ("stopped by hand", "systemctl start good.service")
    causes.run("systemctl", "start", "good")
    causes.run("podman", "rm", "-f", "systemd-good")
    causes.sh("while systemctl is-active -q good; do sleep 0.1; done")
    assert "its container was ended by podman rm" in why(causes, "good")[0]
    causes.run("systemctl", "start", "good")
    assert "good.service" not in drift(causes)


OVEREAT = """
systemctl start {0}
if grep -qw memory /sys/fs/cgroup/cgroup.controllers; then
  podman exec systemd-{0} touch /dev/shm/go || true
else
  for count in ooms kill; do
    python3 -c 'import os, sys; os.setxattr(*sys.argv[1:3], b"1")' \
      /sys/fs/cgroup/system.slice/{0}.service user.oomd_$count
  done
  kill -KILL "$(podman inspect -f '{{{{.State.Pid}}}}' systemd-{0})"
fi
until systemctl is-failed -q {0}; do sleep 0.1; done
"""


@pytest.mark.parametrize(
    ("unit", "text"),
    [
        ("greedy", "failed: exit status 137: it took more memory than there is or than it may"),
        ("strict", "failed: it took more memory than there is or than it may"),
    ],
)
def test_what_was_killed_for_its_memory_is_told_as_that(
    causes: Machine, unit: str, text: str
) -> None:
    """By the kernel; where cgroups have no memory controller, as systemd-oomd does it.

    Podman's units are delegated: systemd leaves them alone then, and podman's status is all.
    """
    causes.sh(OVEREAT.format(unit))
    found, command = why(causes, unit)
    assert found.startswith(text)
    assert "perhaps" not in found
    assert command == f"journalctl -b -u {unit}.service"


def test_what_was_killed_for_another_reason_may_be_so_for_its_memory(causes: Machine) -> None:
    """Although it was for its memory that it was killed the time before."""
    causes.sh(
        "systemctl start greedy\n"
        "kill -KILL \"$(podman inspect -f '{{.State.Pid}}' systemd-greedy)\"\n"
        "until systemctl is-failed -q greedy; do sleep 0.1; done"
    )
    found, _ = why(causes, "greedy")
    assert "the process was killed, perhaps because it took too much memory" in found


def test_a_mask_an_override_and_a_drop_in_are_told_with_their_files(causes: Machine) -> None:
    folder = "/etc/systemd/system"
    for make, text, mend in (
        (f"ln -s /dev/null {folder}/good.service", "masked by", "systemctl unmask good.service"),
        (
            f"cp /run/systemd/generator/good.service {folder}/",
            f"overridden by {folder}/good.service",
            "leger apply",
        ),
        (
            f"cd {folder}; mkdir good.service.d; echo '[Service]' >good.service.d/override.conf",
            f"changed by {folder}/good.service.d/override.conf",
            "systemctl revert good.service",
        ),
    ):
        causes.sh(f"{make}; systemctl daemon-reload")
        found, command = why(causes, "good")
        assert text in found
        assert command == mend
        assert text in drift(causes)["good.service"]
        causes.sh(f"rm -rf {folder}/good.service*; systemctl daemon-reload")
    assert "good.service" not in drift(causes)


def test_a_tree_that_was_changed_by_hand_is_told_to_who_reads_it(causes: Machine) -> None:
    causes.sh("echo B=2 >>$(echo /var/lib/leger/store/causes-*)/good.env")
    assert "was changed by hand: good.env" in drift(causes)["tree"]
    assert "was changed by hand: good.env" in why(causes, "good")[0]
    assert why(causes, "held") == ("", "")
    checked = causes.run("leger", "doctor", check=False)
    assert checked.code == 1
    assert "good.env" in checked.stdout
    causes.run("leger", "apply", timeout=180, check=False)
    assert "tree" not in drift(causes)


def test_a_units_json_that_was_changed_by_hand_is_told(causes: Machine) -> None:
    causes.sh("sed -i s/good/evil/ /etc/leger/units.json; systemctl daemon-reload")
    assert "is not that of generation" in drift(causes)["units-file"]
    assert "is not that of generation" in why(causes, "good")[0]
    assert "not used: its checksum is wrong" in causes.run("leger", "status").stderr
    causes.run("leger", "apply", timeout=180, check=False)
    assert "units-file" not in drift(causes)
    assert "checksum" not in causes.run("leger", "status").stderr


def test_a_secret_that_was_rotated_will_restart_the_unit(causes: Machine) -> None:
    causes.run("leger", "secrets", "set", "causes/held", "-", input="two")
    found, command = why(causes, "held")
    assert "has version 2 of causes/held: leger sync will restart it" in found
    assert command == "leger sync"


def test_what_waits_for_legerd_is_told_and_what_has_its_value_does_not_wait(
    causes: Machine,
) -> None:
    """When legerd is back, the reason is what legerd says, and no more that it was away."""
    sockets = "legerd.socket legerd-users.socket"
    causes.sh(f"systemctl stop {sockets} legerd; systemctl mask --runtime legerd legerd.socket")
    causes.run("systemctl", "start", "secret", check=False)
    found, command = why(causes, "secret")
    assert "it waits for legerd, and is started again when legerd answers" in found
    assert "secret token: legerd cannot be reached" in found
    assert command == "systemctl status legerd.socket legerd.service"
    assert why(causes, "held") == ("", "")
    run = causes.run("systemctl", "show", "-P", "InvocationID", "secret").stdout.strip()
    causes.sh(
        f"systemctl unmask --runtime legerd legerd.socket; systemctl start {sockets} legerd\n"
        f'while [ "$(systemctl show -P InvocationID secret)" = {run} ]; do sleep 0.1; done\n'
        "until systemctl is-failed -q secret; do sleep 0.1; done"
    )
    found, command = why(causes, "secret")
    assert "legerd has no causes/token" in found
    assert "waits for legerd" not in found
    assert "cannot be reached" not in found
    assert command == "leger secrets set causes/token -"


def test_what_was_mended_is_told_no_more(causes: Machine) -> None:
    causes.run("leger", "secrets", "set", "causes/token", "-", input="t")
    causes.run("systemctl", "start", "secret")
    causes.run("systemctl", "stop", "secret")
    assert why(causes, "secret") == ("stopped by hand", "systemctl start secret.service")


def test_a_commit_that_is_fetched_and_not_applied_is_told(causes: Machine) -> None:
    changed = quadlet(f"{RUNNING}Label=new=1\nEnvironmentFile=./good.env\n", wanted=True)
    commit(causes, TREE | {"good.container": changed, "late.container": quadlet()}, REPOSITORY)
    causes.run("leger", "plan", check=False, timeout=180)
    assert "leger apply: restarted: " in why(causes, "good")[0]
    assert "of causes brings it, which is not applied" in why(causes, "late")[0]


def test_a_commit_that_is_refused_is_told_with_file_and_line(causes: Machine) -> None:
    wrong = quadlet(f"{RUNNING}Colour=red\n", wanted=True)
    commit(causes, TREE | {"good.container": wrong, "late.container": wrong}, REPOSITORY)
    causes.run("leger", "plan", check=False, timeout=180)
    assert "good.container:6: unsupported key 'Colour'" in why(causes, "good")[0]
    assert "late.container:6: unsupported key 'Colour'" in why(causes, "late")[0]


def test_a_commit_that_was_given_up_is_told_until_there_is_a_newer_one(causes: Machine) -> None:
    bad = quadlet(f"{RUNNING}Volume=/no/such/folder:/x\n", wanted=True)
    change = {"good.container": bad, "late.container": quadlet(wanted=True)}
    given_up = commit(causes, TREE | change, REPOSITORY)[:12]
    assert causes.run("leger", "sync", check=False, timeout=180).code == 1
    text = f"commit {given_up} of causes was given up: good.service "
    for unit in ("good", "held", "late"):
        found, command = why(causes, unit)
        assert found.startswith(text), (unit, found)
        assert command.startswith("leger apply --retry causes, or push a commit")
    changed = quadlet(f"{RUNNING}Label=new=2\nEnvironmentFile=./good.env\n", wanted=True)
    newer = commit(causes, TREE | {"good.container": changed}, REPOSITORY)
    causes.run("leger", "plan", check=False, timeout=180)
    found, command = why(causes, "good")
    assert "given up" not in found
    assert "leger apply: restarted: " in found
    causes.run("leger", "sync", timeout=180)
    assert why(causes, "good") == ("", "")
    assert newer[:12] in causes.run("leger", "deploy", "list").stdout


def test_who_is_not_root_is_told_so(causes: Machine) -> None:
    causes.sh("id bob 2>/dev/null || useradd -m bob")
    for command in ("why good", "doctor", "service logs causes"):
        refused = causes.run("leger", *command.split(), user="bob", check=False)
        assert refused.code == 3
        assert "use sudo, or leger --user" in refused.stderr


def test_logs_and_states_by_deployment(causes: Machine) -> None:
    shown = causes.run("leger", "service", "status", "causes", check=False).stdout
    assert "good.service" in shown
    assert "held.service" in shown
    logs = causes.run("leger", "service", "logs", "causes", "--lines", "500").stdout
    assert "no such command" in logs or "/no/such/command" in logs
    causes.run("leger", "service", "stop", "causes")
    assert drift(causes)["good.service"] == "stopped by hand"
    causes.run("leger", "service", "start", "causes")
    causes.run("systemctl", "is-active", "good", "held", "tick.timer")
    before = causes.run("systemctl", "show", "-p", "InvocationID", "good").stdout
    causes.run("leger", "service", "restart", "causes")
    assert causes.run("systemctl", "show", "-p", "InvocationID", "good").stdout != before
    refused = causes.run("leger", "service", "logs", "nothing", check=False)
    assert refused.code == 2
    assert "there is no deployment nothing" in refused.stderr
