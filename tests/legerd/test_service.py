"""The gate: what is decided, what is recorded, and that nothing happens without a record."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from legerd import calls, errors, wire
from legerd.api import STATUSES
from legerd.audit import AuditLog, AuditUnavailable
from legerd.errors import AccessDenied, LegerdError, NotFound, Rejected, ValueUnchanged
from legerd.identity import Caller, Principal
from legerd.policy import EVERYTHING, Rule
from legerd.service import MAX_FETCH, Service
from legerd.upkeep import Upkeep
from tests.legerd.served import Served
from tests.legerd.vault import MemoryVault

BOSS = Caller(Principal("h", user="boss"), (EVERYTHING,), root=True)
NOBODY = Caller(Principal("h", user="nobody"))
READER = Caller(Principal("h", user="reader"), (Rule(frozenset({"get"}), ("a*",)),))
BOXED = Caller(Principal("h", user="unix:root(0)"), barred=True)


class Gate:
    """A service over an empty vault, and what it recorded."""

    def __init__(self, folder: Path) -> None:
        self.vault = MemoryVault()
        self.path = folder / "audit.log"
        self.audit = AuditLog(self.path)
        self.service = Service(self.vault, self.audit)

    def recorded(self) -> list[tuple[object, ...]]:
        """action, authorized, secret, secretVersion of every line since the last call."""
        lines = [wire.json.loads(line) for line in self.path.read_text().splitlines()]
        self.path.write_text("")
        return [
            (x["action"], x["authorized"], x.get("secret"), x.get("secretVersion")) for x in lines
        ]

    def without_audit(self) -> None:
        """From now on nothing can be recorded."""
        self.audit._drop()
        self.path.unlink()
        self.path.mkdir()


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    gate = Gate(tmp_path)
    yield gate
    gate.audit.close()


def test_every_call_is_recorded_as_setec_does(gate: Gate) -> None:
    service = gate.service
    assert service.put(BOSS, "a", b"1") == 1
    assert service.put(BOSS, "a", b"2") == 2
    service.create_version(BOSS, "a", 7, b"7")
    service.activate(BOSS, "a", 1)
    assert service.get(BOSS, "a", 0) == (b"1", 1)
    assert service.get(BOSS, "a", 2) == (b"2", 2)
    assert service.info(BOSS, "a").versions == (1, 2, 7)
    assert [info.name for info in service.list(BOSS)] == ["a"]
    service.delete_version(BOSS, "a", 2)
    service.delete(BOSS, "a")
    assert gate.recorded() == [
        ("put", True, "a", None),
        ("put", True, "a", None),
        ("create-version", True, "a", 7),
        ("activate", True, "a", 1),
        ("get", True, "a", None),
        ("get", True, "a", 2),
        ("info", True, "a", None),
        ("info", True, None, None),
        ("delete", True, "a", 2),
        ("delete", True, "a", None),
    ]


def test_a_conditional_get_is_recorded_only_if_it_hands_over(gate: Gate) -> None:
    gate.service.put(BOSS, "a", b"1")
    gate.recorded()
    with pytest.raises(ValueUnchanged):
        gate.service.get_changed(BOSS, "a", 1)
    with pytest.raises(NotFound):
        gate.service.get_changed(BOSS, "b", 1)
    assert gate.recorded() == []
    assert gate.service.get_changed(BOSS, "a", 9) == (b"1", 1)
    assert gate.recorded() == [("get", True, "a", None)]
    with pytest.raises(AccessDenied):
        gate.service.get_changed(NOBODY, "a", 1)
    assert gate.recorded() == [("get", False, "a", None)]


def test_denials_are_recorded_for_absent_names_too(gate: Gate) -> None:
    service = gate.service
    calls = {
        "get": lambda: service.get(NOBODY, "x", 3),
        "info": lambda: service.info(NOBODY, "x"),
        "put": lambda: service.put(NOBODY, "x", b""),
        "create-version": lambda: service.create_version(NOBODY, "x", 3, b""),
        "activate": lambda: service.activate(NOBODY, "x", 3),
        "delete": lambda: service.delete(NOBODY, "x"),
    }
    for action, call in calls.items():
        with pytest.raises(AccessDenied):
            call()
        version = 3 if action in ("get", "create-version", "activate") else None
        assert gate.recorded() == [(action, False, "x", version)]
    with pytest.raises(AccessDenied):
        service.delete_version(NOBODY, "x", 3)
    assert gate.recorded() == [("delete", False, "x", 3)]
    assert service.list(NOBODY) == []
    assert gate.recorded() == [("info", True, None, None)]


def test_what_is_refused_before_the_decision_is_not_recorded(gate: Gate) -> None:
    for caller in (BOSS, NOBODY):
        for call in (
            lambda who: gate.service.put(who, "", b""),
            lambda who: gate.service.activate(who, "", 1),
            lambda who: gate.service.create_version(who, "", 0, b""),
        ):
            with pytest.raises(Rejected):
                call(caller)
        with pytest.raises(errors.InvalidVersion):
            gate.service.create_version(caller, "a", 0, b"")
    assert gate.recorded() == []


def test_a_container_may_not_even_list(gate: Gate) -> None:
    with pytest.raises(AccessDenied):
        gate.service.list(BOXED)
    assert gate.recorded() == [("info", False, None, None)]


def test_list_shows_what_info_covers(gate: Gate) -> None:
    for name in ("b/2", "a", "b/1", "\u00e9"):
        gate.service.put(BOSS, name, b"")
    some = Caller(Principal("h"), (Rule(frozenset({"info"}), ("b/*",)),))
    assert [info.name for info in gate.service.list(some)] == ["b/1", "b/2"]
    assert [info.name for info in gate.service.list(BOSS)] == ["a", "b/1", "b/2", "\u00e9"]
    assert gate.service.list(READER) == []


def test_without_a_record_nothing_happens(gate: Gate) -> None:
    gate.service.put(BOSS, "a", b"1")
    before = gate.vault.snapshot
    gate.without_audit()
    service = gate.service
    for call in (
        lambda: service.list(BOSS),
        lambda: service.get(BOSS, "a", 0),
        lambda: service.get_changed(BOSS, "a", 9),
        lambda: service.info(BOSS, "a"),
        lambda: service.put(BOSS, "a", b"2"),
        lambda: service.create_version(BOSS, "a", 9, b"2"),
        lambda: service.activate(BOSS, "a", 1),
        lambda: service.delete(BOSS, "a"),
        lambda: service.delete_version(BOSS, "a", 1),
        lambda: service.upkeep.recovery(BOSS, calls.RecoveryRequest(bytes(31) + b"\x09")),
        lambda: service.upkeep.rekey(BOSS, calls.RekeyRequest(bytes(32))),
        lambda: service.upkeep.backup(BOSS, calls.ListRequest()),
        lambda: service.fetch(BOSS, fetch(item("a"))),
    ):
        with pytest.raises(AuditUnavailable):
            call()
    assert gate.vault.snapshot is before
    assert not gate.vault.recovery
    assert not gate.vault.keks
    with pytest.raises(AccessDenied):
        service.get(NOBODY, "a", 0)
    with pytest.raises(ValueUnchanged):
        service.get_changed(BOSS, "a", 1)


def item(name: str, version: int = 0, have: str = "", mac: bytes = b"") -> calls.FetchItem:
    return calls.FetchItem(name, version, have, mac)


PUBLIC = bytes(31) + b"\x09"


def fetch(*items: calls.FetchItem, key: bytes = b"") -> calls.FetchRequest:
    return calls.FetchRequest(key, items)


def mac(key: bytes, value: bytes) -> bytes:
    return hmac.digest(key, value, hashlib.sha256)


def test_fetch_answers_in_order_with_tags(gate: Gate) -> None:
    gate.service.put(BOSS, "a", b"1")
    gate.service.put(BOSS, "a", b"2")
    gate.service.put(BOSS, "z", b"")
    gate.recorded()
    request = fetch(item("a"), item("b"), item("a", 2), item("a", 9), item("z"), item("a"))
    answers = gate.service.fetch(READER, request)
    assert [(x.name, x.status, x.version, x.value) for x in answers] == [
        ("a", 200, 1, b"1"),
        ("b", 403, 0, b""),
        ("a", 200, 2, b"2"),
        ("a", 404, 0, b""),
        ("z", 403, 0, b""),
        ("a", 200, 1, b"1"),
    ]
    assert answers[0].tag == gate.vault.tag("a", 1, b"1") == answers[5].tag != answers[2].tag
    assert not answers[1].tag
    assert gate.recorded() == [
        ("get", True, "a", None),
        ("get", False, "b", None),
        ("get", True, "a", 2),
        ("get", False, "z", None),
        ("get", True, "a", None),
    ]


def test_fetch_is_unchanged_by_tag_or_by_mac(gate: Gate) -> None:
    gate.service.put(BOSS, "a", b"1")
    gate.recorded()
    tag, key = gate.vault.tag("a", 1, b"1"), bytes(32)

    def status(*arguments: object, key: bytes = b"") -> int:
        answer = gate.service.fetch(BOSS, fetch(item("a", 0, *arguments), key=key))[0]  # type: ignore[arg-type]
        assert answer.tag == tag
        assert answer.version == 1
        assert (answer.value == b"1") == (answer.status == 200)
        return answer.status

    assert status(tag) == 304
    assert status("", mac(key, b"1"), key=key) == 304
    assert status(tag, mac(key, b"1"), key=key) == 304
    assert status("other", mac(key, b"1"), key=key) == 304
    assert gate.recorded() == []
    assert status("other") == 200
    assert status("\u00e9") == 200
    assert status(tag, mac(key, b"0"), key=key) == 200
    assert status(tag, mac(b"another", b"1"), key=key) == 200
    assert len(gate.recorded()) == 4
    assert gate.service.fetch(NOBODY, fetch(item("a", 0, tag)))[0].status == 403


def test_fetch_has_bounds(gate: Gate) -> None:
    gate.service.put(BOSS, "a", bytes(1 << 20))
    with pytest.raises(wire.BadRequestError):
        gate.service.fetch(BOSS, fetch(*[item("b")] * (MAX_FETCH + 1)))
    with pytest.raises(Rejected):
        gate.service.fetch(BOSS, fetch(*[item("a")] * 65))
    assert gate.service.fetch(BOSS, fetch()) == []


UPKEEP: list[tuple[str, Callable[[Upkeep, Caller], str]]] = [
    ("status", lambda upkeep, caller: upkeep.status(caller, calls.ListRequest())),
    ("recovery", lambda upkeep, caller: upkeep.recovery(caller, calls.RecoveryRequest(PUBLIC))),
    ("rekey", lambda upkeep, caller: upkeep.rekey(caller, calls.RekeyRequest(bytes(32)))),
    ("backup", lambda upkeep, caller: upkeep.backup(caller, calls.ListRequest())),
    ("check", lambda upkeep, caller: upkeep.check(caller, calls.ListRequest())),
]


@pytest.mark.parametrize(("action", "call"), UPKEEP)
def test_only_root_minds_the_vault(
    gate: Gate, action: str, call: Callable[[Upkeep, Caller], str]
) -> None:
    for caller in (READER, BOXED, NOBODY, Caller(Principal("h", user="admin"), (EVERYTHING,))):
        with pytest.raises(AccessDenied):
            call(gate.service.upkeep, caller)
        assert gate.recorded() == [(action, False, None, None)]
    assert not gate.vault.recovery
    assert not gate.vault.keks
    assert json.loads(call(gate.service.upkeep, BOSS)) is not None
    assert gate.recorded() == ([] if action == "status" else [(action, True, None, None)])


def all_errors(kind: type[LegerdError] = LegerdError) -> Iterator[type[LegerdError]]:
    for child in kind.__subclasses__():
        yield child
        yield from all_errors(child)


def test_every_error_has_its_status() -> None:
    assert set(all_errors()) == set(STATUSES)


def test_a_full_disk_is_an_internal_error_and_passes(served: Served) -> None:
    value = base64.b64encode(b"v").decode()
    served.vault.broken = True
    assert served.call("put", {"Name": "a", "Value": value}) == (500, "internal error\n")
    assert served.call("list") == (200, None)
    served.vault.broken = False
    assert served.call("put", {"Name": "a", "Value": value}) == (200, 1)


def test_fetch_over_http(served: Served) -> None:
    served.call("put", {"Name": "a", "Value": base64.b64encode(b"v").decode()})
    status, answer = served.call("leger/fetch", {"Secrets": [{"Name": "a"}, {"Name": "<b>"}]})
    assert status == 200
    assert answer["Secrets"][0] == {
        "Name": "a",
        "Status": 200,
        "Version": 1,
        "Value": "dg==",
        "Tag": served.vault.tag("a", 1, b"v"),
    }
    assert answer["Secrets"][1] == {
        "Name": "<b>", "Status": 404, "Version": 0, "Value": "", "Tag": ""
    }  # fmt: skip
    assert served.call("leger/fetch", {}) == (200, {"Secrets": []})
    assert served.call("leger/fetch", {"Secrets": 5}) == (400, "bad request\n")


def test_upkeep_over_http(served: Served) -> None:
    public = base64.b64encode(PUBLIC).decode()
    state = {"Recovery": "", "Secrets": 0, "Expiring": [], "Key": "", "Keys": []}
    assert served.call("leger/status") == (200, state)
    assert served.call("leger/recovery", {"PublicKey": public}) == (200, {})
    state["Recovery"] = served.vault.recovery
    assert served.call("leger/status") == (200, state)
    assert served.call("leger/recovery", {"PublicKey": ""}) == (500, "internal error\n")
    assert served.call("leger/rekey", {"Key": "MTIz"}) == (500, "internal error\n")
    assert served.call("leger/check") == (200, {"Secrets": 0, "Problem": ""})
    served.vault.broken = True
    assert served.call("leger/check")[1]["Problem"] == "a record is not authentic"
    assert served.call("leger/backup")[1] == {
        "Commit": 0,
        "Recovery": served.vault.recovery,
        "Sequence": base64.b64encode(b"sequence").decode(),
        "Database": base64.b64encode(b"database").decode(),
    }
