"""legerd's local API: setec's calls over the unix socket of the caller's kind."""

from __future__ import annotations

import base64
import http.client
import json
import os
import pwd
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from leger.errors import LegerError, NotAuthorisedError
from leger.secretvalue import SecretValue

ROOT_SOCKET = Path("/run/legerd/root.sock")
USERS_SOCKET = Path("/run/legerd/users.sock")
_HEADERS = {"Content-Type": "application/json", "Sec-X-Tailscale-No-Browsers": "setec"}
_SECONDS = 30.0
_MAX_ANSWER = 256 << 20
_AT_ONCE = 100  # as many of the largest that Podman takes fit into one answer


class UnreachableError(LegerError):
    """legerd does not answer."""


class NotFoundError(LegerError):
    """legerd has no such secret or version."""


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

    All raise UnreachableError, NotAuthorisedError (with the policy lines to ask for),
    NotFoundError, or LegerError with legerd's word.
    """

    def __init__(self, path: Path | None = None) -> None:
        given = os.environ.get("LEGERD_SOCKET", "")
        own = ROOT_SOCKET if os.getuid() == 0 else USERS_SOCKET
        self.path = path or (Path(given) if given else own)

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

    def put(self, name: str, value: SecretValue) -> int:
        """Store the value; the version that holds it (the latest one if it is the same)."""
        body = {"Name": name, "Value": base64.b64encode(value.reveal()).decode()}
        return int(self._call("put", "put", name, body))

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

    def recovery_key(self) -> str | None:
        """The recovery key's short name, "" if there is none; None if legerd does not tell."""
        try:
            raw = self._call("leger/status", "info", "*", {})
        except LegerError:
            return None
        return str(raw.get("Recovery", "")) if isinstance(raw, dict) else None

    def _call(self, call: str, action: str, name: str, body: Mapping[str, object]) -> Any:
        status, data = self._post(f"/api/{call}", json.dumps(body).encode())
        if status == http.client.OK:
            try:
                return json.loads(data)
            except ValueError as error:
                raise LegerError(f"legerd: {call}: an answer that is not JSON") from error
        if status == http.client.FORBIDDEN:
            raise _denied(action, name)
        if status == http.client.NOT_FOUND:
            version = body.get("Version")
            what = f"version {version} of {name}" if version else name
            raise NotFoundError(f"legerd has no secret {what}", hint="leger secrets list")
        said = data.decode(errors="replace").strip()[:200] or str(status)
        raise LegerError(f"legerd: {call} {name}: {said}", hint="journalctl -u legerd says more")

    def _post(self, path: str, body: bytes) -> tuple[int, bytes]:
        connection = _Connection(self.path)
        try:
            connection.request("POST", path, body, _HEADERS)
            answer = connection.getresponse()
            return answer.status, answer.read(_MAX_ANSWER)
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise UnreachableError(
                f"legerd does not answer on {self.path}: {reason}",
                hint="systemctl status legerd.socket legerd.service",
            ) from error
        finally:
            connection.close()


class _Connection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=_SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


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
