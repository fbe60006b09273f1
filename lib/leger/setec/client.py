"""setec's API, one call each: what programs use that manage secrets.

Programs that use secrets want a Store, which needs no server once it has them.
"""

from __future__ import annotations

import base64
import json
import ssl
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any, TypeVar

from leger.secretvalue import SecretValue
from leger.setec.errors import (
    AccessDeniedError,
    AnswerError,
    NotFoundError,
    UnreachableError,
    ValueNotChangedError,
    VersionClaimedError,
)
from leger.setec.transport import Server, post
from leger.setec.values import Info, Value

_SECONDS = 30.0
_Parsed = TypeVar("_Parsed")
_ERRORS = {
    HTTPStatus.NOT_FOUND: (NotFoundError, "no such secret or version"),
    HTTPStatus.FORBIDDEN: (AccessDeniedError, "access denied"),
    HTTPStatus.NOT_MODIFIED: (ValueNotChangedError, "the value has not changed"),
    HTTPStatus.PRECONDITION_FAILED: (VersionClaimedError, "the version is already claimed"),
}


class Client:
    """A setec server at `server`: http(s)://HOST:PORT, unix:PATH, or the Path of its socket.

    `timeout` (seconds) bounds a whole call; one that is given to a call can only shorten it.
    Finding the host's address alone is not bounded. All calls raise AccessDeniedError,
    UnreachableError, and AnswerError for what setec's API does not name.
    """

    def __init__(
        self,
        server: str | Path,
        *,
        timeout: float = _SECONDS,
        context: ssl.SSLContext | None = None,
    ) -> None:
        self.server = Server.parse(server)
        self.timeout = timeout
        self._context = context

    def __repr__(self) -> str:
        return f"Client({str(self.server)!r})"

    def list(self, *, timeout: float | None = None) -> list[Info]:
        """Every secret whose info the caller may see, by name."""
        return self._call("list", {}, _infos, timeout)

    def get(self, name: str, *, timeout: float | None = None) -> Value:
        """The active version of a secret; NotFoundError."""
        return self.get_version(name, 0, timeout=timeout)

    def get_if_changed(self, name: str, old_version: int, *, timeout: float | None = None) -> Value:
        """The active version; ValueNotChangedError if it is `old_version`, NotFoundError.

        With 0 for `old_version` it is the same as `get`.
        """
        body = {"Name": name, "Version": old_version, "UpdateIfChanged": old_version != 0}
        return self._call("get", body, _value, timeout)

    def get_version(self, name: str, version: int, *, timeout: float | None = None) -> Value:
        """One version, the active one for 0; NotFoundError."""
        body = {"Name": name, "Version": version, "UpdateIfChanged": False}
        return self._call("get", body, _value, timeout)

    def info(self, name: str, *, timeout: float | None = None) -> Info:
        """The versions of a secret; NotFoundError."""
        return self._call("info", {"Name": name}, _info, timeout)

    def put(self, name: str, value: SecretValue, *, timeout: float | None = None) -> int:
        """Store `value`, inactive unless it is the first; the version that holds it.

        A value equal to the latest one makes no new version.
        """
        return self._call("put", {"Name": name, "Value": _encoded(value)}, _number, timeout)

    def create_version(
        self, name: str, version: int, value: SecretValue, *, timeout: float | None = None
    ) -> None:
        """Store `value` as `version` and activate it; VersionClaimedError if it ever was."""
        body = {"Name": name, "Version": version, "Value": _encoded(value)}
        self._call("create-version", body, _nothing, timeout)

    def activate(self, name: str, version: int, *, timeout: float | None = None) -> None:
        """Make `version` the active one; NotFoundError."""
        self._call("activate", {"Name": name, "Version": version}, _nothing, timeout)

    def delete(self, name: str, *, timeout: float | None = None) -> None:
        """Delete a secret with all its versions; one that is not there is none to delete."""
        self._call("delete", {"Name": name}, _nothing, timeout)

    def delete_version(self, name: str, version: int, *, timeout: float | None = None) -> None:
        """Delete one version for ever; NotFoundError, AnswerError for the active one."""
        self._call("delete-version", {"Name": name, "Version": version}, _nothing, timeout)

    def _call(
        self,
        call: str,
        body: dict[str, object],
        parse: Callable[[Any], _Parsed],
        timeout: float | None,
    ) -> _Parsed:
        seconds = self.timeout if timeout is None else min(timeout, self.timeout)
        name = str(body.get("Name", ""))
        what = f"{self.server}: {call} {name}".rstrip()
        if seconds <= 0:
            raise UnreachableError(f"{what}: no time left")
        data = json.dumps(body).encode()
        status, answer = post(
            self.server, f"/api/{call}", data, seconds=seconds, context=self._context
        )
        if status in _ERRORS:
            kind, words = _ERRORS[HTTPStatus(status)]
            raise kind(f"{what}: {words}")
        if status != HTTPStatus.OK:
            said = answer[:200].decode(errors="replace").strip()
            raise AnswerError(f"{what}: status {status}: {said}", status)
        try:
            return parse(json.loads(answer))
        except (ValueError, TypeError, KeyError, RecursionError):
            # What was answered may hold a value: neither it nor the error is told.
            raise AnswerError(f"{what}: an answer that is not setec's", status) from None


def _encoded(value: SecretValue) -> str:
    return base64.b64encode(value.reveal()).decode()


def _nothing(raw: object) -> None:
    """Whatever a call answers that has nothing to say."""


def _number(raw: Any) -> int:
    if isinstance(raw, bool) or not isinstance(raw, int):
        raise TypeError
    return raw


def _value(raw: Any) -> Value:
    text = raw["Value"] or ""
    return Value(SecretValue(base64.b64decode(text, validate=True)), _number(raw["Version"]))


def _info(raw: Any) -> Info:
    versions = tuple(_number(version) for version in raw["Versions"] or ())
    return Info(str(raw["Name"]), versions, _number(raw["ActiveVersion"]))


def _infos(raw: Any) -> list[Info]:
    return [_info(item) for item in raw or ()]
