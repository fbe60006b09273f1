"""units.json: what is written is read; what is not whole is refused; what is bad is left out."""

from __future__ import annotations

import json
import os.path
from hashlib import blake2b

import pytest
from generator.generating import encoded, plan
from hypothesis import given
from hypothesis import strategies as st
from leger_generator.names import is_file_path, is_link, is_unit_name
from leger_generator.plan import MAX_BYTES, File, Plan, PlanError, decode, encode

UNITS = st.sampled_from(["web", "db@", "db@a", "a-b", "x.y", r"a\x20b"]).flatmap(
    lambda stem: st.sampled_from([f"{stem}.service", f"{stem}.timer", f"{stem}.socket"])
)
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"))
FILES = st.dictionaries(
    st.one_of(UNITS, UNITS.map(lambda unit: f"{unit}.d/10-x.conf")),
    st.builds(File, TEXTS, st.just("web"), st.one_of(st.none(), st.lists(TEXTS))),
)
LINKS = st.dictionaries(UNITS.map(lambda unit: f"x.target.wants/{unit}"), UNITS).map(
    lambda links: {path: f"../{target}" for path, target in links.items()}
)


def with_body(body: object, *, form: int = 1) -> bytes:
    """units.json around any second line, its checksum right."""
    line = json.dumps(body).encode()
    digest = blake2b(line, digest_size=32).hexdigest()
    return json.dumps({"format": form, "blake2b": digest}).encode() + b"\n" + line + b"\n"


@given(files=FILES, links=LINKS, generation=st.integers(0, 2**40))
def test_what_is_encoded_is_decoded(
    files: dict[str, File], links: dict[str, str], generation: int
) -> None:
    data = encode(plan(generation, files=files, links=links))
    found = decode(data)
    assert found.problems == ()
    assert (found.generation, found.links) == (generation, links)
    assert {path: file.raw() for path, file in found.files.items()} == {
        path: file.raw() for path, file in files.items()
    }
    assert encode(found) == data
    assert data.count(b"\n") == 2


@given(data=st.data())
def test_no_damage_goes_unseen(data: st.DataObject) -> None:
    whole = encoded()
    kind = data.draw(st.sampled_from(["cut", "flip", "insert"]))
    place = data.draw(st.integers(0, len(whole) - 2))
    damaged = {
        "cut": whole[:place],
        "flip": whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :],
        "insert": whole[:place] + b"\xff" + whole[place:],
    }[kind]
    with pytest.raises(PlanError):
        decode(damaged)


@given(st.binary(max_size=4096))
def test_any_bytes_are_refused_by_name(data: bytes) -> None:
    with pytest.raises(PlanError):
        decode(data)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=20),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=20), inner),
    )
)
def test_any_json_with_a_right_checksum_is_decoded_or_refused(body: object) -> None:
    for wrapped in (body, {"generation": 1, "scope": "system", "files": body, "links": body}):
        try:
            found = decode(with_body(wrapped))
        except PlanError:
            continue
        assert found.files == {} or all(is_file_path(path) for path in found.files)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "empty"),
        (b"\x7fELF\x02\x01\x01" + bytes(200), "not JSON"),
        (encoded()[:40], "not JSON"),
        (encoded()[:-20], "checksum"),
        (with_body(plan().raw(), form=2), "format is 2"),
        (b'{"format":1}\n{}\n', "checksum"),
        (with_body([]), "not an object"),
        (with_body({**plan().raw(), "generation": "1"}), "generation"),
        (with_body({**plan().raw(), "generation": True}), "generation"),
        (with_body({**plan().raw(), "scope": "host"}), "scope"),
        (b'{"format":1,"blake2b":"0"}\n' + b"[" * 100_000, "checksum"),
        (bytes(MAX_BYTES + 1), "larger than 64 MiB"),
    ],
)
def test_a_file_that_is_not_whole_or_not_ours_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(PlanError, match=message):
        decode(data)


def test_nesting_without_end_is_refused() -> None:
    line = b"[" * 100_000
    digest = blake2b(line, digest_size=32).hexdigest()
    with pytest.raises(PlanError, match="not JSON"):
        decode(b'{"format":1,"blake2b":"%s"}\n%s\n' % (digest.encode(), line))


