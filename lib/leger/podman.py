"""What the library asks of podman besides running units: networks, secrets, built images."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from leger import processes
from leger.errors import LegerError

LABEL = "io.leger.source"
_INSPECT = ("podman", "image", "inspect", "--format", "{{.Id}}")
_FEW = 32
_LISTING = ("podman", "ps", "--no-trunc", "--format", "{{.Names}}\t{{.Image}}\t{{.ImageID}}")


@dataclass
class _Seen:
    """What podman said in this command: to ask it takes longer than most that is done with it."""

    images: dict[str, str] = field(default_factory=dict)
    containers: Callable[[], processes.Completed] | None = None
    looking: tuple[Sequence[str], Callable[[], processes.Completed]] | None = None


_seen = _Seen()


@dataclass(frozen=True)
class Volume:
    """A Podman volume; `folder` is where its content lies, unless the options say elsewhere."""

    name: str
    folder: Path
    driver: str = "local"
    options: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_elsewhere(self) -> bool:
        """Whether the content is a device's, a file system's or another driver's."""
        return self.driver != "local" or bool(self.options.keys() & {"device", "type"})


@dataclass(frozen=True)
class Container:
    """A running container: the unit that started it ("": none), its volumes and bound paths."""

    id: str
    name: str
    unit: str
    volumes: frozenset[str]
    paths: tuple[str, ...]


def volumes() -> dict[str, Volume]:
    """All volumes by name. Raises LegerError when podman does not tell."""
    return {
        row["Name"]: Volume(
            row["Name"],
            Path(row["Mountpoint"]),
            row["Driver"],
            row.get("Options") or {},
            row.get("Labels") or {},
        )
        for row in json.loads(_asked("volume", "ls", "--format", "json"))
    }


def create_volume(name: str, options: Mapping[str, str], labels: Mapping[str, str]) -> Volume:
    """Make the volume `name`. Raises LegerError."""
    given = [f"--opt={key}={value}" for key, value in options.items() if key not in ("UID", "GID")]
    given += [f"--label={key}={value}" for key, value in labels.items()]
    _asked("volume", "create", *given, name, hint="check free space")
    return volumes()[name]


def remove_volumes(names: Iterable[str]) -> dict[str, str]:
    """Remove these volumes with what they hold; maps those that podman keeps to its reason."""
    return _removed("volume", names, 600)


def _removed(kind: str, names: Iterable[str], timeout: float) -> dict[str, str]:
    kept = {}
    for name in names:
        try:
            done = processes.run(["podman", kind, "rm", name], timeout=timeout)
        except LegerError as error:
            kept[name] = str(error)
            continue
        if done.code not in (0, 1):  # 1: there is none
            kept[name] = done.message.removeprefix("Error: ")
    return kept


def containers() -> list[Container]:
    """The containers that run or are paused."""
    ids = _asked("ps", "-q", "--no-trunc").split()
    if not ids:
        return []
    told = processes.run(["podman", "inspect", "--type=container", *ids], timeout=60)
    return [
        Container(
            row["Id"],
            row["Name"],
            (row["Config"].get("Labels") or {}).get("PODMAN_SYSTEMD_UNIT", ""),
            frozenset(item["Name"] for item in row["Mounts"] if item.get("Name")),
            tuple(item["Source"] for item in row["Mounts"] if item.get("Source")),
        )
        for row in json.loads(told.stdout or b"[]")
    ]


def those(status: str, ids: Iterable[str]) -> tuple[str, ...]:
    """The containers among `ids` of this status, in podman's words. Raises LegerError."""
    found = set(_asked("ps", "-q", "--no-trunc", f"--filter=status={status}").split())
    return tuple(one for one in ids if one in found)


def pause(ids: Iterable[str]) -> None:
    """Freeze running containers. Raises LegerError."""
    _asked("pause", *ids)


def unpause(ids: Iterable[str]) -> dict[str, str]:
    """Let containers go on that are paused; maps those that do not to podman's reason."""
    bad = {}
    for one in those("paused", ids):
        done = processes.run(["podman", "unpause", one], timeout=60)
        if done.code:
            bad[one] = done.message
    return bad


def _asked(*arguments: str, hint: str = "") -> str:
    done = processes.run(["podman", *arguments], timeout=120)
    if done.code != 0:
        message = done.message.removeprefix("Error: ")
        raise LegerError(f"podman {' '.join(arguments[:2])}: {message}", hint=hint)
    return done.stdout.decode(errors="replace")


def remove_networks(names: Iterable[str]) -> dict[str, str]:
    """Remove these networks; maps those that podman keeps (something uses them) to its reason."""
    return _removed("network", names, 120)


def remove_image(name: str) -> None:
    """Remove the image `name`, unless something uses it."""
    changed()
    processes.run(["podman", "image", "rm", "--ignore", name], timeout=120)


def has_image(name: str) -> bool:
    """Whether podman has the image `name`."""
    return name in image_ids([name])


def missing(kind: str, wanted: Mapping[str, str], *, thorough: bool) -> list[str]:
    """The keys of `wanted` whose network, volume or container of that name podman does not have.

    Unless `thorough`, podman is asked only if one is not where podman keeps it by default.
    """
    if not wanted or (not thorough and all(_kept(kind, name).exists() for name in wanted.values())):
        return []
    present = _names_of_containers() if kind == "container" else _names(kind)
    if present is None:
        return []
    return [key for key, name in wanted.items() if name not in present]


