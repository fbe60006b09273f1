#!/usr/bin/python3
"""Podman's secrets as podman 5.8 has them, for tests without a machine: its files, command, REST.

The files are Podman's own: secrets.json and filedriver/secretsdata.json, written in place, each
behind its lock. As observed, `podman secret inspect` of a store that does not parse prints nothing
and exits 0, and a replace of a secret whose value is lost leaves its old entry.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import os
import re
import resource
import secrets
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any


class PodmanError(Exception):
    """What podman answers instead."""


class Store:
    """Podman's secret store in `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.metadata = root / "secrets/secrets.json"
        self.values = root / "secrets/filedriver/secretsdata.json"

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        self.values.parent.mkdir(parents=True, exist_ok=True)
        with (
            (self.metadata.parent / "secrets.lock").open("w") as outer,
            (self.values.parent / "secretsdata.lock").open("w") as inner,
        ):
            fcntl.lockf(outer, fcntl.LOCK_EX)
            fcntl.lockf(inner, fcntl.LOCK_EX)
            yield

    def _load(self, path: Path, empty: Any) -> Any:
        if not path.exists():
            return empty
        try:
            found = json.loads(path.read_text())
            return {**empty, **({} if found is None else dict(found.items()))}
        except (ValueError, AttributeError) as error:
            raise PodmanError("unexpected end of JSON input") from error

    def load(self) -> tuple[dict[str, Any], dict[str, str]]:
        empty: dict[str, Any] = {"secrets": {}, "nameToID": {}, "idToName": {}}
        return self._load(self.metadata, empty), self._load(self.values, {})

    def create(
        self, name: str, value: bytes, labels: Mapping[str, str] | None = None, *, replace: bool
    ) -> str:
        if not 1 <= len(value) < 512_000:
            raise PodmanError("secret data must be larger than 0 and less than 512000 bytes")
        with self.locked():
            metadata, values = self.load()
            old = metadata["nameToID"].get(name)
            if old and not replace:
                raise PodmanError(f"{name}: secret name in use")
            if old and old in values:
                del values[old], metadata["secrets"][old], metadata["idToName"][old]
            key = secrets.token_hex(13)[:25]
            values[key] = base64.b64encode(value).decode()
            metadata["secrets"][key] = {
                "name": name,
                "id": key,
                **({"labels": dict(labels)} if labels else {}),
                "driver": "file",
                "driverOptions": {"path": str(self.values.parent)},
            }
            metadata["nameToID"][name] = key
            metadata["idToName"][key] = name
            self.values.write_text(json.dumps(values))
            self.metadata.write_text(json.dumps(metadata, indent=2))
            return key

    def inspect(self, name: str) -> tuple[dict[str, Any], bytes | None]:
        with self.locked():
            metadata, values = self.load()
        found = [key for key in metadata["secrets"] if key.startswith(name)]
        key = metadata["nameToID"].get(name) or (found[0] if len(found) == 1 else None)
        if key is None:
            raise PodmanError(f'no secret with name or id "{name}": no such secret')
        value = base64.b64decode(values[key]) if key in values else None
        return self.entry(metadata["secrets"][key]), value

    def entry(self, raw: Mapping[str, Any]) -> dict[str, Any]:
        driver = {"Name": "file", "Options": raw["driverOptions"]}
        labels = raw.get("labels")
        return {"ID": raw["id"], "Spec": {"Name": raw["name"], "Driver": driver, "Labels": labels}}

    def entries(self) -> list[dict[str, Any]]:
        with self.locked():
            metadata, _ = self.load()
        return [self.entry(raw) for raw in metadata["secrets"].values()]

    def names(self) -> list[str]:
        return sorted(entry["Spec"]["Name"] for entry in self.entries())

    def value(self, name: str) -> bytes | None:
        return self.inspect(name)[1]

    def labels(self, name: str) -> dict[str, str]:
        return self.inspect(name)[0]["Spec"]["Labels"] or {}


def note_call(folder: Path, environ: Mapping[str, str]) -> None:
    """Keep what a spy would see of this process."""
    seen = {
        "argv": sys.argv,
        "environ": dict(environ),
        "core": resource.getrlimit(resource.RLIMIT_CORE),
        "parent": Path(f"/proc/{os.getppid()}/cmdline").read_text(),
        "parent environ": Path(f"/proc/{os.getppid()}/environ").read_text(),
    }
    with (folder / "calls").open("a") as file:
        file.write(json.dumps(seen) + "\n")


def main() -> int:
    """`podman secret inspect --showsecret --format F -- NAME...` as the hook calls it."""
    root = Path(os.environ["PODMAN_DOUBLE"])
    note_call(root, os.environ)
    if (root / "hang").exists():
        time.sleep(60)
    pattern = re.escape(
        "{{json .Spec.Name}} {{json .Spec.Labels}} {{json .Spec.Driver}}"
        ' {{printf "%x" .SecretData}}'
    )
    words = " ".join(sys.argv[1:])
    assert re.match(rf"secret inspect --showsecret --format {pattern} -- ", words + " "), words
    code = 0
    for name in sys.argv[7:]:
        try:
            entry, value = Store(root).inspect(name)
        except PodmanError as error:
            if "JSON" in str(error):
                return 0
            print(f"Error: inspecting secret: {error}", file=sys.stderr)
            code = 125
            continue
        if value is None:
            print(f"Error: inspecting secret: {entry['ID']}: no such secret", file=sys.stderr)
            code = 125
            continue
        spec = entry["Spec"]
        parts = (spec["Name"], spec["Labels"] or {}, spec["Driver"])
        print(*map(json.dumps, parts), value.hex())
    return code


if __name__ == "__main__":
    sys.exit(main())
