"""What Podman holds, read by its command; what changed, written by its REST interface."""

from __future__ import annotations

import json
import os
import signal

from leger_hook.decide import refuse_foreign
from leger_hook.http import connect, quoted, request
from leger_hook.outcomes import BrokenOff, Failure, StoreError, StoreSetAside
from leger_hook.secrets import Change, Part, Stored
from leger_hook.store import drop_stale, make_durable, set_aside

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from leger_hook.options import Options

FORMAT = '{{json .Spec.Name}} {{json .Spec.Labels}} {{printf "%x" .SecretData}}'


class Inspection:
    """`podman secret inspect` at work; its output goes to memory that no path leads to."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = frozenset(names)
        self._output = os.memfd_create("inspection")
        environment = {key: text for key, text in os.environ.items() if key != "NOTIFY_SOCKET"}
        command = ["podman", "secret", "inspect", "--showsecret", "--format", FORMAT, "--"]
        actions = [
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_DUP2, self._output, 1),
            (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
        ]
        try:
            self._child = os.posix_spawnp(
                "podman", [*command, *names], environment, file_actions=actions
            )
        except OSError as error:
            raise Failure(f"podman cannot be run: {error.strerror}; install podman") from error

    def stored(self, secrets: Mapping[str, list[Part]]) -> dict[str, Stored]:
        """Those that are there with their values; the exit status and the messages vary."""
        try:
            os.waitpid(self._child, 0)
        except BaseException:
            os.kill(self._child, signal.SIGKILL)
            raise
        found = {}
        with open(self._output, "rb") as file:
            file.seek(0)
            text = file.read().decode()
        decoder = json.JSONDecoder()
        for line in filter(None, text.split("\n")):
            name, end = decoder.raw_decode(line)
            labels, end = decoder.raw_decode(line, end + 1)
            if name in self._names:  # podman also takes the beginning of an id for a name
                data = bytes.fromhex(line[end + 1 :])
                found[name] = Stored(labels or {}, data, composed=bool(secrets[name][0].key))
        return found


class Podman:
    """Podman's secrets by REST on its socket; our lock is held meanwhile."""

    def __init__(self, options: Options) -> None:
        self._options = options
        try:
            self._connection = connect(options.podman)
        except OSError as error:
            raise Failure(
                f"{options.podman}: podman cannot be reached: {error.strerror};"
                f" run: {options.systemctl} start podman.socket"
            ) from error

    def store(self, changes: Sequence[Change]) -> None:
        """Write `changes` and make them durable; StoreSetAside calls for a second run."""
        names = [change.name for change in changes]
        try:
            self._write(changes)
            entry = self._call("GET", f"secrets/{quoted(names[0])}/json")
        except StoreError as error:
            folder = str(self._call("GET", "info")["store"]["graphRoot"]) + "/secrets"
            set_aside(folder, str(error))
            raise StoreSetAside from error
        path = (entry["Spec"]["Driver"].get("Options") or {}).get("path")
        if path:  # other drivers than "file" keep their own house
            drop_stale(os.path.dirname(path), names)
            make_durable(path)

    def _write(self, changes: Sequence[Change]) -> None:
        listed = {
            entry["Spec"]["Name"]: entry["Spec"].get("Labels") or {}
            for entry in self._call("GET", "secrets/json")
        }
        there = [change.name for change in changes if change.name in listed]
        refuse_foreign({name: listed[name] for name in there})
        secrets = self._options.secrets
        held = Inspection(there).stored(secrets) if there else {}
        for change in changes:
            if not change.is_done(held.get(change.name)):
                labels = quoted(json.dumps(change.labels))
                path = f"secrets/create?name={quoted(change.name)}&replace=true&labels={labels}"
                self._call("POST", path, change.value)

    def _call(self, method: str, path: str, body: bytes | None = None) -> Any:
        headers = {"Content-Type": "application/octet-stream"} if body else {}
        try:
            status, answer = request(
                self._connection, method, f"/v5.0.0/libpod/{path}", body, headers
            )
            content = json.loads(answer)
        except (BrokenOff, ValueError) as error:
            raise Failure(
                f"{self._options.podman}: podman broke off;"
                f" run: {self._options.systemctl} status podman.service"
            ) from error
        if status >= 400:
            raise StoreError(str(content.get("message", status)))
        return content
