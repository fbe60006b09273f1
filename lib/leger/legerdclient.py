"""legerd's API for the command line: setec's calls and Leger's own, by default on this host."""

from __future__ import annotations

import base64
import http.client
import json
import os
import pwd
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from leger.errors import LegerError, NotAuthorisedError
from leger.secrethistory import History, Made
from leger.secretvalue import SecretValue
from leger.setec import errors as setec
from leger.setec import transport
from leger.setec.transport import Server
from leger.vaultstatus import VaultStatus

ROOT_SOCKET = Path("/run/legerd/root.sock")
USERS_SOCKET = Path("/run/legerd/users.sock")
_SECONDS = 30.0
#: What setec's server answers to a call that it does not know.
_UNKNOWN = b"invalid method"
_REMOTE = "is the address right, and this host on the tailnet? tailscale status"
_AT_ONCE = 100  # as many of the largest that Podman takes fit into one answer


class UnreachableError(LegerError):
    """legerd does not answer."""


class NotFoundError(LegerError):
    """legerd has no such secret or version."""


class UnknownCallError(LegerError):
    """The server is one of setec's, which does not know Leger's own calls."""


@dataclass(frozen=True)
class Info:
    """What legerd tells of a secret besides its values."""

    name: str
    versions: tuple[int, ...]
    active: int

    @classmethod
    def parse(cls, raw: Mapping[str, Any]) -> Self:
        """Read setec's SecretInfo."""
        return cls(str(raw["Name"]), tuple(raw["Versions"]), int(raw["ActiveVersion"]))


