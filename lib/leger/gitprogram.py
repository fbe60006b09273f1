"""The git program within limits, in an environment that is made from nothing.

See docs/adr/0007-git-within-limits.md; what a remote may cost, only this module enforces.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from leger import processes
from leger.config import Limits
from leger.errors import LegerError
from leger.source import shown

PROTOCOLS = ("https", "ssh", "file")
SSH = "ssh -oBatchMode=yes -oConnectTimeout=20"
_MEMORY = 4 << 30
_ANSWER = 16 << 20  # bytes of text: references, messages
_SAID = 64 << 10
_REASON = 300
_KEPT = ("PATH", "HOME", "SSH_AUTH_SOCK", "SSL_CERT_FILE", "SSL_CERT_DIR", "TMPDIR")
_PROXIES = ("http_proxy", "https_proxy", "no_proxy", "all_proxy")
_AUTHORITIES = {"SSL_CERT_FILE": "GIT_SSL_CAINFO", "SSL_CERT_DIR": "GIT_SSL_CAPATH"}
_SETTINGS = {
    "core.fsync": "all",
    "core.hooksPath": "/dev/null",
    "core.sshCommand": SSH,
    "credential.helper": "",
    "fetch.fsckObjects": "false",
    "fetch.unpackLimit": "1",
    "gc.auto": "0",
    "http.followRedirects": "initial",
    "http.lowSpeedLimit": "1000",
    "http.lowSpeedTime": "60",
    "maintenance.auto": "false",
    "uploadpack.packObjectsHook": "",
}


class FetchError(LegerError):
    """A source cannot be fetched; what was fetched before is as it was."""


@dataclass(frozen=True)
class Remote:
    """Git at work for one remote, until `deadline` (of the monotonic clock).

    `settings` are Git's own (`core.sshCommand`), on top of Leger's.
    """

    address: str
    limits: Limits
    protocols: tuple[str, ...] = PROTOCOLS
    settings: Mapping[str, str] = field(default_factory=dict)
    deadline: float = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "deadline", time.monotonic() + self.limits.fetch_seconds)

    def run(
        self,
        arguments: Sequence[str],
        folder: Path | None,
        watch: Callable[[], object] | None = None,
    ) -> bytes:
        """What Git, which may talk to the remote, prints; `folder` is the repository it works in.

        `watch` is called once a second meanwhile. Raises FetchError when it fails, or at one of the
        limits, and what `watch` raises; then its children are gone too.
        """
        given = environment(folder, self.protocols, self.settings)
        with _trusting(self.address) as trusted:
            done = self._done(arguments, {**given, **trusted}, watch)
        if done.code != 0:
            raise _refused(shown(self.address), done)
        return done.stdout

    def _done(
        self,
        arguments: Sequence[str],
        given: Mapping[str, str],
        watch: Callable[[], object] | None,
    ) -> processes.Completed:
        limits = [f"--fsize={self.limits.fetch_bytes}", f"--as={_MEMORY}", "--core=0"]
        try:
            return processes.run(
                ["prlimit", *limits, "--", "git", *arguments],
                timeout=max(0.1, self.deadline - time.monotonic()),
                environment=given,
                folder=Path("/"),
                most=_ANSWER,
                watch=watch,
            )
        except processes.TooMuchError as error:
            raise FetchError(
                f"{shown(self.address)}: answers with more than {_ANSWER >> 20} MiB of text"
            ) from error
        except processes.TimedOutError as error:
            raise FetchError(
                f"{shown(self.address)}: not fetched within {self.limits.fetch_seconds:g} s",
                hint="limits: {fetch-time: ...} in config.yaml allows more",
            ) from error


@contextlib.contextmanager
def _trusting(address: str) -> Iterator[dict[str, str]]:
    """Let Git read a repository of this host though it is another user's: somebody here named it.

    The other end, upload-pack, takes that from a file only, which lies in memory. Git's word for it
    is that it runs nothing of the repository it serves.
    """
    if not address.startswith("/"):
        yield {}
        return
    roots = dict.fromkeys((address, str(Path(address).resolve())))
    places = [f"{root}{end}" for root in roots for end in ("", "/.git", ".git", ".git/.git")]
    quoted = [place.replace("\\", "\\\\").replace('"', '\\"') for place in places]
    lines = ["[safe]", *(f'directory = "{place}"' for place in quoted), ""]
    descriptor = os.memfd_create("leger")
    try:
        os.write(descriptor, "\n".join(lines).encode(errors="surrogateescape"))
        yield {"GIT_CONFIG_GLOBAL": f"/proc/{os.getpid()}/fd/{descriptor}"}
    finally:
        os.close(descriptor)


def local(
    arguments: Sequence[str],
    folder: Path | None,
    seconds: float,
    variables: Mapping[str, str] | None = None,
    *,
    data: bytes = b"",
) -> processes.Completed:
    """Git without a remote, at most `seconds`; `variables` are added to its environment.

    What it prints is bounded: with more than that it counts as failed.
    """
    given = {**environment(folder), **(variables or {})}
    command = ["git", *arguments]
    try:
        return processes.run(
            command, timeout=seconds, data=data, environment=given, folder=Path("/"), most=_ANSWER
        )
    except processes.TooMuchError as error:
        return processes.Completed(-signal.SIGKILL, b"", str(error).encode())


def environment(
    folder: Path | None,
    protocols: tuple[str, ...] = (),
    settings: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """All that Git gets from its environment: nothing of the caller's but how to reach remotes."""
    numbered = [*_SETTINGS.items(), *(settings or {}).items()]
    given = {"GIT_CONFIG_COUNT": str(len(numbered))}
    for number, (key, value) in enumerate(numbered):
        given |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    if folder is not None:
        given["GIT_DIR"] = str(folder)
    return {
        **_kept(),
        **given,
        "GIT_ALLOW_PROTOCOL": ":".join(protocols) or "none",
        "GIT_ASKPASS": "",
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "LC_ALL": "C.UTF-8",
        "SSH_ASKPASS": "true",
    }


