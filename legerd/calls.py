"""What each call takes, in setec's names; legerd.wire reads it from JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class NameRequest:
    """info and delete."""

    Name: str = ""


@dataclass(frozen=True)
class VersionRequest:
    """activate and delete-version."""

    Name: str = ""
    Version: int = 0


@dataclass(frozen=True)
class GetRequest:
    """get: `Version` 0 is the active one."""

    Name: str = ""
    Version: int = 0
    UpdateIfChanged: bool = False


@dataclass(frozen=True)
class ListRequest:
    """What has no fields: list, status, backup and check."""


@dataclass(frozen=True)
class PutRequest:
    """put: a name and its value."""

    Name: str = ""
    Value: bytes = b""


@dataclass(frozen=True)
class CreateVersionRequest:
    """create-version: a name, the version to make, its value."""

    Name: str = ""
    Version: int = 0
    Value: bytes = b""


@dataclass(frozen=True)
class FetchItem:
    """One secret of a fetch: `Have` is the tag that the caller holds, `Mac` proves its value."""

    Name: str = ""
    Version: int = 0
    Have: str = ""
    Mac: bytes = b""


@dataclass(frozen=True)
class FetchRequest:
    """fetch: many secrets at once; `Key` is the key of the macs."""

    Key: bytes = b""
    Secrets: tuple[FetchItem, ...] = ()


@dataclass(frozen=True)
class WatchRequest:
    """watch: answer once an active version is another than here; `Seconds` 0 means 60."""

    Secrets: tuple[FetchItem, ...] = ()
    Seconds: int = 0


@dataclass(frozen=True)
class DescribeRequest:
    """describe: what is not given stays as it is, null takes it away; `Expires` is RFC 3339."""

    Name: str = ""
    Description: str | None = None
    Labels: Mapping[str, str] | None = None
    Expires: str | None = None


@dataclass(frozen=True)
class RecoveryRequest:
    """recovery: the public half of a recovery key."""

    PublicKey: bytes = b""


@dataclass(frozen=True)
class RekeyRequest:
    """rekey: a key-encryption key to add; without one, encrypt afresh, with a new data key or not.

    `Key` has 32 bytes. Encrypting afresh drops every other key-encryption key.
    """

    Key: bytes = b""
    DataKey: bool = False
