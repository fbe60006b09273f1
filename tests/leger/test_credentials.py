"""Private repositories: a key or a token comes from a file, and shows nowhere."""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import webgit
from leger import credentials, fetching, git
from leger.deployment import Deployment
from leger.errors import LegerError
from leger.git import FetchError
from leger.scope import Scope
from leger.trust import Auth
from repositories import Repository
from webgit import Web


@pytest.fixture
def web(tmp_path: Path, repository: Repository, monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    """A server that has the repository at /r and gives it to nobody without the token."""
    root = tmp_path / "served"
    root.mkdir()
    (root / "r").symlink_to(repository.path)
    certificate = webgit.certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with Web(root, certificate, token=secrets.token_hex(16)).served() as served:
        yield served


def private(web: Web, tmp_path: Path, token: str = "") -> Deployment:
    path = tmp_path / "token"
    path.write_text(f"{token or web.token}\n")
    return Deployment("web", f"{web.url}/r", auth=Auth(token=str(path)))


def below(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_a_token_opens_a_private_repository_and_shows_nowhere(
    scope: Scope,
    repository: Repository,
    web: Web,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    commit = repository.commit({"a": "1"})
    folder = tmp_path / "bin"
    folder.mkdir()
    helper = folder / "cat"
    helper.write_text(
        f"#!/bin/sh\n/bin/cat /proc/*/cmdline /proc/*/environ >>{tmp_path}/shown 2>/dev/null\n"
        'exec /bin/cat "$@"\n'
    )
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    assert git.fetch(scope, private(web, tmp_path)) == commit
    assert f"Basic {webgit.basic(web.user, web.token)}" in web.seen
    assert web.leaks == []
    shown = (tmp_path / "shown").read_bytes()
    assert b"/proc/" in shown
    assert web.token.encode() not in shown
    assert web.token.encode() not in below(scope.state)


def test_without_a_token_or_with_another_it_stays_closed(
    scope: Scope, repository: Repository, web: Web, tmp_path: Path
) -> None:
    repository.commit({"a": "1"})
    with pytest.raises(FetchError) as caught:
        git.fetch(scope, Deployment("web", f"{web.url}/r"))
    assert "auth: {token: FILE}" in caught.value.hint
    with pytest.raises(FetchError) as caught:
        git.fetch(scope, private(web, tmp_path, "another-token"))
    assert "does not take the token" in caught.value.hint
    assert "another-token" not in str(caught.value)


def test_a_redirect_does_not_get_the_token(
    scope: Scope, repository: Repository, web: Web, tmp_path: Path
) -> None:
    repository.commit({"a": "1"})
    token = web.token
    with Web(web.root, web.certificate, token="x").served() as other:
        web.token, web.elsewhere = "", other.url
        with pytest.raises(FetchError):
            git.fetch(scope, private(web, tmp_path, token))
        assert other.seen == []


def test_a_credential_of_the_service_is_found_by_its_name(
    scope: Scope,
    repository: Repository,
    web: Web,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    commit = repository.commit({"a": "1"})
    web.user = "oauth2"
    (tmp_path / "git-token").write_text(web.token)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    item = Deployment("web", f"{web.url}/r", auth=Auth(token="git-token", user="oauth2"))
    assert git.fetch(scope, item) == commit
    assert web.leaks == []


@pytest.mark.parametrize(
    ("auth", "message"),
    [
        (Auth(token="/nowhere/token"), "web: auth: /nowhere/token: cannot be read"),
        (Auth(token="no-such-credential"), "web: auth: there is no credential no-such-credential"),
        (Auth(token="/dev/null"), "web: auth: /dev/null: not a token"),
    ],
)
def test_what_is_not_there_is_named(scope: Scope, auth: Auth, message: str) -> None:
    with pytest.raises(LegerError) as caught:
        git.fetch(scope, Deployment("web", "https://127.0.0.1:1/r", auth=auth))
    assert str(caught.value).startswith(message)


def test_one_without_its_token_does_not_hold_back_the_others(
    scope: Scope, repository: Repository
) -> None:
    commit = repository.commit({"a": "1"})
    closed = Deployment("a", "https://127.0.0.1:1/r", auth=Auth(token="/nowhere"))
    found = fetching.fetch_all(scope, [closed, Deployment("b", str(repository.path))])
    assert isinstance(found["a"], LegerError)
    assert found["b"] == commit


@pytest.fixture
def nobody() -> Iterator[Path]:
    """A folder of a user without rights, who this process is."""
    if os.geteuid() != 0:
        pytest.skip("only root can be another user")
    with tempfile.TemporaryDirectory() as folder:
        os.chown(folder, 65534, 65534)
        os.setresuid(65534, 65534, 0)
        yield Path(folder)
        os.setresuid(0, 0, 0)


def test_a_store_that_is_closed_to_the_user_has_nothing_and_holds_back_nobody(
    nobody: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stores = [nobody / name for name in ("closed", "open")]
    for store in stores:
        store.mkdir()
        (store / "git-token").write_text(f"{store.name}\n")
    stores[0].chmod(0)
    monkeypatch.setattr(credentials, "_STORES", tuple(map(str, stores)))
    assert credentials.read("git-token") == b"open\n"
    auths = {
        "a": Auth(token="other-token"),
        "b": Auth(token=f"{stores[0]}/git-token"),
        "c": Auth(ssh_key=f"{stores[0]}/git-token"),
    }
    items = [
        Deployment(name, "ssh://h/r" if auth.ssh_key else "https://127.0.0.1:1/r", auth=auth)
        for name, auth in auths.items()
    ]
    repository = Repository(nobody / "r")
    commit = repository.commit({"a": "1"})
    scope = Scope.system(nobody / "host")
    found = fetching.fetch_all(scope, [*items, Deployment("good", str(repository.path))])
    assert found.pop("good") == commit
    assert str(found["a"]) == "a: auth: there is no credential other-token"
    assert "whole path" in found["a"].hint
    assert str(found["b"]).endswith("git-token: cannot be read: Permission denied")
    assert str(found["c"]).endswith("git-token: Permission denied")


SSH = """#!/bin/bash
for word; do
    printf '%s\\n' "$word" >>ARGUMENTS
    case $word in -oIdentityFile=*)
        file=$(tr -d '"' <<<"${word#*=}")
        cat "$file" >KEY
        stat -Lc %a "$file" >MODE ;;
    esac
done
exec sh -c "$word"
"""


@pytest.fixture
def ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which an ssh that stays on this host writes down what it got."""
    folder = tmp_path / "ssh"
    folder.mkdir()
    program = folder / "ssh"
    text = SSH
    for name in ("ARGUMENTS", "KEY", "MODE"):
        text = text.replace(f">{name}", f">{folder}/{name}")
    program.write_text(text)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder


@pytest.mark.parametrize("form", ["ssh://git@host{}", "git@host:{}", "ssh://host:2222{}"])
def test_ssh_gets_the_key_of_the_deployment_and_no_other(
    scope: Scope,
    repository: Repository,
    ssh: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    form: str,
) -> None:
    commit = repository.commit({"a": "1"})
    (tmp_path / "deploy key").write_text("the key\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    item = Deployment("web", form.format(repository.path))
    for held in (str(tmp_path / "deploy key"), "deploy-key"):
        (tmp_path / "deploy-key").write_text("the key\n")
        auth = Auth(ssh_key=held, known_hosts=str(tmp_path / "deploy key"))
        assert git.fetch(scope, replace(item, auth=auth)) == commit
        words = (ssh / "ARGUMENTS").read_text().splitlines()
        assert {"-oBatchMode=yes", "-oIdentitiesOnly=yes", "-oIdentityAgent=none"} <= set(words)
        assert "-oStrictHostKeyChecking=yes" in words
        assert (ssh / "KEY").read_text() == "the key\n"
        assert "the key" not in "".join(words)
    assert (ssh / "MODE").read_text() == "600\n"


def test_without_a_key_ssh_is_as_the_host_has_it(
    scope: Scope, repository: Repository, ssh: Path
) -> None:
    commit = repository.commit({"a": "1"})
    assert git.fetch(scope, Deployment("web", f"git@host:{repository.path}")) == commit
    assert "-oIdentitiesOnly=yes" not in (ssh / "ARGUMENTS").read_text().splitlines()
