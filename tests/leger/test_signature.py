"""Signed commits: who may sign is the host's word, and nothing else counts."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from leger import git, signature
from leger.deployment import Deployment
from leger.errors import LegerError
from leger.scope import Scope
from leger.trust import Verify

WHO = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org")


def run(*command: str, folder: Path) -> str:
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(folder), "GIT_CONFIG_NOSYSTEM": "1"}
    return subprocess.run(
        command, cwd=folder, env=environment, check=True, capture_output=True, text=True
    ).stdout.strip()


def key(folder: Path, name: str) -> Path:
    path = folder / name
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path), folder=folder)
    return path


class Signed:
    """A repository with one quadlet, a host, and a file of allowed signers with Ada's key."""

    def __init__(self, folder: Path) -> None:
        self.ada, self.eve = key(folder, "ada"), key(folder, "eve")
        self.repository = folder / "repository"
        self.repository.mkdir()
        run("git", "init", "-q", "-b", "main", folder=self.repository)
        self.signers = folder / "allowed_signers"
        public = self.ada.with_suffix(".pub").read_text()
        self.signers.write_text(f"ada@example.org {public}")
        self.scope = Scope.system(folder / "host")
        self.deployment = Deployment("web", str(self.repository), verify=Verify(str(self.signers)))

    def commit(self, *options: str) -> None:
        (self.repository / "web.container").write_text(f"[Container]\nImage=x\n# {options}\n")
        run("git", "add", ".", folder=self.repository)
        run("git", *WHO, *options, "commit", "-q", "-m", "x", folder=self.repository)

    def signed_by(self, key: Path) -> None:
        self.commit(
            *("-c", "gpg.format=ssh", "-c", f"user.signingkey={key}", "-c", "commit.gpgsign=true")
        )

    def check(self, deployment: Deployment | None = None) -> None:
        wanted = deployment or self.deployment
        commit = git.fetch(self.scope, wanted)
        signature.check(git.Mirror.of(self.scope, wanted), wanted, commit)


@pytest.fixture
def signed(tmp_path: Path) -> Signed:
    return Signed(tmp_path)


def test_a_commit_of_an_allowed_signer_passes(signed: Signed) -> None:
    signed.signed_by(signed.ada)
    signed.check()


def test_a_commit_of_another_signer_is_refused(signed: Signed) -> None:
    signed.signed_by(signed.eve)
    with pytest.raises(LegerError, match="not signed by anybody in"):
        signed.check()


def test_an_unsigned_commit_is_refused(signed: Signed) -> None:
    signed.commit()
    with pytest.raises(LegerError, match="not signed by anybody in"):
        signed.check()


def test_an_unsigned_commit_on_top_of_a_signed_one_is_refused(signed: Signed) -> None:
    signed.signed_by(signed.ada)
    signed.commit()
    with pytest.raises(LegerError, match="not signed by anybody in"):
        signed.check()


GPG = """#!/bin/sh
cat >/dev/null
case "$*" in
*--verify*) printf '[GNUPG:] NEWSIG\\n[GNUPG:] GOODSIG 0123456789ABCDEF Eve\\n'
            printf '[GNUPG:] TRUST_ULTIMATE 0 pgp\\n' ;;
*) printf '\\n[GNUPG:] SIG_CREATED D\\n' >&2
   printf -- '-----BEGIN PGP SIGNATURE-----\\n\\nx\\n-----END PGP SIGNATURE-----\\n' ;;
esac
"""


def test_a_signature_of_another_kind_does_not_count_whoever_trusts_it(
    signed: Signed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    gpg = folder / "gpg"
    gpg.write_text(GPG)
    gpg.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    signed.commit("-c", f"gpg.program={gpg}", "-c", "commit.gpgsign=true")
    trusting = ("git", "-c", f"gpg.program={gpg}", "verify-commit", "HEAD")
    run(*trusting, folder=signed.repository)
    with pytest.raises(LegerError, match="not signed by anybody in"):
        signed.check()


def test_without_verify_nothing_is_asked(signed: Signed) -> None:
    signed.commit()
    signed.check(replace(signed.deployment, verify=Verify()))


@pytest.mark.parametrize("path", ["signers", "/nowhere/allowed_signers"])
def test_a_missing_file_of_signers_refuses_everything(signed: Signed, path: str) -> None:
    signed.signed_by(signed.ada)
    with pytest.raises(LegerError, match="no file with allowed signers"):
        signed.check(replace(signed.deployment, verify=Verify(path)))
