"""Addresses of repositories in the forms that people paste."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from leger.errors import ConfigError
from leger.source import Address, shown


@pytest.mark.parametrize(
    ("text", "remote", "tree"),
    [
        ("https://github.com/o/r", "https://github.com/o/r", ""),
        ("https://github.com/o/r/", "https://github.com/o/r", ""),
        ("https://github.com/o/r.git", "https://github.com/o/r.git", ""),
        ("https://github.com/o/r/tree/main", "https://github.com/o/r", "main"),
        ("https://github.com/o/r/tree/feat/x/web", "https://github.com/o/r", "feat/x/web"),
        ("https://github.com/o/r/tree/a%20b", "https://github.com/o/r", "a b"),
        ("https://gitlab.com/a/b/c/-/tree/main/web", "https://gitlab.com/a/b/c", "main/web"),
        ("https://codeberg.org/o/r/src/branch/main/web", "https://codeberg.org/o/r", "main/web"),
        ("https://host:8443/o/r", "https://host:8443/o/r", ""),
        ("HTTPS://github.com/o/r", "https://github.com/o/r", ""),
        ("git+https://github.com/o/r.git", "https://github.com/o/r.git", ""),
        ("github.com/o/r", "https://github.com/o/r", ""),
        ("git.example.org:8443/o/r.git", "https://git.example.org:8443/o/r.git", ""),
        ("github.com/o/r/tree/main/web/", "https://github.com/o/r", "main/web"),
        ("https://github.com/o/r.git/", "https://github.com/o/r.git", ""),
        ("https://github.com/o/r?tab=readme-ov-file#readme", "https://github.com/o/r", ""),
        ("https://github.com/o/r/tree/main/web?tab=x", "https://github.com/o/r", "main/web"),
        ("https://github.com/o/r/blob/main/web/a.pod", "https://github.com/o/r", "main/web"),
        ("https://github.com/o/r/blob/main/README.md", "https://github.com/o/r", "main"),
        (f"https://github.com/o/r/commit/{'a' * 40}", "https://github.com/o/r", "a" * 40),
        ("https://github.com/o/r/releases/tag/v1.2", "https://github.com/o/r", "v1.2"),
        (
            "https://gitlab.com/a/b/c/-/tree/feat/x?ref_type=heads",
            "https://gitlab.com/a/b/c",
            "feat/x",
        ),
        ("https://gitlab.com/a/b/c/-/blob/main/w/a.pod", "https://gitlab.com/a/b/c", "main/w"),
        ("https://gitlab.com/a/b/c/d/e.git", "https://gitlab.com/a/b/c/d/e.git", ""),
        ("https://codeberg.org/o/r/src/tag/v1/web", "https://codeberg.org/o/r", "v1/web"),
        ("https://host/git/o/r/src/commit/abc/web", "https://host/git/o/r", "abc/web"),
        ("https://bitbucket.org/o/r/src/main/web/", "https://bitbucket.org/o/r", "main/web"),
        ("https://bitbucket.org/o/r/branch/feat/x", "https://bitbucket.org/o/r", "feat/x"),
        ("https://bitbucket.org/o/r", "https://bitbucket.org/o/r", ""),
        ("SSH://git@host/o/r.git", "ssh://git@host/o/r.git", ""),
        ("git+ssh://git@host/o/r.git", "ssh://git@host/o/r.git", ""),
        ("ssh://host/~/r", "ssh://host/~/r", ""),
        ("git@host:~/r", "git@host:~/r", ""),
        ("git@gitlab.com:a/b/c/d.git", "git@gitlab.com:a/b/c/d.git", ""),
        ("ssh://git@host:2222/o/r.git", "ssh://git@host:2222/o/r.git", ""),
        ("git@github.com:o/r.git", "git@github.com:o/r.git", ""),
        ("host:o/r", "host:o/r", ""),
        ("/srv/git/r", "/srv/git/r", ""),
        ("file:///srv/git/a%20b", "/srv/git/a b", ""),
    ],
)
def test_an_address_is_understood(text, remote, tree):
    assert Address.parse(text) == Address(remote, tree)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("http://host/r", "http:// is not allowed"),
        ("git://host/r", "git:// is not allowed"),
        ("ext::sh -c x", "not an address"),
        ("ext::sh", "not an address"),
        ("--upload-pack=x:y", "not an address"),
        ("-oProxyCommand=x:y", "not an address"),
        ("ssh://-oProxyCommand=x/y", "no host"),
        ("https://token@host/r", "no user or password"),
        ("https://user:pass@host/r", "no user or password"),
        ("ssh://git:pass@host/r", "no user or password"),
        ("https://host/r?private_token=x", "no ? in"),
        ("https://[host/r", "not an address"),
        ("https://host:port/r", "not an address"),
        ("https://@host/r", "no user or password"),
        ("user:token@host/o/r", "no user or password"),
        ("oauth2:token@host:o/r", "no user or password"),
        ("https:/user:token@host/o/r", "no user or password"),
        ("o/r", "not an address"),
        ("~no-such-user-here/r", "nobody here has that home"),
        ("r", "not an address"),
        ("", "not an address"),
        ("/a\nb", "not an address"),
    ],
)
def test_other_addresses_are_refused(text, message):
    with pytest.raises(ConfigError, match=message.replace("?", r"\?")):
        Address.parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "https://user:canary@host/r",
        "https://user:canary/canary@host:x/r",
        "http://u:a@canary@h/r",
        "https://host/r?private_token=canary",
        "http://host/r#access_token=canary",
        "user:canary@host/o/r",
        "oauth2:canary@host:o/r",
        "user:can/canary@host:o/r",
        "user::canary@host",
    ],
)
def test_a_password_is_not_shown(text):
    with pytest.raises(ConfigError) as caught:
        Address.parse(text)
    assert "canary" not in str(caught.value)


def test_what_a_program_says_is_shown_without_what_its_addresses_hold():
    said = "redirect from 'https://a:canary@h/r?t=canary#canary' (why? #7)"
    assert shown(said) == "redirect from 'https://h/r' (why? #7)"


def test_a_home_folder_is_found(monkeypatch):
    monkeypatch.setenv("HOME", "/home/ada")
    assert Address.parse("~/r") == Address("/home/ada/r")
    assert Address.parse("~root/r") == Address("/root/r")


@given(st.text(max_size=40))
def test_what_git_gets_is_never_an_option_or_a_helper(text):
    try:
        remote = Address.parse(text).remote
    except ConfigError:
        return
    assert not remote.startswith("-")
    assert "::" not in remote.partition("/")[0]
