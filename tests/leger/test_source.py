"""Addresses of repositories in the forms that people paste."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from leger.errors import ConfigError
from leger.source import Address


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
        ("https://host/r?x=1", "no ? or #"),
        ("r", "not an address"),
        ("", "not an address"),
        ("/a\nb", "not an address"),
    ],
)
def test_other_addresses_are_refused(text, message):
    with pytest.raises(ConfigError, match=message.replace("?", r"\?")):
        Address.parse(text)


def test_a_password_is_not_shown():
    with pytest.raises(ConfigError) as caught:
        Address.parse("https://user:canary@host/r")
    assert "canary" not in str(caught.value)


@given(st.text(max_size=40))
def test_what_git_gets_is_never_an_option_or_a_helper(text):
    try:
        remote = Address.parse(text).remote
    except (ConfigError, ValueError):
        return
    assert not remote.startswith("-")
    assert "::" not in remote.partition("/")[0]
