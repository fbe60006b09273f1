"""What Podman holds, what legerd answered: values without behaviour."""

from __future__ import annotations

import binascii
import json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from leger_hook.options import Part

SOURCE, VERSION, TAG = "io.leger.source", "io.leger.version", "io.leger.tag"
LABELS = (SOURCE, VERSION, TAG)


class Stored:
    """What Podman holds under one name: labels, data, the value of each key in it, and where."""

    __slots__ = ("data", "folder", "labels", "values")

    def __init__(
        self, labels: Mapping[str, str], data: bytes, folder: str, *, composed: bool
    ) -> None:
        self.labels = labels
        self.data = data
        self.folder = folder
        self.values = decomposed(data) if composed else {"": data}

    def label(self, name: str, key: str) -> str:
        """The label of a part; those of a Kubernetes Secret are JSON objects by key."""
        text = self.labels.get(name, "")
        return str(json_object(text).get(key, "")) if key else text

    def satisfies(self, part: Part) -> bool:
        """Whether the part's value is here, from the name and version that it asks for."""
        return (
            part.key in self.values
            and self.label(SOURCE, part.key) == part.name
            and (not part.version or self.label(VERSION, part.key) == str(part.version))
        )


class Answer:
    """What legerd said for one part; `value` is the stored one if that is still right."""

    __slots__ = ("kept", "name", "status", "tag", "value", "version")

    def __init__(self, raw: Mapping[str, object], part: Part, stored: bytes | None) -> None:
        status, version, tag = raw["Status"], raw["Version"], raw["Tag"]
        if raw["Name"] != part.name or type(status) is not int or type(version) is not int:
            raise ValueError
        self.name = part.name
        self.status = status
        self.version = version
        self.tag = str(tag)
        self.kept = status == 304 and stored is not None
        self.value = stored if self.kept and stored is not None else unbase64(str(raw["Value"]))


class Change:
    """A Podman secret to be created or replaced."""

    __slots__ = ("labels", "name", "value")

    def __init__(self, name: str, value: bytes, labels: Mapping[str, str]) -> None:
        self.name = name
        self.value = value
        self.labels = labels

    def is_done(self, held: Stored | None) -> bool:
        """Whether another hook was quicker."""
        return held is not None and held.data == self.value and held.labels == self.labels


def decomposed(data: bytes) -> dict[str, bytes]:
    """The values by key in a Kubernetes Secret that we composed; empty if it is not one."""
    try:
        return {key: unbase64(text) for key, text in json_object(data)["data"].items()}
    except (AttributeError, KeyError, TypeError, ValueError):
        return {}


def json_object(text: str | bytes) -> dict[str, Any]:
    """The JSON object in `text`; empty if there is none."""
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def base64(data: bytes) -> str:
    return binascii.b2a_base64(data, newline=False).decode()


def unbase64(text: str) -> bytes:
    return binascii.a2b_base64(text, strict_mode=True)
