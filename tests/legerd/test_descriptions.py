"""What is said of a secret, who made its versions, and when it expires."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from legerd import descriptions, setec_vault
from legerd.changes import Edit
from legerd.errors import NotFound, NotSupported, Rejected
from legerd.records import Codec
from legerd.setec_vault import SetecVault
from legerd.store import Store
from legerd.values import NOTHING_SAID, Description, Secret, SecretBytes, Version
from tests.legerd.opened import KEK, reopened
from tests.legerd.served import Served

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store.open(tmp_path / "legerd", KEK, create=True)
    store.put("a", b"1", "me")
    yield store
    store.close()


@given(about=st.builds(Description, TEXTS, st.dictionaries(TEXTS, TEXTS), st.floats(0, 2**40)))
def test_what_is_said_comes_back(about: Description):
    codec = Codec(bytes(16), bytes(32))
    assert codec.description(codec.description_row(b"i" * 16, about)) == about


def test_it_survives_a_restart_and_every_other_change(store: Store, tmp_path: Path):
    about = Description("of the shop", {"team": "shop", "tier": "1"}, 2e9)
    store.describe("a", Edit(about.text, about.labels, about.expires))
    store.put("a", b"2", "you")
    store.activate("a", 2)
    store.delete_version("a", 1)
    assert store.snapshot["a"].about == about
    store = reopened(store, tmp_path / "legerd")
    assert store.snapshot["a"].about == about
    store.describe("a", Edit(labels={}))
    assert store.snapshot["a"].about == Description("of the shop", {}, 2e9)
    store.describe("a", Edit("", None, 0.0))
    store = reopened(store, tmp_path / "legerd")
    assert store.snapshot["a"].about == NOTHING_SAID
    store.close()


def test_it_goes_with_the_secret(store: Store, tmp_path: Path):
    store.describe("a", Edit("old"))
    store.delete("a")
    store.put("a", b"1", "me")
    assert store.snapshot["a"].about == NOTHING_SAID
    store = reopened(store, tmp_path / "legerd")
    assert store.snapshot["a"].about == NOTHING_SAID
    store.close()


def test_what_is_said_already_is_not_written(store: Store):
    store.describe("a", Edit("text"))
    sequence = store.snapshot.sequence
    store.describe("a", Edit("text"))
    store.describe("a", Edit())
    assert store.snapshot.sequence == sequence


def test_only_a_secret_that_is_there_is_described(store: Store):
    with pytest.raises(NotFound):
        store.describe("b", Edit("text"))
    with pytest.raises(Rejected):
        store.describe("_internal/a", Edit("text"))


def test_a_description_is_not_readable_in_the_files(store: Store, tmp_path: Path):
    store.describe("a", Edit("needle-in-text", {"needle-in-key": "needle-in-value"}))
    for path in (tmp_path / "legerd").iterdir():
        assert b"needle" not in path.read_bytes()


def test_setecs_file_has_no_place_for_it_and_stays_as_it_is(tmp_path: Path):
    path = tmp_path / "database"
    setec_vault.create(path, KEK)
    store = Store(SetecVault.open(path, (KEK,)))
    store.put("a", b"1", "me")
    before = path.read_bytes()
    with pytest.raises(NotSupported) as caught:
        store.describe("a", Edit("text"))
    assert "legerd import" in caught.value.hint
    assert path.read_bytes() == before
    store.close()


def described(served: Served, **fields: Any) -> tuple[int, Any]:
    return served.call("leger/describe", fields)


def test_history_tells_who_made_which_version_and_when(served: Served):
    for value in ("MQ==", "Mg==", "Mw=="):
        served.call("put", {"Name": "a", "Value": value})
    served.call("delete-version", {"Name": "a", "Version": 2})
    described(served, Name="a", Description="of <b>", Labels={"team": "shop"},
              Expires="2033-05-18T05:33:20+02:00")  # fmt: skip
    status, history = served.call("leger/history", {"Name": "a"})
    assert status == 200
    versions = history.pop("Versions")
    assert history == {
        "Name": "a",
        "ActiveVersion": 1,
        "LatestVersion": 3,
        "Deleted": [2],
        "Description": "of <b>",
        "Labels": {"team": "shop"},
        "Expires": "2033-05-18T03:33:20Z",
    }
    assert [version["Version"] for version in versions] == [1, 3]
    for version in versions:
        assert version["Creator"].startswith("unix:")
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", version["Created"])
    assert [line["action"] for line in served.lines()][-2:] == ["describe", "info"]


def test_setecs_answers_do_not_change_with_it(served: Served):
    served.call("put", {"Name": "a", "Value": "MQ=="})
    before = [served.call(name, {"Name": "a"}) for name in ("list", "info", "get")]
    assert described(served, Name="a", Description="x", Labels={"k": "v"}) == (200, {})
    assert [served.call(name, {"Name": "a"}) for name in ("list", "info", "get")] == before


def test_what_is_not_given_stays_and_null_takes_it_away(served: Served):
    served.call("put", {"Name": "a", "Value": "MQ=="})
    described(served, Name="a", Description="x", Labels={"k": "v"}, Expires="2033-01-01T00:00:00Z")
    described(served, Name="a", Labels={"k": "w"})
    history = served.call("leger/history", {"Name": "a"})[1]
    assert (history["Description"], history["Labels"]) == ("x", {"k": "w"})
    assert history["Expires"] == "2033-01-01T00:00:00Z"
    described(served, Name="a", Description=None, Labels=None, Expires=None)
    assert served.vault.snapshot["a"].about == NOTHING_SAID


@pytest.mark.parametrize(
    "fields",
    [
        {"Description": "x" * 4097},
        {"Labels": {str(number): "" for number in range(65)}},
        {"Labels": {"": "value"}},
        {"Labels": {"key": "x" * 256}},
        {"Labels": {"key": "two\nlines"}},
        {"Expires": "tomorrow"},
        {"Expires": "2033-01-01"},
        {"Expires": "2033-01-01T00:00:00"},
        {"Expires": "2033-02-30T00:00:00Z"},
        {"Expires": "1970-01-01T00:00:00Z"},
        {"Expires": 7},
        {"Labels": ["k"]},
        {"Labels": {"k": 1}},
    ],
)
def test_too_much_or_another_form_is_a_bad_request(served: Served, fields: dict[str, Any]):
    served.call("put", {"Name": "a", "Value": "MQ=="})
    assert described(served, Name="a", **fields)[0] == 400
    assert served.vault.snapshot["a"].about == NOTHING_SAID


def test_who_may_put_may_describe_and_who_may_info_sees_the_history(served: Served):
    served.call("put", {"Name": "a", "Value": "MQ=="})
    rule = "rules:\n  - {uid: %d, action: %s, secret: a}\n"
    uid = served.path.stat().st_uid
    for action, statuses in (("put", (200, 403)), ("info", (403, 200)), ("get", (403, 403))):
        served.policy.write_text(rule % (uid, action))
        found = described(served, Name="a", Description=action)[0]
        assert (found, served.call("leger/history", {"Name": "a"})[0]) == statuses


def test_a_secret_that_expires_soon_is_told_in_the_status(served: Served):
    now = time.time()
    for name, days in (("past", -400), ("soon", 13), ("later", 15), ("never", 0)):
        served.call("put", {"Name": name, "Value": "MQ=="})
        moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now + days * 86400))
        described(served, Name=name, Expires=moment if days else None)
    expiring = served.call("leger/status")[1]["Expiring"]
    assert [each["Name"] for each in expiring] == ["past", "soon"]


def test_a_time_that_nobody_knows_is_null():
    version = Version(SecretBytes(b""), 0.0, "")
    history = descriptions.history(Secret("a", {1: version}, 1, 1))
    assert '"Created":null,"Creator":""' in history
    assert '"Expires":null' in history
