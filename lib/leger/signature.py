"""`verify:`: only commits that one of the allowed signers has signed by SSH are deployed.

The file is that of ssh-keygen(1), ALLOWED SIGNERS. Other kinds of signatures are refused: they
would be judged by whatever keys the calling user has collected.
"""

from __future__ import annotations

from pathlib import Path

from leger.deployment import Deployment
from leger.errors import LegerError
from leger.git import Mirror

_NO_OTHER_KINDS = ("gpg.program=/bin/false", "gpg.x509.program=/bin/false")
_SECONDS = 30.0


def check(mirror: Mirror, deployment: Deployment, commit: str) -> None:
    """Raise LegerError unless `commit` is signed as the host wants it for `deployment`."""
    if not deployment.verify.allowed_signers:
        return
    signers = Path(deployment.verify.allowed_signers)
    if not signers.is_absolute() or not signers.is_file():
        raise LegerError(
            f"{deployment.name}: {signers}: no file with allowed signers",
            hint="verify: allowed-signers: names a file of this host by its whole path",
        )
    settings = (*_NO_OTHER_KINDS, f"gpg.ssh.allowedSignersFile={signers}")
    options = [word for setting in settings for word in ("-c", setting)]
    done = mirror.run([*options, "verify-commit", commit], _SECONDS)
    if done.code != 0:
        raise LegerError(
            f"{deployment.name}: commit {commit[:12]} is not signed by anybody in {signers}",
            hint="sign it (git commit -S, gpg.format=ssh), or add its signer to that file",
        )
