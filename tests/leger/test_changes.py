"""What turns one set of units into another: the rules, and what must hold for all sets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from leger.changes import HELPERS, Changes, compare, members, started_with
from leger.member import Member
from leger.model import Binding, Built, Tree, Unit
from leger.systemd import State

RUNNING = State("loaded", "active", "running")
STOPPED = State("loaded", "inactive", "dead")
FAILED = State("loaded", "failed", "failed")
DONE = State("loaded", "active", "exited")
ABSENT = State()


def unit(name: str, kind: str = "container", **more: object) -> Unit:
    values = {"source": f"{name}.{kind}", "text": "", "normal": "1", "resource": name} | more
    return Unit(name=name, deployment="web", kind=kind, **values)  # type: ignore[arg-type]


def built(
    *units: Unit, files: Mapping[str, tuple[int, str]] | None = None, **more: object
) -> Built:
    return Built(
        name="web",
        commit="c" * 40,
        source="/srv/repository",
        tree=Tree(Path("/store/web-1"), "1", files or {}),
        units={item.name: item for item in units},
        bindings=more.get("bindings", ()),  # type: ignore[arg-type]
    )


def changed(
    old: Built,
    new: Built,
    states: Mapping[str, State] | None = None,
    also: Mapping[str, set[str]] | None = None,
) -> Changes:
    """Compare; what is not in `states` runs if it is in `old` and is absent otherwise."""
    known = dict.fromkeys(members([old]), RUNNING) | dict(states or {})
    return compare(
        members([old], known),
        members([new], known),
        lambda name: known.get(name, ABSENT),
        lambda name: frozenset((also or {}).get(name, ())),
    )


def test_what_did_not_change_is_not_touched() -> None:
    same = built(unit("a.service"), unit("n-network.service", "network"))
    assert changed(same, same) == Changes()


def test_what_a_unit_refers_to_starts_with_it() -> None:
    web = unit("web@.service", depends=("web-build.service",))
    build = unit("web-build.service", "build", depends=("base-image.service",))
    found = started_with([built(web, build)], ["web@1.service", "other.service", "web@1.service"])
    expected = {"web@1.service", "other.service", "web-build.service", "base-image.service"}
    assert (len(found), set(found)) == (4, expected)


def test_a_changed_unit_is_restarted_in_place() -> None:
    found = changed(built(unit("a.service")), built(unit("a.service", normal="2")))
    assert found.restart == ("a.service",)
    assert (found.stop, found.start) == ((), ())
    assert found.why == {"a.service": "a.service.container makes another unit"}


def test_a_changed_file_that_a_unit_reads_restarts_it() -> None:
    reader, other = unit("a.service", inputs=("conf",)), unit("b.service")
    old = built(reader, other, files={"conf/x": (0o644, "1")})
    new = built(reader, other, files={"conf/x": (0o644, "2")})
    assert changed(old, new).restart == ("a.service",)
    whole = unit("a.service", inputs=(".",))
    old = built(whole, files={"conf/x": (0o644, "1")})
    new = built(whole, files={"conf/x": (0o755, "1")})
    assert changed(old, new).restart == ("a.service",)


def test_a_secret_bound_elsewhere_restarts_its_user() -> None:
    one = Binding("token", "prod/token", units=("a.service",))
    old = built(unit("a.service"), unit("b.service"), bindings=(one,))
    new = built(unit("a.service"), unit("b.service"), bindings=(replace(one, legerd="prod/other"),))
    assert changed(old, new).restart == ("a.service",)


def test_what_an_administrator_stopped_stays_stopped() -> None:
    old = built(unit("a.service", wanted=True))
    new = built(unit("a.service", normal="2", wanted=True))
    assert changed(old, new, {"a.service": STOPPED}) == Changes()


def test_what_failed_is_tried_again_when_it_changed() -> None:
    old, new = built(unit("a.service")), built(unit("a.service", normal="2"))
    assert changed(old, new, {"a.service": FAILED}).restart == ("a.service",)


def test_new_units_run_if_a_boot_would_start_them() -> None:
    new = built(
        unit("a.service", wanted=True),
        unit("b.service"),
        unit("n-network.service", "network"),
        unit("job.service", oneshot=True, wanted=True),
    )
    found = changed(built(), new)
    assert found.start == ("n-network.service", "a.service", "job.service")


def test_a_finished_job_is_not_run_again_because_it_changed() -> None:
    old = built(unit("job.service", oneshot=True, wanted=True))
    new = built(unit("job.service", oneshot=True, wanted=True, normal="2"))
    assert changed(old, new, {"job.service": STOPPED}) == Changes()
    assert changed(old, new, {"job.service": DONE}) == Changes()


def test_what_goes_away_is_stopped_under_its_old_definition() -> None:
    found = changed(built(unit("a.service"), unit("b.service")), built(unit("b.service")))
    assert (found.stop, found.gone) == (("a.service",), ("a.service",))
    assert (found.restart, found.start) == ((), ())


def test_a_target_of_ours_is_stopped_when_it_goes_and_one_of_the_hosts_never() -> None:
    before = built(unit("all.target", "plain"), unit("a.service"))
    after = changed(before, built(), also={"a.service": {"host.target"}})
    assert set(after.stop) == {"all.target", "a.service"}


def test_a_renamed_pod_is_stopped_before_the_switch_with_its_members() -> None:
    """Trap 13: restarted under the new name, the old pod would stay for good."""
    member = unit("m.service", depends=("p-pod.service",), pod="p-pod.service")
    old = built(unit("p-pod.service", "pod"), member)
    new = built(unit("p-pod.service", "pod", resource="other", normal="2"), member)
    found = changed(old, new, also={"p-pod.service": {"m.service"}})
    assert found.stop == ("m.service", "p-pod.service")
    assert found.start == ("p-pod.service", "m.service")
    assert found.restart == ()


def test_the_only_member_of_a_pod_is_stopped_and_started_with_it() -> None:
    """Trap 7: restarting it would end the pod under it."""
    pod = unit("p-pod.service", "pod")
    member = unit("m.service", depends=("p-pod.service",), pod="p-pod.service")
    found = changed(
        built(pod, member),
        built(pod, replace(member, normal="2")),
        also={"p-pod.service": {"m.service"}},
    )
    assert found.stop == ("m.service", "p-pod.service")
    assert found.start == ("p-pod.service", "m.service")


def test_one_of_several_members_is_restarted_alone() -> None:
    pod = unit("p-pod.service", "pod")
    one = unit("m1.service", depends=("p-pod.service",), pod="p-pod.service")
    two = unit("m2.service", depends=("p-pod.service",), pod="p-pod.service")
    found = changed(
        built(pod, one, two),
        built(pod, one, replace(two, normal="2")),
        also={"p-pod.service": {"m1.service", "m2.service"}},
    )
    assert found.restart == ("m2.service",)
    assert found.stop == ()


def test_a_changed_network_is_made_anew_with_its_users_stopped() -> None:
    """Trap 8: `create --ignore` would keep the old subnet."""
    user = unit("a.service", depends=("n-network.service",))
    network = unit("n-network.service", "network", resource="inner")
    found = changed(
        built(network, user, unit("b.service")),
        built(replace(network, normal="2"), user, unit("b.service")),
        {"n-network.service": DONE},
    )
    assert found.stop == ("a.service", "n-network.service")
    assert found.networks == ("inner",)
    assert found.start == ("n-network.service", "a.service")


def test_a_changed_volume_is_told_and_left_alone() -> None:
    """Trap 8: its data would go with it."""
    user = unit("a.service", depends=("v-volume.service",))
    volume = unit("v-volume.service", "volume", resource="data")
    found = changed(
        built(volume, user),
        built(replace(volume, normal="2"), user),
        {"v-volume.service": DONE},
    )
    assert found.why == {}
    assert "data exists and keeps its options" in found.warnings[0]


def test_a_socket_is_restarted_with_its_service_stopped() -> None:
    """Trap 14: a socket cannot be restarted while its service is active."""
    old = built(unit("x.socket", "plain"), unit("x.service", "plain"))
    new = built(unit("x.socket", "plain", normal="2"), unit("x.service", "plain"))
    found = changed(old, new, also={"x.socket": {"x.service"}})
    assert found.stop == ("x.service", "x.socket")
    assert found.start == ("x.socket", "x.service")


def test_loaded_instances_of_a_template_are_restarted() -> None:
    old, new = built(unit("m@.service")), built(unit("m@.service", normal="2"))
    found = changed(old, new, {"m@x.service": RUNNING, "other@x.service": RUNNING})
    assert found.restart == ("m@x.service",)


def test_a_unit_of_the_host_that_is_taken_over_is_stopped_first() -> None:
    found = changed(built(), built(unit("a.service", wanted=True)), {"a.service": RUNNING})
    assert (found.stop, found.start) == (("a.service",), ("a.service",))


def test_an_image_built_anew_restarts_its_users_once() -> None:
    build = unit("i-build.service", "build")
    user = unit("a.service", depends=("i-build.service",))
    found = changed(
        built(build, user), built(replace(build, normal="2"), user), {"i-build.service": STOPPED}
    )
    assert found.restart == ("a.service",)
    assert found.start == ("i-build.service",)


KINDS = st.sampled_from(["container", "network", "volume", "pod", "build", "plain"])
STATES = st.sampled_from([RUNNING, STOPPED, FAILED, DONE, ABSENT])
NAMES = [f"{letter}.service" for letter in "abcdef"]


@st.composite
def sets(draw: st.DrawFn) -> tuple[Built, Built, dict[str, State], dict[str, set[str]]]:
    kinds = {name: draw(KINDS) for name in NAMES}

    def one(name: str) -> Unit:
        earlier = NAMES[: NAMES.index(name)]
        depends = draw(st.lists(st.sampled_from(earlier), unique=True)) if earlier else []
        return unit(
            name,
            kinds[name],
            normal=draw(st.sampled_from("12")),
            resource=draw(st.sampled_from("rs")),
            depends=tuple(depends),
            wanted=draw(st.booleans()),
            oneshot=draw(st.booleans()) and kinds[name] == "container",
        )

    names = st.lists(st.sampled_from(NAMES), unique=True)
    old = built(*map(one, draw(names)))
    new = built(*map(one, draw(names)))
    states = {name: draw(STATES) for name in NAMES}
    also = {
        name: set(draw(st.lists(st.sampled_from(NAMES), max_size=2, unique=True))) for name in NAMES
    }
    return old, new, states, also


@given(sets())
def test_every_switch_keeps_the_promises(
    case: tuple[Built, Built, dict[str, State], dict[str, set[str]]],
) -> None:
    old, new, states, also = case
    found = changed(old, new, states, also)
    before, after = members([old]), members([new])
    touched = {*found.stop, *found.restart, *found.start}
    assert not set(found.gone) & {*found.restart, *found.start}
    assert not set(found.stop) & set(found.restart)
    assert not set(found.start) & set(found.restart)
    assert set(found.gone) == before.keys() - after.keys()
    for name in found.stop:  # only what runs is stopped, and it runs again unless it went away
        assert states[name].stoppable
        assert (name in found.start) == (name not in found.gone and states[name].live)
    for name in before.keys() & after.keys() - touched:
        if before[name].is_as(after[name]):
            continue
        kept = states[name].active in ("inactive",) or states[name] == DONE
        assert kept or after[name].unit.kind == "volume" or states[name] == ABSENT
    for name in touched & before.keys() & after.keys():
        stopped_by_admin = states[name] in (STOPPED, ABSENT)
        newly_wanted = after[name].unit.wanted and not before[name].unit.wanted
        assert not stopped_by_admin or newly_wanted or after[name].unit.kind in HELPERS
    assert touched <= found.why.keys()


@given(sets())
def test_nothing_is_to_do_when_nothing_changed(
    case: tuple[Built, Built, dict[str, State], dict[str, set[str]]],
) -> None:
    old, _, states, also = case
    assert changed(old, old, states, also) == Changes()


def test_a_member_is_told_apart_by_text_inputs_and_secrets_only() -> None:
    here = built(unit("a.service"))
    moved = replace(here, tree=Tree(Path("/store/web-2"), "2", {"README": (0o644, "9")}))
    a, b = members([here])["a.service"], members([moved])["a.service"]
    assert isinstance(a, Member)
    assert a == b


def test_the_reason_names_the_files_and_the_secrets() -> None:
    reader = unit("a.service", source="a.container", inputs=("conf", "page"))
    files = {"a.container": (0o644, "1"), "conf/x": (0o644, "1"), "page": (0o644, "1")}
    token = Binding("token", "prod/token", units=("a.service",))
    old = built(reader, files=files, bindings=(token,))

    def why(new: Built) -> str:
        return changed(old, new).why["a.service"]

    def again(**more: object) -> Built:
        return built(reader, **({"files": files, "bindings": (token,)} | more))  # type: ignore[arg-type]

    assert why(again(files=files | {"conf/x": (0o755, "1")})) == "conf/x changed"
    assert why(again(files=files | {"conf/new": (0o644, "1")})) == "conf/new was added"
    assert (
        why(again(bindings=(replace(token, legerd="prod/other", version=3),)))
        == "secret token is bound to prod/other:3"
    )
    assert why(again(bindings=())) == "secret token is not needed any more"
    text = built(
        replace(reader, normal="2"), files=files | {"a.container": (0o644, "2")}, bindings=(token,)
    )
    assert why(text) == "a.container changed"
    many = files | {f"conf/{number}": (0o644, "1") for number in range(5)}
    assert why(again(files=many)) == (
        "conf/0 was added; conf/1 was added; conf/2 was added; and 2 more"
    )


def test_the_reason_names_the_drop_in_that_changed() -> None:
    files = {"a.container": (0o644, "1"), "a.container.d/x.conf": (0o644, "1")}
    one = unit("a.service", source="a.container")
    new = built(replace(one, normal="2"), files=files | {"a.container.d/x.conf": (0o644, "2")})
    assert changed(built(one, files=files), new).why == {
        "a.service": "a.container.d/x.conf changed"
    }


def test_what_uses_a_changed_network_says_which() -> None:
    network = unit("n-network.service", "network", source="n.network")
    user = unit("a.service", depends=("n-network.service",))
    found = changed(built(network, user), built(replace(network, normal="2"), user))
    assert found.why["a.service"] == "uses n.network, which changed"


def test_a_secret_alone_means_what_the_deployment_says_it_means() -> None:
    one = unit("a.service")
    token = Binding("token", "prod/token", units=("a.service",))
    old = built(one, bindings=(token,))

    def found(says: str, can_reload: bool = True, state: State = RUNNING) -> Changes:
        other = replace(token, legerd="prod/other")
        new = replace(built(one, bindings=(other,)), on_secret_change=says)
        return compare(
            members([old]),
            members([new]),
            lambda _name: state,
            lambda _name: frozenset(),
            lambda _name: can_reload,
        )

    assert found("restart").restart == ("a.service",)
    assert found("reload").reload == ("a.service",)
    assert found("reload").restart == ()
    assert found("reload", can_reload=False).restart == ("a.service",)
    assert found("reload", state=FAILED).restart == ("a.service",)
    assert found("none").why == {}
    assert "a.service: secret token is bound to prod/other" in found("none").warnings[0]


def test_a_secret_of_one_instance_restarts_that_instance() -> None:
    template = unit("m@.service", instances=("m@a.service", "m@b.service"))
    token = Binding("db-a", "web/db-a", units=("m@a.service",))
    old = built(template, bindings=(token,))
    new = built(template, bindings=(replace(token, version=2),))
    assert changed(old, new).restart == ("m@a.service",)


def test_a_member_that_was_stopped_is_held_when_its_pod_starts() -> None:
    """A pod's unit wants all of its members."""
    pod = unit("p-pod.service", "pod")
    one = unit("m1.service", depends=("p-pod.service",), pod="p-pod.service")
    two = unit("m2.service", depends=("p-pod.service",), pod="p-pod.service")
    found = changed(
        built(pod, one, two),
        built(replace(pod, normal="2"), one, two),
        {"m2.service": STOPPED},
        also={"p-pod.service": {"m1.service", "m2.service"}},
    )
    assert found.start == ("p-pod.service", "m1.service")
    assert found.held == ("m2.service",)
