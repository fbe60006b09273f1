"""Random sequences of calls: the store against a model of setec, closed and opened in between."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from legerd.changes import Edit
from legerd.errors import InvalidVersion, NotFound, Rejected, VersionClaimed
from legerd.keys import Kek
from legerd.store import Store
from legerd.values import NOTHING_SAID, Description
from tests.legerd.model import LAST, Answer, Model

KEK = Kek.of(bytes(range(32)))
STATUS = {NotFound: 404, InvalidVersion: 400, VersionClaimed: 412, Rejected: 500}

NAMES = st.sampled_from(["a", "b", "prod/é\n*", "", "_internal/x", "_internal"])
VALUES = st.sampled_from([b"", b"one", b"two", bytes(300)])
VERSIONS = st.sampled_from([0, 1, 2, 3, 4, 7, LAST - 1, LAST])

EDITS = st.builds(
    Edit,
    st.none() | st.sampled_from(["", "text"]),
    st.none() | st.sampled_from([{}, {"team": "shop"}]),
    st.none() | st.sampled_from([0.0, 2e9]),
)


def answer(call: Callable[[], object]) -> Answer:
    """What a server would make of what the store does."""
    try:
        result = call()
    except tuple(STATUS) as error:
        return STATUS[type(error)], None
    return 200, {} if result is None else result


class StoreAgainstModel(RuleBasedStateMachine):
    """Two stores, one real."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="leger-model-"))
        self.store = Store.open(self.folder, KEK, create=True)
        self.model = Model()
        self.said: dict[str, Description] = {}

    @rule(name=NAMES, value=VALUES)
    def put(self, name: str, value: bytes) -> None:
        expected = self.model.put(name, value)
        assert answer(lambda: self.store.put(name, value, "me")) == expected

    @rule(name=NAMES, version=VERSIONS, value=VALUES)
    def create_version(self, name: str, version: int, value: bytes) -> None:
        expected = self.model.create_version(name, version, value)
        assert answer(lambda: self.store.create_version(name, version, value, "me")) == expected

    @rule(name=NAMES, version=VERSIONS)
    def activate(self, name: str, version: int) -> None:
        expected = self.model.activate(name, version)
        assert answer(lambda: self.store.activate(name, version)) == expected

    @rule(name=NAMES)
    def delete(self, name: str) -> None:
        expected = self.model.delete(name)
        assert answer(lambda: self.store.delete(name)) == expected
        if expected[0] == 200:
            self.said.pop(name, None)

    @rule(name=NAMES, version=VERSIONS)
    def delete_version(self, name: str, version: int) -> None:
        expected = self.model.delete_version(name, version)
        assert answer(lambda: self.store.delete_version(name, version)) == expected

    @rule(name=NAMES, edit=EDITS)
    def describe(self, name: str, edit: Edit) -> None:
        if name in self.model.secrets and not name.startswith("_internal/"):
            self.said[name] = edit.applied(self.said.get(name, NOTHING_SAID))
            self.store.describe(name, edit)
        else:
            assert answer(lambda: self.store.describe(name, edit))[0] in (404, 500)

    @rule(data_key=st.booleans())
    def renew(self, data_key: bool) -> None:
        self.store.renew(data_key=data_key)

    @rule()
    def go_on_with_a_copy(self) -> None:
        copy = self.store.copy()
        self.store.close()
        (self.folder / "secrets.db").write_bytes(copy.database)
        (self.folder / "sequence").write_bytes(copy.sequence)
        self.store = Store.open(self.folder, KEK)

    @rule()
    def check(self) -> None:
        self.store.verify()

    @rule()
    def reopen(self) -> None:
        self.store.close()
        self.store = Store.open(self.folder, KEK)

    @invariant()
    def snapshot_is_what_the_model_holds(self) -> None:
        snapshot = self.store.snapshot
        assert list(snapshot) == sorted(self.model.secrets, key=str.encode)
        assert len(snapshot) == len(self.model.secrets)
        for name, entry in self.model.secrets.items():
            secret = snapshot[name]
            values = {number: found.value.reveal() for number, found in secret.versions.items()}
            assert (values, secret.active) == (entry.versions, entry.active)
            assert (secret.latest, secret.deleted) == (entry.latest, entry.deleted)
            assert secret.about == self.said.get(name, NOTHING_SAID)

    def teardown(self) -> None:
        self.store.close()
        shutil.rmtree(self.folder)


TestStoreAgainstModel = StoreAgainstModel.TestCase
TestStoreAgainstModel.settings = settings(
    max_examples=40,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
