"""The host's own quadlet generator, run over trees, and what it says mapped to file and line."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from leger import processes, tree
from leger.errors import LegerError

SUFFIXES = ("container", "volume", "network", "kube", "image", "pod", "build", "artifact")
INSTALLED = (Path("/usr/libexec/podman/quadlet"), Path("/usr/lib/podman/quadlet"))
SECTIONS = {suffix: suffix.capitalize() for suffix in SUFFIXES}
_PREFIX = re.compile(r"^quadlet-generator\[\d+\]: ")
_SOURCE = re.compile(r"^SourcePath=(.*)$", re.MULTILINE)
_NOISE = ("Loading source unit file", "writing ", "Starting quadlet-generator", "processing enc")


class QuadletError(LegerError):
    """The quadlet generator cannot be run, or does not end."""


@dataclass(frozen=True)
class Output:
    """What one run yields: units and links by their path below the generator's folder."""

    units: Mapping[str, str]
    links: Mapping[str, str]
    messages: tuple[str, ...]
    sources: Mapping[str, str] = field(default_factory=dict)


_NOT_RUN = (126, 127)  # a shell's words for a program that is not there or cannot be run


def installed() -> Path:
    """The host's quadlet generator. Raises LegerError where podman is not installed."""
    for path in INSTALLED:
        if path.exists():
            return path
    raise LegerError("podman's quadlet is not installed", hint="install podman")


def is_quadlet(path: str) -> bool:
    """Whether quadlet would load a file of this name."""
    _, dot, suffix = path.rpartition("/")[2].rpartition(".")
    return bool(dot) and suffix in SUFFIXES


@functools.lru_cache(maxsize=4096)
def kind(path: str) -> str:
    """A quadlet's suffix; "" for other files."""
    return path.rpartition(".")[2] if is_quadlet(path) else ""


def run(
    binary: Path, folders: Sequence[Path], *, user: bool = False, timeout: float = 60.0
) -> Output:
    """Run `binary` over `folders`, the first that has a name winning, at most `timeout` seconds.

    Raises QuadletError when it cannot be run or does not end; bad quadlets are in the messages.
    """
    import tempfile  # its random numbers cost what a status has no time for

    with tempfile.TemporaryDirectory(prefix="leger-quadlet-", dir=_memory()) as target:
        command = [str(binary), "-no-kmsg-log", *(["-user"] if user else []), target]
        try:
            done = processes.run(command, timeout=timeout, environment=_environment(folders))
        except (processes.TimedOutError, processes.TooMuchError) as error:
            raise QuadletError(str(error), hint="a quadlet may make it loop") from error
        if done.code in _NOT_RUN:
            raise QuadletError(
                f"{binary}: does not run: {done.message}", hint="is it of this host?"
            )
        units, links = _read(Path(target))
        return Output(units, links, tuple(_messages(done)), _sources(units))


def _memory() -> str | None:
    """A folder in memory where there is one: quadlet fsyncs each file that it writes."""
    folder = "/run" if os.geteuid() == 0 else os.environ.get("XDG_RUNTIME_DIR", "")
    return folder if folder and os.access(folder, os.W_OK) else None


def _environment(folders: Sequence[Path]) -> dict[str, str]:
    kept = ("PATH", "HOME", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME")
    environment = {key: os.environ[key] for key in kept if key in os.environ}
    environment["QUADLET_UNIT_DIRS"] = ":".join(str(folder) for folder in folders)
    environment["LC_ALL"] = "C.UTF-8"
    return environment


def _messages(done: processes.Completed) -> Iterator[str]:
    for line in done.stderr.decode(errors="replace").splitlines():
        text = _PREFIX.sub("", line).strip()
        if text and not text.startswith(_NOISE):
            yield text
    if done.code < 0:
        yield f"quadlet was ended by signal {-done.code}"


def _read(folder: Path) -> tuple[dict[str, str], dict[str, str]]:
    units: dict[str, str] = {}
    links: dict[str, str] = {}
    for path in map(str, tree.walk(folder)):
        name = os.path.relpath(path, folder)
        if os.path.islink(path):
            links[name] = os.readlink(path)
        else:
            units[name] = Path(path).read_text(errors="replace")
    return dict(sorted(units.items())), dict(sorted(links.items()))


def _sources(units: Mapping[str, str]) -> dict[str, str]:
    """Each unit's SourcePath=, with C escapes and doubled percent signs undone."""
    found = {name: _SOURCE.findall(text) for name, text in units.items()}
    return {name: paths[-1].strip() for name, paths in found.items() if paths}