HOSTILE_FILES = {
    "../web.service": {"text": "", "deployment": "web"},
    "/etc/passwd": {"text": "", "deployment": "web"},
    "a/b/web.service": {"text": "", "deployment": "web"},
    "web.service.d/../../x.conf": {"text": "", "deployment": "web"},
    "web.service.d/.hidden.conf": {"text": "", "deployment": "web"},
    "web.exe": {"text": "", "deployment": "web"},
    "web\0.service": {"text": "", "deployment": "web"},
    "": {"text": "", "deployment": "web"},
    ".service": {"text": "", "deployment": "web"},
    "a" * 256 + ".service": {"text": "", "deployment": "web"},
    "one.service": "text",
    "two.service": {"text": 1, "deployment": "web"},
    "three.service": {"text": "a\0b", "deployment": "web"},
    "four.service": {"text": "a"},
    "five.service": {"text": "\udc80", "deployment": "web"},
    "six.service.d/00-leger.conf": {"text": "", "deployment": "web", "hook": "db=x"},
}
HOSTILE_LINKS = {
    "x.target.wants/web.service": "/etc/passwd",
    "y.target.wants/web.service": "../../web.service",
    "z.target.wants/../web.service": "../web.service",
    "../alias.service": "web.service",
    "alias.service": "../web.service",
    "w.target.likes/web.service": "../web.service",
    "v.target.wants/web.service": 7,
}


def test_bad_entries_are_named_and_the_others_taken() -> None:
    raw = plan().raw()
    raw["files"].update(HOSTILE_FILES)  # type: ignore[attr-defined]
    raw["links"].update(HOSTILE_LINKS)  # type: ignore[attr-defined]
    found = decode(with_body(raw))
    assert set(found.files) == set(plan().files)
    assert set(found.links) == set(plan().links)
    assert found.bad == set(HOSTILE_FILES) | set(HOSTILE_LINKS)
    assert len(found.problems) == len(HOSTILE_FILES) + len(HOSTILE_LINKS)
    assert all("\n" not in problem for problem in found.problems)


@pytest.mark.parametrize("path", HOSTILE_FILES)
def test_a_bad_entry_is_never_written(path: str) -> None:
    bad = Plan.parse({**plan().raw(), "files": {path: HOSTILE_FILES[path]}})
    with pytest.raises(PlanError):
        encode(bad)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("search", ["relative"]),
        ("search", ["/a:/b"]),
        ("search", "/etc"),
        ("quadlet", {"path": "/usr/libexec/podman/quadlet"}),
        ("quadlet", []),
        ("deployments", {"web": {"store": "relative", "commit": "c"}}),
        ("deployments", []),
        ("files", []),
        ("links", []),
    ],
)
def test_a_bad_part_costs_only_itself(key: str, value: object) -> None:
    found = decode(with_body({**plan().raw(), key: value}))
    assert len(found.problems) == 1
    assert key.rstrip("s") in found.problems[0]
    if key != "files":
        assert "web.service" in found.files


@given(st.text(max_size=40), st.text(max_size=40))
def test_no_accepted_path_leaves_the_folder(path: str, target: str) -> None:
    for candidate in (path, f"{path}.service", f"a.service.d/{path}.conf"):
        if is_file_path(candidate):
            full = os.path.normpath(f"/g/{candidate}")
            assert full.startswith("/g/")
            assert "\0" not in full
    if is_link(f"x.target.wants/{path}.service", target):
        assert os.path.normpath(f"/g/x.target.wants/{target}").startswith("/g/")


@pytest.mark.parametrize(
    "name", ["a.service", "a@.service", "a@b.service", "a-b_c:d.e.timer", r"dev-x\x2dy.mount"]
)
def test_legal_unit_names(name: str) -> None:
    assert is_unit_name(name)


@pytest.mark.parametrize(
    "name", ["a", "a.conf", "@a.service", "a b.service", "a/b.service", "ä.service", "a.service "]
)
def test_illegal_unit_names(name: str) -> None:
    assert not is_unit_name(name)