def _names(kind: str) -> set[str] | None:
    done = processes.run(["podman", kind, "ls", "--format", "{{.Name}}"], timeout=60)
    return set(done.stdout.decode(errors="replace").split()) if done.code == 0 else None


def _names_of_containers() -> set[str] | None:
    running = _running()
    return None if running is None else {name for row in running for name in row[0].split(",")}


def _kept(kind: str, name: str) -> Path:
    """Where podman keeps a network or a volume, unless it is configured otherwise."""
    if kind == "volume":
        return _storage() / "volumes" / name
    folder = Path("/etc/containers") if os.getuid() == 0 else _storage()
    return folder / "networks" / f"{name}.json"


def _storage() -> Path:
    """Where podman keeps all, unless it is configured otherwise."""
    base = Path("/var/lib") if os.getuid() == 0 else Path.home() / ".local/share"
    return base / "containers/storage"


def broken_secrets(storage: Path | None = None) -> str:
    """Why podman cannot read its secrets, kept below `storage`; "" if it can.

    It lists a secret whose value is lost as if nothing was wrong, so the files are looked at too.
    """
    done = processes.run(["podman", "secret", "ls", "--noheading"], timeout=60)
    if done.code != 0:
        return done.message
    folder = (storage or _storage()) / "secrets"
    try:
        known = json.loads((folder / "secrets.json").read_bytes())["secrets"]
        values = json.loads((folder / "filedriver/secretsdata.json").read_bytes())
    except FileNotFoundError:
        return ""
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"{folder}: {error}"
    lost = [one["name"] for key, one in known.items() if key not in values]
    return f"the values of {', '.join(sorted(lost))} are lost" if lost else ""


def own_secrets(names: Iterable[str] | None = None) -> list[str]:
    """Those Podman secrets among `names`, or among all, that Leger made, by their label."""
    wanted = None if names is None else set(names)
    if wanted is not None and not wanted:
        return []
    done = processes.run(["podman", "secret", "ls", "--format", "{{.Name}}"], timeout=60)
    there = done.stdout.decode(errors="replace").split()
    present = sorted(name for name in there if wanted is None or name in wanted)
    if not present:
        return []
    told = processes.run(["podman", "secret", "inspect", *present], timeout=60)
    rows = json.loads(told.stdout) if told.code == 0 else []
    return [row["Spec"]["Name"] for row in rows if LABEL in (row["Spec"].get("Labels") or {})]


def remove_secrets(names: Iterable[str]) -> None:
    """Remove these Podman secrets."""
    wanted = list(names)
    if wanted:
        processes.run(["podman", "secret", "rm", "--ignore", *wanted], timeout=60)


def image_ids(names: Iterable[str]) -> dict[str, str]:
    """The ids of those images among `names` that podman has, 64 hex digits each.

    What it has is asked for once in a command, unless `changed` says that it may be another.
    """
    wanted = set(names)
    if wanted and _seen.looking is not None:
        asked, result = _seen.looking
        _seen.looking = None
        _seen.images |= _ids(asked, result())
    _seen.images |= _image_ids(sorted(wanted - _seen.images.keys()))
    return {name: _seen.images[name] for name in sorted(wanted & _seen.images.keys())}


def _image_ids(wanted: Sequence[str]) -> dict[str, str]:
    if not wanted:
        return {}
    found = _ids(wanted, processes.run([*_INSPECT, *wanted], timeout=60))
    if found or len(wanted) == 1:
        return found
    return {name: id_ for one in wanted for name, id_ in _image_ids([one]).items()}


def images_in_use(names: Collection[str]) -> dict[str, str]:
    """The ids of those images among `names` that containers run with."""
    if not names:
        return {}
    return {name: id_ for _, name, id_ in _running() or () if name in names and id_}


def _ids(wanted: Sequence[str], done: processes.Completed) -> dict[str, str]:
    """What podman said of `wanted`; nothing if it does not have all of them."""
    ids = done.stdout.decode(errors="replace").split()
    complete = done.code == 0 and len(ids) == len(wanted)
    return dict(zip(wanted, ids, strict=True)) if complete else {}


def look_at_images(names: Collection[str]) -> None:
    """Begin to ask for the ids of `names`, unless they are many: few of those are wanted then."""
    wanted = sorted(names)
    begun = _seen.looking and _seen.looking[0] == wanted
    if 0 < len(wanted) <= _FEW and not begun:
        _seen.looking = wanted, processes.ahead([*_INSPECT, *wanted], timeout=60)


def look_at_containers() -> None:
    """Begin to ask what runs: who wants to know waits for what is left of it."""
    if _seen.containers is None:
        _seen.containers = processes.ahead(_LISTING, timeout=60)


def changed() -> None:
    """Whatever podman said about containers and images may be otherwise now."""
    _seen.images.clear()
    _seen.containers = _seen.looking = None


def _running() -> list[tuple[str, str, str]] | None:
    """Names, image and the image's id of each container that runs; None if podman fails."""
    look_at_containers()
    assert _seen.containers is not None
    done = _seen.containers()
    if done.code != 0:
        return None
    rows = (row.split("\t") for row in done.stdout.decode(errors="replace").splitlines())
    return [(row[0], row[1], row[2]) for row in rows if len(row) == 3]


def tag(image: str, name: str) -> None:
    """Give `image` (an id) one more name, taking it from the image that has it."""
    changed()
    processes.run(["podman", "tag", image, name], timeout=60)


def untag(name: str) -> None:
    """Take the name `name` from its image."""
    processes.run(["podman", "untag", name], timeout=60)
