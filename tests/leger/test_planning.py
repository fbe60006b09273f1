"""What a plan takes out of a wish, and what it leaves in: real repositories, the real quadlet."""

from __future__ import annotations

import os
import re
import shutil
import socket
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from leger import (
    adoption,
    changes,
    deployed,
    deploying,
    fitting,
    generation,
    intent,
    planning,
    prepare,
    rollback,
)
from leger import compile as compiling
from leger import quadlet as quadlets
from leger.deployed import Deployed
from leger.deployment import Health, Target
from leger.errors import LegerError
from leger.model import Built
from leger.planning import Wish
from leger.switch import Host
from machine import quadlet_binary
from planned import Running, deploy, save
from repositories import shown

Commit = Callable[..., Target]
WEB = "[Container]\nImage=localhost/a:1\n"
BAD = "[Container]\nNoSuchKey=1\n"


def test_a_fault_in_one_names_it_and_does_not_hold_back_the_others(
    host: Host, committed: Commit
) -> None:
    first = deploy(host, committed("a", {"a.container": WEB}), committed("b", {"b.container": WEB}))
    newer = committed("a", {"a.container": f"{WEB}Label=v=2\n"})
    bad = committed("b", {"b.container": BAD})
    plan = planning.make(host, Wish((newer, bad)))
    assert list(plan.refused) == ["b"]
    assert [move.name for move in plan.moves] == ["a"]
    assert plan.new.deployments["b"] == first.new.deployments["b"]
    assert plan.definitions == first.definitions
    assert all("b: b.container" in line for line in shown(plan.faults()))


@pytest.mark.parametrize("settings", [{"exclude": (7,)}, {"replaces": None}])
def test_a_bug_that_one_brings_out_is_told_with_its_place_and_holds_back_no_other(
    host: Host, committed: Commit, settings: dict[str, object]
) -> None:
    """Settings that no definition can have stand for content that Leger does not foresee."""
    good, bad = (committed(n, {f"{n}.container": WEB}) for n in "ab")
    strange = replace(bad, deployment=replace(bad.deployment, **settings))  # type: ignore[arg-type]
    plan = planning.make(host, Wish((good, strange)))
    assert list(plan.new.deployments) == ["a"]
    assert re.match(r"b: a bug of Leger's, in \w+\.py:[0-9]+: \w+Error: ", str(plan.refused["b"]))


def test_a_port_that_another_has_had_holds_back_only_who_wants_it_now(
    host: Host, committed: Commit
) -> None:
    deploy(host, committed("a", {"a.container": f"{WEB}PublishPort=8080:80\n"}))
    newer = committed("a", {"a.container": f"{WEB}PublishPort=8080:80\nLabel=v=2\n"})
    rival = committed("b", {"b.container": f"{WEB}PublishPort=8080:80\n"})
    plan = planning.make(host, Wish((rival, newer)))
    assert list(plan.refused) == ["b"]
    assert [move.name for move in plan.moves] == ["a"]


def test_of_two_new_ones_in_each_others_way_only_the_one_that_is_named_waits(
    host: Host, committed: Commit
) -> None:
    rivals = [committed(n, {f"{n}.container": f"{WEB}PublishPort=8080:80\n"}) for n in "ab"]
    plan = planning.make(host, Wish((*rivals, committed("c", {"c.container": WEB}))))
    assert list(plan.refused) == ["b"]
    assert list(plan.new.deployments) == ["a", "c"]
    assert "a.container" in str(plan.refused["b"])


def test_what_would_break_a_deployment_that_stays_is_refused(host: Host, committed: Commit) -> None:
    net = committed("net", {"inner.network": "[Network]\n", "n.container": WEB})
    user = committed("user", {"u.container": f"{WEB}Network=inner.network\n"})
    deploy(host, net, user)
    without = committed("net", {"inner.network": None})
    plan = planning.make(host, Wish((without, committed("new", {"x.container": WEB}))))
    assert list(plan.refused) == ["net"]
    assert sorted(plan.new.deployments) == ["net", "new", "user"]