class Client:
    """The calls of one caller; each opens a connection of its own.

    They go to the socket of the caller's kind, to the one at `path`, or to the setec server at
    `server` (a URL, or unix:PATH). All raise UnreachableError, NotAuthorisedError (with the rule
    to ask for), NotFoundError, or LegerError with the server's word.
    """

    def __init__(self, path: Path | None = None, *, server: str = "") -> None:
        given = os.environ.get("LEGERD_SOCKET", "")
        own = ROOT_SOCKET if os.getuid() == 0 else USERS_SOCKET
        self.server = Server.parse(server or path or (Path(given) if given else own))

    def list(self) -> list[Info]:
        """Every secret whose info the caller may see, by name."""
        return [Info.parse(raw) for raw in self._call("list", "info", "*", {}) or ()]

    def info(self, name: str) -> Info:
        """The versions of a secret."""
        return Info.parse(self._call("info", "info", name, {"Name": name}))

    def get(self, name: str, version: int = 0) -> tuple[SecretValue, int]:
        """Value and number of a version, of the active one for 0."""
        raw = self._call("get", "get", name, {"Name": name, "Version": version})
        return SecretValue(base64.b64decode(raw["Value"])), int(raw["Version"])

    def get_changed(self, name: str, version: int) -> tuple[SecretValue, int] | None:
        """Value and number of the active version; None if that is `version`."""
        body = {"Name": name, "Version": version, "UpdateIfChanged": True}
        raw = self._call("get", "get", name, body)
        return raw and (SecretValue(base64.b64decode(raw["Value"])), int(raw["Version"]))

    def history(self, name: str) -> History:
        """Who made the versions and when, and what is said of the secret.

        A server of setec's knows of the versions only.
        """
        try:
            return History.parse(self._call("leger/history", "info", name, {"Name": name}))
        except UnknownCallError:
            info = self.info(name)
            made = tuple(Made(version, "", "") for version in info.versions)
            return History(info.name, info.active, made)

    def describe(self, name: str, said: Mapping[str, object]) -> None:
        """Say something of a secret; `said` is legerd's Description, Labels and Expires."""
        self._call("leger/describe", "put", name, {"Name": name, **said})

    def put(self, name: str, value: SecretValue) -> int:
        """Store the value; the version that holds it (the latest one if it is the same)."""
        body = {"Name": name, "Value": base64.b64encode(value.reveal()).decode()}
        return int(self._call("put", "put", name, body))

    def create_version(self, name: str, version: int, value: SecretValue) -> None:
        """Store the value as `version`, which must never have been, and make it the active one."""
        encoded = base64.b64encode(value.reveal()).decode()
        body = {"Name": name, "Version": version, "Value": encoded}
        self._call("create-version", "create-version", name, body)

    def activate(self, name: str, version: int) -> None:
        """Make a version the active one."""
        self._call("activate", "activate", name, {"Name": name, "Version": version})

    def delete(self, name: str) -> None:
        """Delete a secret with all its versions."""
        self._call("delete", "delete", name, {"Name": name})

    def delete_version(self, name: str, version: int) -> None:
        """Delete one version for ever; legerd refuses the active one."""
        self._call("delete-version", "delete", name, {"Name": name, "Version": version})

    def newer(self, held: Sequence[tuple[str, int, str]]) -> tuple[int, ...]:
        """For each (name, version or 0, tag of the value that is held) what there is instead.

        That is a version; 0 where legerd would hand out the same, has nothing or may not tell.
        """
        found: tuple[int, ...] = ()
        for first in range(0, len(held), _AT_ONCE):
            asked = [
                {"Name": name, "Version": version, "Have": tag}
                for name, version, tag in held[first : first + _AT_ONCE]
            ]
            answers = self._call("leger/fetch", "get", "*", {"Secrets": asked})["Secrets"]
            found += tuple(
                int(one["Version"]) if one["Status"] == http.client.OK else 0 for one in answers
            )
        return found

    def vault(self) -> VaultStatus | None:
        """How the vault is; None if legerd does not tell."""
        try:
            return VaultStatus.parse(self._call("leger/status", "info", "*", {}))
        except (LegerError, KeyError, TypeError):
            return None

    def _call(self, call: str, action: str, name: str, body: Mapping[str, object]) -> Any:
        status, data = self._post(f"/api/{call}", json.dumps(body).encode())
        if status == http.client.OK:
            try:
                return json.loads(data)
            except ValueError as error:
                raise LegerError(f"{self}: {call}: an answer that is not JSON") from error
        if status == http.client.NOT_MODIFIED:
            return None
        raise self._refusal(status, data, call, action, body)

    def _refusal(
        self, status: int, data: bytes, call: str, action: str, body: Mapping[str, object]
    ) -> LegerError:
        """What an answer other than success means, and what mends it."""
        name, version = str(body.get("Name", "")), body.get("Version")
        if status == http.client.FORBIDDEN:
            return self._denied(action, name or "*")
        if status == http.client.NOT_FOUND:
            what = f"version {version} of {name}" if version else name
            return NotFoundError(f"{self} has no secret {what}", hint="leger secrets list")
        if status == http.client.PRECONDITION_FAILED:
            told = f"{self}: {name} has, or once had, a version {version}"
            return LegerError(told, hint=f"leger secrets info {name}")
        if call.startswith("leger/") and data.startswith(_UNKNOWN):
            return UnknownCallError(f"{self} is no legerd: it does not know {call}")
        said = data.decode(errors="replace").strip()[:200] or str(status)
        return LegerError(f"{self}: {call} {name}: {said}", hint=self._more())

    def _post(self, path: str, body: bytes) -> tuple[int, bytes]:
        try:
            return transport.post(self.server, path, body, seconds=_SECONDS, context=None)
        except setec.UnreachableError as error:
            if self.server.path is None:
                raise UnreachableError(str(error), hint=_REMOTE) from error
            reason = str(error).rpartition(": ")[2]
            raise UnreachableError(
                f"legerd does not answer on {self.server.path}: {reason}",
                hint="systemctl status legerd.socket legerd.service",
            ) from error

    def __str__(self) -> str:
        return "legerd" if self.server.path else str(self.server)

    def _more(self) -> str:
        return "journalctl -u legerd says more" if self.server.path else ""

    def _denied(self, action: str, name: str) -> LegerError:
        if self.server.path:
            return _denied(action, name)
        rule = json.dumps({"action": [action], "secret": [name]}, ensure_ascii=False)
        return NotAuthorisedError(
            f"{self} does not allow this node to {action} {name}",
            hint=f"ask for this rule of the capability tailscale.com/cap/secrets: {rule}",
        )


def _denied(action: str, name: str) -> NotAuthorisedError:
    try:
        user = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        user = ""
    who = f"user: {user}" if user else f"uid: {os.getuid()}"
    return NotAuthorisedError(
        f"legerd does not allow {user or os.getuid()} to {action} {name}",
        hint="ask for these lines below rules: in /etc/leger/policy.yaml:\n"
        f"  - {who}\n    action: {action}\n    secret: {json.dumps(name)}",
    )
