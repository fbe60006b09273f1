"""How Git gets at a key or token: by the path of a file, never by its argv or environment.

A file of the host is used where it lies. A systemd credential is read by its name, from the
running service's own or from where systemd looks for them (systemd.exec(5), CREDENTIALS), and
handed on in memory that has a path only below this process in /proc. So nothing is written to a
disk, and nothing of it stands where `ps` could show it. See docs/adr/0017-credentials-for-git.md.
"""

from __future__ import annotations

import contextlib
import os
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from leger import disk, processes
from leger.deployment import Deployment
from leger.errors import LegerError
from leger.gitprogram import SSH

_STORES = ("/etc/credstore", "/run/credstore", "/usr/lib/credstore")
_USER = "x-access-token"
_MAX_BYTES = 64 << 10


@contextlib.contextmanager
def opened(deployment: Deployment) -> Iterator[Mapping[str, str]]:
    """Git's settings for reaching the deployment's remote, valid within this context.

    Raises LegerError when a file or a credential is not there or cannot be one.
    """
    auth = deployment.auth
    settings: dict[str, str] = {}
    with contextlib.ExitStack() as stack:
        try:
            if auth.ssh_key or auth.known_hosts:
                settings["core.sshCommand"] = _ssh(deployment, stack)
            if auth.token:
                # Only for this host and port: after a redirect the token is not for others.
                where = urlsplit(deployment.address.remote)
                key = f"credential.{where.scheme}://{where.netloc}.helper"
                settings[key] = _helper(deployment, stack)
        except LegerError as error:
            raise type(error)(f"{deployment.name}: auth: {error}", hint=error.hint) from error
        yield settings


def read(name: str) -> bytes:
    """The content of a file (by its whole path) or of a systemd credential (by its name)."""
    if name.startswith("/"):
        return disk.read_file(Path(name), _MAX_BYTES)
    folders = [os.environ.get("CREDENTIALS_DIRECTORY", ""), *_STORES]
    for folder in filter(None, folders):
        if not disk.why_none(path := Path(folder) / name):
            return disk.read_file(path, _MAX_BYTES)
    for folder in _STORES:
        if not disk.why_none(path := Path(f"{folder}.encrypted") / name):
            return _decrypted(name, path)
    hint = f"put it into /etc/credstore, or give it to the service (LoadCredential={name})"
    if os.geteuid() != 0:
        hint = "what lies in /etc/credstore is root's: name a file of your own by its whole path"
    raise LegerError(f"there is no credential {name}", hint=hint)


def _decrypted(name: str, path: Path) -> bytes:
    done = processes.run(
        ["systemd-creds", "decrypt", f"--name={name}", str(path), "-"], timeout=60.0
    )
    if done.code != 0:
        raise LegerError(f"{path}: cannot be decrypted: {done.message}")
    return done.stdout


def _ssh(deployment: Deployment, stack: contextlib.ExitStack) -> str:
    auth = deployment.auth
    words = [SSH]
    if auth.ssh_key:
        words += ["-oIdentitiesOnly=yes", "-oIdentityAgent=none"]
        words.append(_option("IdentityFile", _path(auth.ssh_key, stack)))
    if auth.known_hosts:
        words.append(_option("UserKnownHostsFile", _path(auth.known_hosts, stack)))
        words += ["-oGlobalKnownHostsFile=/dev/null", "-oUpdateHostKeys=no"]
        words.append("-oStrictHostKeyChecking=yes")
    return " ".join(words)


def _option(name: str, path: str) -> str:
    """An option of ssh_config(5), where % and spaces mean something, quoted for the shell."""
    escaped = path.replace("%", "%%")
    return shlex.quote(f'-o{name}="{escaped}"')


def _helper(deployment: Deployment, stack: contextlib.ExitStack) -> str:
    """A credential helper (gitcredentials(7)) that prints what it finds at a path."""
    token = read(deployment.auth.token).strip()
    if not token or any(byte < 33 or byte > 126 for byte in token):
        raise LegerError(
            f"{deployment.auth.token}: not a token", hint="one line of plain characters, no more"
        )
    user = deployment.auth.user or _USER
    answer = b"username=" + user.encode() + b"\npassword=" + token + b"\n"
    return f"!cat {shlex.quote(_in_memory(answer, stack))}; :"


def _path(name: str, stack: contextlib.ExitStack) -> str:
    if not name.startswith("/"):
        return _in_memory(read(name), stack)
    if why := disk.why_none(Path(name)):
        raise LegerError(f"{name}: {why}")
    return name


def _in_memory(content: bytes, stack: contextlib.ExitStack) -> str:
    descriptor = os.memfd_create("leger")
    stack.callback(os.close, descriptor)
    os.fchmod(descriptor, 0o600)
    os.write(descriptor, content)
    return f"/proc/{os.getpid()}/fd/{descriptor}"
