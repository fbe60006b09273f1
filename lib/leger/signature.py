"""`verify:`: only what somebody has signed whom the host names is deployed.

A commit counts when it is signed, or when the deployment follows a tag and that is. SSH signers
stand in a file as ssh-keygen(1) has it (ALLOWED SIGNERS), GPG keys in one that `gpg --export`
made; those are read into a keyring of this check alone. What the calling user has collected, and
every kind of signature that the host did not ask for, counts for nothing.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from leger import disk, processes
from leger.accepted import Accepted
from leger.deployment import Deployment
from leger.errors import LegerError
from leger.mirror import Asked, Mirror
from leger.trust import NOBODY, Verify

_SECONDS = 30.0
_RING = "trust-model always\nno-auto-key-retrieve\nno-autostart\n"


@dataclass(frozen=True)
class _Judge:
    """Git, told whom to believe: `options` stand before its command."""

    mirror: Mirror
    options: tuple[str, ...]
    variables: Mapping[str, str]

    def accepts(self, kind: str, id_: str) -> bool:
        """Whether the "commit" or "tag" is well signed."""
        command = [*self.options, f"verify-{kind}", id_]
        return self.mirror.run(command, _SECONDS, self.variables).code == 0


def check(mirror: Mirror, deployment: Deployment, commit: str) -> None:
    """Raise LegerError unless `commit`, which the deployment is to have, is signed as it asks."""
    name, verify = deployment.name, deployment.verify
    if verify == NOBODY:
        return
    with _judge(mirror, name, verify) as judge:
        if judge.accepts("commit", commit):
            return
        tag = _tag(mirror, deployment, commit)
        if tag and judge.accepts("tag", tag):
            return
    files = " or ".join(filter(None, (verify.allowed_signers, verify.gpg_keys)))
    what = "neither it nor its tag is" if tag else "it is not"
    raise LegerError(
        f"{name}: commit {commit[:12]}: {what} signed by anybody in {files}",
        hint="sign it (git commit -S), or add its signer to that file",
    )


def _tag(mirror: Mirror, deployment: Deployment, commit: str) -> str:
    """The object of the tag that the deployment's ref or address names, "" if that is no tag.

    It has to say of itself that it is this tag of this commit.
    """
    accepted = Accepted.load(mirror.record)
    for name in Asked.by(deployment, accepted).names:
        known = accepted.of(deployment.name, name)
        if known and known.is_tag and known.commit == commit != known.id:
            done = mirror.run(["cat-file", "tag", known.id], _SECONDS)
            head = done.stdout.partition(b"\n\n")[0].split(b"\n")
            if {b"object " + commit.encode(), b"tag " + name.encode()} <= {*head}:
                return known.id
    return ""


@contextlib.contextmanager
def _judge(mirror: Mirror, name: str, verify: Verify) -> Iterator[_Judge]:
    settings = ["gpg.x509.program=/bin/false"]
    signers = _file(name, "allowed-signers", verify.allowed_signers)
    settings.append(f"gpg.ssh.allowedSignersFile={signers or '/dev/null'}")
    if not signers:
        settings.append("gpg.ssh.program=/bin/false")
    keys = _file(name, "gpg-keys", verify.gpg_keys)
    if not keys:
        yield _Judge(mirror, _options([*settings, "gpg.program=/bin/false"]), {})
        return
    with tempfile.TemporaryDirectory(prefix="leger-keys-") as ring:
        variables = {"GNUPGHOME": ring}
        _import(name, keys, Path(ring))
        yield _Judge(mirror, _options([*settings, "gpg.program=gpg"]), variables)


def _options(settings: list[str]) -> tuple[str, ...]:
    return tuple(word for setting in settings for word in ("-c", setting))


def _import(name: str, keys: Path, ring: Path) -> None:
    """Fill the empty folder `ring` with the keys of a file."""
    (ring / "gpg.conf").write_text(_RING)
    command = ["gpg", f"--homedir={ring}", "--batch", "--quiet", "--import", str(keys)]
    done = processes.run(command, timeout=_SECONDS)
    if done.code != 0:
        raise LegerError(
            f"{name}: {keys}: no GPG keys that can be read: {done.message}",
            hint="gpg --export --armor KEY... makes such a file",
        )


def _file(name: str, key: str, path: str) -> Path | None:
    if not path:
        return None
    found = Path(path)
    if not found.is_absolute() or disk.why_none(found):
        what = "allowed signers" if key == "allowed-signers" else "GPG keys"
        raise LegerError(
            f"{name}: {path}: no file with {what} that can be read",
            hint=f"verify: {key}: names a file of this host by its whole path",
        )
    return found