def test_what_others_refer_to_goes_only_together_with_them(host: Host, committed: Commit) -> None:
    net = committed("net", {"inner.network": "[Network]\n"})
    user = committed("user", {"u.container": f"{WEB}Network=inner.network\n"})
    deploy(host, net, user, committed("c", {"c.container": WEB}))
    plan = planning.make(host, Wish(removed=frozenset({"net", "c"})))
    assert str(plan.refused["net"]) == "user refers to net"
    assert sorted(plan.new.deployments) == ["net", "user"]
    both = planning.make(host, Wish(removed=frozenset({"net", "user", "nobody"})))
    assert (both.refused, list(both.new.deployments)) == ({}, ["c"])


def test_nothing_new_is_the_same_and_a_new_commit_of_the_same_content_touches_no_unit(
    host: Host, committed: Commit
) -> None:
    target = committed("a", {"a.container": WEB})
    deploy(host, target)
    assert planning.make(host, Wish((target,))).is_same
    plan = planning.make(host, Wish((committed("a", {}),)))
    assert not plan.is_same
    assert (dict(plan.changes.why), len(plan.moves)) == ({}, 1)


def test_a_tree_that_was_changed_by_hand_is_named_and_can_be_put_right(
    host: Host, committed: Commit
) -> None:
    target = committed("a", {"a.container": f"{WEB}Volume=./x:/x\n", "x/f": "1", "x/g": "2"})
    first = deploy(host, target)
    tree = first.new.deployments["a"].tree
    (tree.path / "x/f").write_text("other")
    (tree.path / "x/g").unlink()
    (tree.path / "a.container").write_text(BAD)
    (tree.path / "more").write_text("")
    plan = planning.make(host, Wish((committed("b", {"b.container": WEB}),)))
    assert plan.altered == {"a": ("a.container", "more", "x/f", "x/g")}
    assert (plan.refused, sorted(plan.new.deployments)) == ({}, ["a", "b"])
    assert plan.new.deployments["a"] == first.new.deployments["a"]
    kept = (tree.path / "x").stat().st_ino
    made = prepare.prepare(host.scope, target.deployment, target.commit, mend=True)
    assert made.tree == tree
    assert planning.make(host, Wish()).altered == {}
    assert (tree.path / "x").stat().st_ino == kept, "what is mounted stays mounted"


def test_what_times_do_not_tell_is_made_again_all_the_same(host: Host, committed: Commit) -> None:
    tree = deploy(host, committed("a", {"a.container": WEB})).new.deployments["a"].tree
    (tree.path / "a.container").write_text(BAD)
    time.sleep(0.02)  # the clock of file systems is coarse
    tree.path.rename(tree.path.with_name("away"))
    tree.path.with_name("away").rename(tree.path)
    old = generation.load_current(host.scope)
    assert Deployed(host.scope, old).made_again("a").tree == tree
    assert (tree.path / "a.container").read_text() == WEB


def test_a_name_that_leads_elsewhere_removes_nothing(host: Host) -> None:
    host.scope.deployments.mkdir(parents=True)
    host.scope.config.write_text("host: {name: x}\n")
    with pytest.raises(LegerError, match=r"there is no deployment \.\./config"):
        deploying.remove(host, "../config")
    assert host.scope.config.exists()


def lose(host: Host, built: Built) -> None:
    """The deployment's tree is gone, and there is nothing to make it of."""
    shutil.rmtree(built.tree.path)
    shutil.rmtree(host.scope.sources)
    shutil.rmtree(built.source)


def test_what_cannot_be_opened_any_more_stays_as_it_was_deployed(
    host: Host, committed: Commit
) -> None:
    first = deploy(host, committed("a", {"a.container": WEB}))
    built = first.new.deployments["a"]
    lose(host, built)
    plan = planning.make(host, Wish((committed("b", {"b.container": WEB}),)))
    assert (plan.refused, sorted(plan.new.deployments)) == ({}, ["a", "b"])
    assert plan.new.deployments["a"] == built
    assert any("it stays as it was deployed" in str(fault) for fault in plan.warnings)


