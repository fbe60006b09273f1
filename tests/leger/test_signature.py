"""Signed commits: who may sign is the host's word, and nothing else counts."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from leger import fetching, generation, git, mending, prepare, signature
from leger.config import Limits
from leger.deployed import Deployed
from leger.deployment import Deployment, dump
from leger.errors import LegerError
from leger.gitprogram import Remote
from leger.mirror import Fetch
from leger.model import Built
from leger.scope import Scope
from leger.switch import Host
from leger.systemctl import Systemctl
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
        mirror = git.Mirror.of(self.scope, wanted)
        signature.check(mirror, wanted, commit)


@pytest.fixture
def signed(tmp_path: Path) -> Signed:
    return Signed(tmp_path)


def test_a_commit_of_an_allowed_signer_passes(signed: Signed) -> None:
    signed.signed_by(signed.ada)
    signed.check()


def test_a_commit_of_another_signer_is_refused(signed: Signed) -> None:
    signed.signed_by(signed.eve)
    with pytest.raises(LegerError, match="signed by anybody in"):
        signed.check()


def test_an_unsigned_commit_is_refused(signed: Signed) -> None:
    signed.commit()
    with pytest.raises(LegerError, match="signed by anybody in"):
        signed.check()


def test_an_unsigned_commit_on_top_of_a_signed_one_is_refused(signed: Signed) -> None:
    signed.signed_by(signed.ada)
    signed.commit()
    with pytest.raises(LegerError, match="signed by anybody in"):
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
    with pytest.raises(LegerError, match="signed by anybody in"):
        signed.check()


def test_without_verify_nothing_is_asked(signed: Signed) -> None:
    signed.commit()
    signed.check(replace(signed.deployment, verify=Verify()))


@pytest.mark.parametrize("path", ["signers", "/nowhere/allowed_signers"])
def test_a_missing_file_of_signers_refuses_everything(signed: Signed, path: str) -> None:
    signed.signed_by(signed.ada)
    with pytest.raises(LegerError, match="no file with allowed signers"):
        signed.check(replace(signed.deployment, verify=Verify(path)))


def ssh(key: Path) -> tuple[str, ...]:
    return "-c", "gpg.format=ssh", "-c", f"user.signingkey={key}"


def tag(signed: Signed, name: str, *options: str) -> None:
    run("git", *WHO, *options, "tag", "-s", "-m", "x", name, folder=signed.repository)


def following(signed: Signed, ref: str) -> Deployment:
    return replace(signed.deployment, ref=ref)


def test_a_signed_tag_stands_for_its_commit(signed: Signed) -> None:
    signed.commit()
    tag(signed, "v1", *ssh(signed.ada))
    signed.check(following(signed, "v1"))


def test_a_tag_of_another_signer_is_refused(signed: Signed) -> None:
    signed.commit()
    tag(signed, "v1", *ssh(signed.eve))
    with pytest.raises(LegerError, match="neither it nor its tag is signed by anybody in"):
        signed.check(following(signed, "v1"))


def test_a_signed_tag_under_another_name_is_refused(signed: Signed) -> None:
    signed.commit()
    tag(signed, "v1", *ssh(signed.ada))
    run("git", "update-ref", "refs/tags/v2", "refs/tags/v1", folder=signed.repository)
    with pytest.raises(LegerError, match="it is not signed by anybody in"):
        signed.check(following(signed, "v2"))


def test_a_tag_made_anew_counts_by_its_new_signature(signed: Signed) -> None:
    signed.commit()
    tag(signed, "v1", *ssh(signed.ada))
    signed.check(following(signed, "v1"))
    run("git", "tag", "-d", "v1", folder=signed.repository)
    tag(signed, "v1", *ssh(signed.eve))
    with pytest.raises(LegerError, match="neither it nor its tag"):
        signed.check(following(signed, "v1"))


@pytest.mark.parametrize("form", ["tree/v/1/web", "releases/tag/v/1"])
def test_an_address_that_names_a_signed_tag_follows_it(signed: Signed, form: str) -> None:
    signed.commit()
    tag(signed, "v/1", *ssh(signed.ada))
    item = replace(signed.deployment, source=f"https://host/o/r/{form}")
    mirror = git.Mirror(str(signed.repository), git.Mirror.of(signed.scope, item).path)
    commit = Fetch(mirror, Remote(mirror.remote, Limits())).commit(item)
    signature.check(mirror, item, commit)
    eve = replace(item, name="other", source="https://host/o/r/tree/main")
    Fetch(mirror, Remote(mirror.remote, Limits())).commit(eve)
    with pytest.raises(LegerError, match="it is not signed by anybody in"):
        signature.check(mirror, eve, commit)


def test_a_deployment_that_holds_on_to_its_tag_is_signed_by_that(signed: Signed) -> None:
    signed.commit()
    tag(signed, "v1", *ssh(signed.ada))
    item, other = following(signed, "v1"), replace(following(signed, "v1"), name="other")
    signed.check(item)
    run("git", "tag", "-d", "v1", folder=signed.repository)
    signed.commit("-c", "x.newer=1")
    tag(signed, "v1", *ssh(signed.eve))
    found = fetching.fetch_all(signed.scope, [item, other], accept_rewind={"other"})
    assert isinstance(found["web"], git.RewoundError)
    mirror = git.Mirror.of(signed.scope, item)
    signature.check(mirror, item, git.known(signed.scope, item))
    with pytest.raises(LegerError, match="neither it nor its tag"):
        signature.check(mirror, other, git.known(signed.scope, other))


def test_what_was_deployed_by_its_tag_is_made_again_though_the_tag_moved(signed: Signed) -> None:
    signed.commit()
    tag(signed, "v1", *ssh(signed.ada))
    item = following(signed, "v1")
    commit = git.fetch(signed.scope, item)
    made = prepare.prepare(signed.scope, item, commit)
    path = made.tree.path
    built = Built("web", commit, item.source, made.tree, {}, ())
    compiled = replace(generation.EMPTY, deployments={"web": built})
    current = generation.new(signed.scope, compiled, {"web": dump(item).decode()}, "")
    (path / "web.container").write_text("other\n")
    host = Host(signed.scope, Systemctl(user=False), print)
    mending.mend_tree(host, current, "web")
    assert "Image=x" in (path / "web.container").read_text()
    run("git", "tag", "-d", "v1", folder=signed.repository)
    signed.commit("-c", "x.newer=1")
    tag(signed, "v1", *ssh(signed.eve))
    git.fetch(signed.scope, item, accept_rewind=True)
    shutil.rmtree(path)
    deployed = Deployed(signed.scope, current)
    assert (deployed.prepared().keys(), deployed.lost) == ({"web"}, {})


def gpg(home: Path, *arguments: str) -> str:
    home.mkdir(mode=0o700, exist_ok=True)
    return run("gpg", f"--homedir={home}", "--batch", "--quiet", *arguments, folder=home)


class Keys:
    """A GPG home with one key without a passphrase, and the file that it is exported to."""

    def __init__(self, folder: Path, name: str) -> None:
        self.home = folder / name
        mail = f"{name}@example.org"
        made = ("--pinentry-mode=loopback", "--passphrase=", "--quick-gen-key", mail)
        gpg(self.home, *made, "ed25519", "sign", "never")
        self.file = folder / f"{name}.asc"
        self.mail = mail
        self.export()

    def export(self) -> None:
        self.file.write_text(gpg(self.home, "--armor", "--export", self.mail))

    def signing(self, folder: Path) -> tuple[str, ...]:
        program = folder / f"gpg-{self.home.name}"
        program.write_text(f'#!/bin/sh\nexec gpg --homedir={self.home} "$@"\n')
        program.chmod(0o755)
        return "-c", f"gpg.program={program}", "-c", f"user.signingkey={self.mail}"

    def stop(self) -> None:
        run("gpgconf", f"--homedir={self.home}", "--kill", "all", folder=self.home)


@pytest.fixture
def keys() -> Iterator[tuple[Keys, Keys]]:
    # A short path: the agent's socket lies in it.
    with tempfile.TemporaryDirectory(prefix="keys-") as folder:
        made = Keys(Path(folder), "grace"), Keys(Path(folder), "mallory")
        yield made
        for key in made:
            key.stop()


def gpg_signed(signed: Signed, key: Keys) -> None:
    signed.commit(*key.signing(key.home.parent), "-c", "commit.gpgsign=true")


def trusting(signed: Signed, key: Keys) -> Deployment:
    return replace(signed.deployment, verify=Verify(gpg_keys=str(key.file)))


def test_gpg_keys_of_the_hosts_file_count_and_no_others(
    signed: Signed, keys: tuple[Keys, Keys], monkeypatch: pytest.MonkeyPatch
) -> None:
    grace, mallory = keys
    gpg_signed(signed, grace)
    signed.check(trusting(signed, grace))
    monkeypatch.setenv("GNUPGHOME", str(grace.home))
    monkeypatch.setenv("HOME", str(grace.home))
    with pytest.raises(LegerError, match="signed by anybody in"):
        signed.check(trusting(signed, mallory))
    with pytest.raises(LegerError, match="signed by anybody in"):
        signed.check()
    tag(signed, "v1", *mallory.signing(mallory.home.parent))
    signed.check(replace(trusting(signed, mallory), ref="v1"))


def test_either_kind_counts_where_the_host_names_both(
    signed: Signed, keys: tuple[Keys, Keys]
) -> None:
    grace, _ = keys
    both = Verify(str(signed.signers), str(grace.file))
    gpg_signed(signed, grace)
    signed.check(replace(signed.deployment, verify=both))
    signed.signed_by(signed.ada)
    signed.check(replace(signed.deployment, verify=both))
    with pytest.raises(LegerError, match="signed by anybody in"):
        signed.check(trusting(signed, grace))


def test_a_key_that_was_revoked_counts_no_more(signed: Signed, keys: tuple[Keys, Keys]) -> None:
    grace, _ = keys
    gpg_signed(signed, grace)
    made = next((grace.home / "openpgp-revocs.d").glob("*.rev"))
    made.write_text(made.read_text().replace(":-----BEGIN", "-----BEGIN"))
    gpg(grace.home, "--import", str(made))
    grace.export()
    with pytest.raises(LegerError, match="signed by anybody in"):
        signed.check(trusting(signed, grace))


def test_a_file_that_holds_no_keys_is_named(signed: Signed) -> None:
    signed.commit()
    verify = Verify(gpg_keys=str(signed.signers))
    with pytest.raises(LegerError, match="no GPG keys that can be read"):
        signed.check(replace(signed.deployment, verify=verify))
    with pytest.raises(LegerError, match="/nowhere: no file with GPG keys"):
        signed.check(replace(signed.deployment, verify=Verify(gpg_keys="/nowhere")))