def _kept() -> dict[str, str]:
    """How to reach remotes; OpenSSL's variables reach every build of Git, whatever it links to."""
    names = [*_KEPT, *_PROXIES, *(name.upper() for name in _PROXIES)]
    kept = {name: os.environ[name] for name in names if name in os.environ}
    return kept | {ours: kept[name] for name, ours in _AUTHORITIES.items() if name in kept}


def _refused(where: str, done: processes.Completed) -> FetchError:
    text = shown(done.stderr[:_SAID].decode(errors="replace"))
    lines = ["".join(c for c in line if c.isprintable()).strip() for line in text.splitlines()]
    told = [line for line in lines if line.startswith(("fatal:", "error:", "remote:", "ssh:"))]
    reason = (told or [line for line in lines if line] or [f"git ended with {done.code}"])[0]
    return FetchError(f"{where}: cannot be fetched: {reason[:_REASON]}", hint=_hint(text))


_HINTS = (
    (
        "Host key verification failed",
        "add the host's key to /etc/ssh/ssh_known_hosts, or say auth: {known-hosts: FILE}",
    ),
    ("could not read Username", "private or not there; auth: {token: FILE} is for private ones"),
    ("Authentication failed", "the remote does not take the token that auth: names"),
    ("Permission denied (publickey", "give this host's key access, or name one: auth: {ssh-key: }"),
    ("bad permissions", "nobody but its owner may read an ssh key: chmod 600"),
    ("dubious ownership", "what its .git points to belongs to another user: name that one"),
    ("not allowed", "use https, ssh or a path"),
    ("Could not resolve host", "check the address and the network"),
)


def _hint(text: str) -> str:
    return next((hint for mark, hint in _HINTS if mark in text), "")