def test_another_podman_restarts_nothing_whatever_is_wrong_with_one_deployment(
    host: Host, committed: Commit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One is lost, another has a key that this podman does not know."""
    programs = [quadlet_binary(suite) for suite in ("forky", "trixie")]
    monkeypatch.setattr(quadlets, "INSTALLED", programs[:1])
    files = {"faulty": f"{WEB}ReloadCmd=true\n", "lost": WEB, "new": WEB, "same": WEB}
    targets = [committed(name, {f"{name}.container": text}) for name, text in files.items()]
    first = deploy(host, *targets)
    monkeypatch.setattr(quadlets, "INSTALLED", programs[1:])
    lose(host, first.new.deployments["lost"])
    plan = planning.make(host, Wish((committed("new", {"more.container": WEB}),)))
    assert plan.refused == {}
    assert {fault.deployment for fault in plan.warnings} == {"faulty", "lost"}
    assert plan.new.files["same.service"] != first.new.files["same.service"]
    before = deployed.comparable(Deployed(host.scope, plan.old), plan.new.quadlet, print)
    old, new = (changes.members(one.deployments.values()) for one in (before, plan.new))
    assert [name for name in old if not new[name].is_as(old[name])] == []


def test_a_unit_that_starts_again_with_another_has_the_time_that_its_own_deployment_asks_for(
    host: Host, committed: Commit
) -> None:
    slow, quick = Health(600.0, 30.0), Health(20.0, 1.0)
    net = committed("net", {"inner.network": "[Network]\n"}, health=quick)
    user = committed("user", {"u.container": f"{WEB}Network=inner.network\n"}, health=slow)
    other = committed("other", {"o.container": WEB}, health=Health(900.0, 90.0))
    first = deploy(host, net, user, other)
    units = [name for built in first.new.deployments.values() for name in built.units]
    running = replace(host, manager=Running(*units))  # type: ignore[arg-type]
    newer = committed("net", {"inner.network": "[Network]\nSubnet=10.9.8.0/24\n"}, health=quick)
    plan = planning.make(running, Wish((newer,)))
    assert plan.changes.start == ("inner-network.service", "u.service")
    assert (plan.step.timeout, plan.step.quiet) == (600.0, 30.0)
    alone = committed("other", {"o.container": f"{WEB}Label=v=2\n"}, health=quick)
    plan = planning.make(running, Wish((alone,)))
    assert (plan.step.timeout, plan.step.quiet) == (20.0, 1.0)


def test_a_definition_that_the_host_wrote_is_not_written_anew(
    host: Host, committed: Commit
) -> None:
    target = committed("a", {"a.container": WEB})
    host.scope.deployments.mkdir(parents=True)
    file = host.scope.deployments / "a.yaml"
    file.write_text(f"# mine\nsource: {target.deployment.source}\n")
    assert planning.make(host, Wish((target,))).step.definitions == {}
    file.write_text("source: /srv/other\n")
    assert list(planning.make(host, Wish((target,))).step.definitions) == ["a"]


def test_rolling_back_gives_back_what_was_taken_over_and_rolling_forward_takes_it_again(
    host: Host, committed: Commit
) -> None:
    """What comes back resolves references of the generation that had it."""
    theirs = host.scope.quadlet_folders[1] / "own.network"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("[Network]\n")
    web = committed("web", {"web.container": f"{WEB}Network=own.network\n"})
    deploy(host, web)
    own = {"own.network": "[Network]\nSubnet=10.9.8.0/24\n"}
    plan = deploy(host, committed("own", own), adopt=True)
    adoption.take(host.scope, plan.step.adopt)
    deploy(host, committed("own", {"more.network": "[Network]\n"}))
    old, target = (generation.load(host.scope, number) for number in (3, 1))
    assert old.compiled.deployments["own"].adopted == (theirs,)
    back = planning.make(host, rollback.wish(host.scope, old, target))
    assert (back.refused, list(back.new.deployments)) == ({}, ["web"])
    assert back.step.restore == (str(theirs),)
    adoption.give_back(host.scope, back.step.restore)
    save(host, back)
    forward = planning.make(host, rollback.wish(host.scope, generation.load(host.scope, 4), old))
    assert (forward.refused, forward.step.adopt) == ({}, (str(theirs),))
    assert forward.new.deployments["own"].adopted == (theirs,)


def test_rolling_back_to_what_cannot_be_had_any_more_changes_nothing(
    host: Host, committed: Commit
) -> None:
    """The host's file that would come back stays away with the deployment that took it over."""
    theirs = host.scope.quadlet_folders[1] / "web.container"
    theirs.parent.mkdir(parents=True)
    theirs.write_text(WEB)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = f"PublishPort={listener.getsockname()[1]}:80\n"
        deploy(host, committed("web", {"api.container": f"{WEB}{port}"}))
        plan = deploy(
            host, committed("web", {"api.container": WEB, "web.container": WEB}), adopt=True
        )
        adoption.take(host.scope, plan.step.adopt)
        listener.listen()
        old, target = (generation.load(host.scope, number) for number in (2, 1))
        back = planning.make(host, rollback.wish(host.scope, old, target))
    assert "is in use by" in str(back.refused["web"])
    assert (back.step.restore, back.is_same) == ((), True)


QUADLET = """#!/bin/sh
for folder in $(echo "$QUADLET_UNIT_DIRS" | tr : ' '); do
    grep -qs '{marker}' "$folder"/*.container && {{ {what}; }}
done
exec {quadlet} "$@"
"""


@pytest.mark.parametrize(
    ("what", "told"), [("exec sleep 60", "no end after"), ("kill -6 $$", "does not say why")]
)
def test_one_over_which_quadlet_hangs_or_dies_does_not_hold_back_the_others(
    host: Host,
    committed: Commit,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    what: str,
    told: str,
) -> None:
    fake = tmp_path / "quadlet"
    fake.write_text(QUADLET.format(marker="EVIL=", what=what, quadlet=quadlets.installed()))
    fake.chmod(0o755)
    monkeypatch.setattr(quadlets, "INSTALLED", (fake,))
    monkeypatch.setattr(compiling, "TIMEOUT", 2.0)
    monkeypatch.setattr(fitting, "_ALONE", 1.0)
    good = [committed(f"a{number}", {f"a{number}.container": WEB}) for number in range(20)]
    evil = committed("evil", {"evil.container": f"{WEB}Environment=EVIL=1\n"})
    plan = planning.make(host, Wish((*good, evil)))
    assert list(plan.refused) == ["evil"]
    assert told in str(plan.refused["evil"])
    assert len(plan.new.deployments) == 20


def test_what_collides_with_another_only_is_taken_back_without_it(
    host: Host, committed: Commit
) -> None:
    """Of two that want one port the first stays, and so do all others."""
    port = f"{WEB}PublishPort=18099:80\n"
    wish = Wish(tuple(committed(name, {f"{name}.container": port}) for name in ("a", "b")))
    plan = planning.make(host, wish)
    assert (list(plan.refused), list(plan.new.deployments)) == (["b"], ["a"])


def test_another_name_of_the_host_is_seen_until_each_deployment_has_it(
    host: Host, committed: Commit
) -> None:
    """Whatever is deployed meanwhile, and whatever times config.yaml has."""

    def named(name: str) -> None:
        host.scope.config.parent.mkdir(parents=True, exist_ok=True)
        host.scope.config.write_text(f"host: {{name: {name}}}\n")
        os.utime(host.scope.config, (1, 1))

    def new() -> list[str]:
        return [
            target.deployment.name
            for target in intent.read(host.scope, (), fetch=False).wish.targets
        ]

    text = f"{WEB}Label=host={{{{ host.name }}}}\n"
    targets = [committed(name, {f"{name}.container.j2": text}) for name in ("a", "b")]
    host.scope.deployments.mkdir(parents=True)
    for target in targets:
        file = host.scope.deployments / f"{target.deployment.name}.yaml"
        file.write_text(f"source: {target.deployment.source}\n")
    named("one")
    deploy(host, *targets)
    assert new() == []
    named("two")
    assert new() == ["a", "b"]
    deploy(host, targets[0])
    assert new() == ["b"]
    plan = deploy(host, targets[1])
    assert "host=two" in str(plan.new.files["b.service"]["text"])
    assert (new(), planning.make(host, Wish(tuple(targets))).is_same) == ([], True)
