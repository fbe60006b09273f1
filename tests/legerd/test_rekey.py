"""legerd rekey: root gives a running legerd a new sealed key; broken off anywhere, it starts."""

from __future__ import annotations

import base64
import contextlib
import os
import random
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from leger.errors import LegerError

from legerd import keygen, rekey, rootsocket
from legerd.errors import KeyUnavailable, LegerdError
from legerd.keys import Kek
from legerd.store import Store
from tests.legerd.daemon import Daemon, unix_daemon
from tests.legerd.test_keys import fake_creds

FETCH = b'{"Secrets":[{"Name":"a"}]}'


class BrokenOffError(BaseException):
    """The helper was killed: nothing of it runs on."""


class Host:
    """A host with a sealed key, on which systemd starts legerd with it."""

    def __init__(self, folder: Path) -> None:
        self.keys = folder / "keys"
        self.state = folder / "state"
        self._folder = folder
        self._running = contextlib.ExitStack()
        self.steps = 0
        self.last = -1

    @property
    def sealed(self) -> Kek:
        """The key that is in place."""
        return Kek.of(base64.b64decode((self.keys / "kek.cred").read_bytes()))

    def start(self) -> Daemon:
        """Start legerd anew, with the key that is in place."""
        self.stop()
        (self._folder / "s").unlink(missing_ok=True)
        key = self._folder / "credential"
        key.write_bytes(base64.b64decode((self.keys / "kek.cred").read_bytes()))
        key.chmod(0o600)
        return self._running.enter_context(unix_daemon(self._folder, "--key-file", str(key)))

    def stop(self) -> None:
        """Stop legerd and unlink the socket of before."""
        self._running.close()
        for name in ("s", "n"):
            (self._folder / name).unlink(missing_ok=True)

    def step(self) -> None:
        """Break off here if it is the last step that the helper is to make."""
        self.steps += 1
        if self.steps - 1 == self.last:
            raise BrokenOffError

    def ask(self, call: str, fields: Mapping[str, object]) -> Mapping[str, Any]:
        self.step()
        answer = rootsocket.ask(call, fields)
        self.step()
        return answer

    def restart(self) -> None:
        self.step()
        self.start()
        self.step()

    def rekey(self) -> str:
        return rekey.run(self.ask, self.restart, self.keys)


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    if os.geteuid():
        pytest.skip("legerd answers root only")
    script = 'case "$1" in encrypt) base64;; decrypt) base64 -d;; esac'
    fake_creds(tmp_path / "bin", monkeypatch, script)
    (tmp_path / "state").mkdir(mode=0o700)
    monkeypatch.setattr(rootsocket, "PATH", tmp_path / "s")
    host = Host(tmp_path)
    keygen.run(host.keys, host.state)
    store = Store.open(host.state, host.sealed)
    store.put("a", b"value", "me")
    store.close()
    yield host
    host.stop()


def test_a_running_legerd_gets_a_new_key(host: Host):
    before, legerd = host.sealed, host.start()
    told = legerd.request("POST", "/api/leger/fetch", FETCH)[1]
    said = host.rekey()
    assert host.sealed.id.hex() in said
    assert host.sealed.id != before.id
    legerd = host.start()
    assert legerd.request("POST", "/api/leger/fetch", FETCH)[1] == told
    assert rootsocket.ask("status")["Keys"] == [host.sealed.id.hex()]
    host.stop()
    assert [path.name for path in host.keys.iterdir()] == ["kek.cred"]
    with pytest.raises(KeyUnavailable):
        Store.open(host.state, before)


def test_broken_off_at_any_step_legerd_starts_and_the_next_run_ends_it(
    host: Host, monkeypatch: pytest.MonkeyPatch, rng: random.Random, soak: bool
):
    for name in ("write_file", "sync_folder"):
        monkeypatch.setattr(rekey.disk, name, stepping(host, getattr(rekey.disk, name)))
    host.start()
    host.rekey()
    count, host.steps = host.steps, 0
    assert count > 12
    for last in range(count) if soak else sorted(rng.sample(range(count), 6)):
        host.steps, host.last = 0, last
        with contextlib.suppress(BrokenOffError):
            host.rekey()
        assert host.steps == last + 1
        host.last = -1
        assert host.start().request("POST", "/api/leger/fetch", FETCH)[0] == 200
    host.rekey()
    assert [path.name for path in host.keys.iterdir()] == ["kek.cred"]
    assert rootsocket.ask("status")["Keys"] == [host.sealed.id.hex()]


def stepping(host: Host, call: Callable[..., None]) -> Callable[..., None]:
    def stepped(*arguments: Any, **keywords: Any) -> None:
        host.step()
        call(*arguments, **keywords)
        host.step()

    return stepped


def test_a_key_with_which_legerd_does_not_start_is_taken_back(host: Host):
    before = host.sealed
    host.start()

    def restart() -> None:
        if host.sealed.id != before.id:
            raise LegerError("Job for legerd.service failed")
        host.start()

    with pytest.raises(LegerdError, match="the key before is back") as caught:
        rekey.run(host.ask, restart, host.keys)
    assert "Job for legerd.service failed" in str(caught.value)
    assert host.sealed.id == before.id
    assert host.start().request("POST", "/api/leger/fetch", FETCH)[0] == 200
    host.rekey()
    assert rootsocket.ask("status")["Keys"] == [host.sealed.id.hex()]


def test_a_legerd_that_uses_another_key_is_left_alone(host: Host):
    host.start()
    (host.keys / "kek.cred").write_bytes(base64.b64encode(bytes(32)))
    with pytest.raises(KeyUnavailable, match="legerd was started with key") as caught:
        host.rekey()
    assert "--new-key-file" in caught.value.hint
    assert [path.name for path in host.keys.iterdir()] == ["kek.cred"]
