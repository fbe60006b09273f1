"""What Podman holds, read by its command; what changed, written by its REST interface."""

from __future__ import annotations

import json

from leger_hook.decide import refuse_foreign
from leger_hook.http import connect, quoted, request
from leger_hook.inspection import Inspection
from leger_hook.outcomes import BrokenOff, Failure, StoreError, StoreSetAside
from leger_hook.secrets import Change, Stored
from leger_hook.store import beside, drop_stale, make_durable, set_aside

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from leger_hook.options import Options, Part


def held(secrets: Mapping[str, list[Part]], inspection: Inspection) -> dict[str, Stored]:
    """The wanted secrets that are there together with their values."""
    decoder = json.JSONDecoder()
    found = {}
    for line in filter(None, inspection.output().split("\n")):
        name, end = decoder.raw_decode(line)
        labels, end = decoder.raw_decode(line, end + 1)
        driver, end = decoder.raw_decode(line, end + 1)
        if name in secrets:  # podman also takes the beginning of an id for a name
            data = bytes.fromhex(line[end + 1 :])
            composed = bool(secrets[name][0].key)
            found[name] = Stored(labels or {}, data, folder_of(driver), composed=composed)
    return found


def folder_of(driver: Mapping[str, Any]) -> str:
    """The folder of secretsdata.json; "" for other drivers than "file", which see to their own."""
    return str((driver.get("Options") or {}).get("path", ""))


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
            set_aside(self._folder(), str(error))
            raise StoreSetAside("podman's secrets broke twice; run: podman secret ls") from error
        values = folder_of(entry["Spec"]["Driver"])
        if values:
            metadata = beside(values) or f"{self._folder()}/secrets.json"
            drop_stale(metadata, names)
            make_durable(metadata, values)

    def _folder(self) -> str:
        """Where secrets.json lies; it costs 0.1 s to ask."""
        return str(self._call("GET", "info")["store"]["graphRoot"]) + "/secrets"

    def _write(self, changes: Sequence[Change]) -> None:
        listed = {
            entry["Spec"]["Name"]: entry["Spec"].get("Labels") or {}
            for entry in self._call("GET", "secrets/json")
        }
        there = [change.name for change in changes if change.name in listed]
        refuse_foreign({name: listed[name] for name in there})
        now = held(self._options.secrets, Inspection(there)) if there else {}
        for change in changes:
            if not change.is_done(now.get(change.name)):
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
