"""deployments.d/NAME.yaml and config.yaml are read once, with file and line of what is wrong."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from leger import config, deployment, yamlfile
from leger.deployment import Deployment
from leger.errors import ConfigError
from repositories import place


def parse(text: str, name: str = "web") -> Deployment:
    return Deployment.parse(yamlfile.parse(text.encode(), "web.yaml"), name=name)


def test_all_of_a_file_is_read():
    found = parse(
        "source: https://host/r\nref: v1.10\npath: ./web/\nvalues: {port: 8080}\n"
        "secrets: {db: prod/db:3}\non-secret-change: none\nupdate: stage\nfresh: required\n"
        "health: {timeout: 2min, quiet: 500ms}\nexclude: ['*.md']\ndata: [x/]\n"
        "verify: {allowed-signers: /etc/s}\nreplaces: [a.service]\n"
    )
    assert (found.ref, found.path, found.values) == ("v1.10", "web", {"port": 8080})
    assert found.secrets == {"db": "prod/db:3"}
    assert (found.health.timeout, found.health.quiet) == (120, 0.5)
    assert (found.fresh, found.data, found.verify.allowed_signers) == (True, ("x",), "/etc/s")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ref: main\n", "web.yaml:1: source is missing"),
        ("source: /r\nupdat: x\n", "web.yaml:2: unknown key 'updat'"),
        ("source: /r\nupdate: x\n", "web.yaml:2: 'x' is not one of apply, stage, manual"),
        ("source: /r\nref: --x\n", "web.yaml:2: '--x' is not the name of a branch"),
        ("source: /r\nref: a..b\n", "web.yaml:2: 'a..b' is not the name of a branch"),
        ("source: /r\npath: ../x\n", "web.yaml:2: '../x' leaves the repository"),
        ("source: http://h/r\n", "web.yaml:1: http://h/r: http:// is not allowed"),
        ("source: ./r\n", "web.yaml:1: './r' depends on the current folder"),
        ("source: /r\nsecrets:\n  a b: x\n", "web.yaml:3: 'a b' is not the name of a Podman"),
        ("source: /r\nhealth: {timeout: soon}\n", "web.yaml:2: 'soon' is not a duration"),
        ("- a\n", "web.yaml:1: a mapping"),
    ],
)
def test_what_is_wrong_is_named(text, message):
    with pytest.raises(ConfigError) as caught:
        parse(text)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("name", ["Web", "a_b", "-a", "a-", "", "a/b", "x" * 49, "é"])
def test_a_deployments_name_is_plain(name):
    with pytest.raises(ConfigError, match="is not a deployment's name"):
        parse("source: /r\n", name)


def test_another_scopes_deployment_is_not_deployed_from_here(scope):
    place(scope.deployments / "a.yaml", "source: /r\nscope: alice\n")
    with pytest.raises(ConfigError, match=r"a.yaml:2: scope: alice is not deployed from here"):
        deployment.load(scope, scope.deployments / "a.yaml")
    place(scope.deployments / "a.yaml", "source: /r\nscope: system\n")
    assert deployment.load(scope, scope.deployments / "a.yaml").scope == "system"


names = st.from_regex(r"[a-z][a-z0-9]{0,8}", fullmatch=True)
plain = st.none() | st.booleans() | st.integers(0, 10**6) | st.text("abc: #'\"", max_size=6)


@given(
    ref=st.sampled_from(["", "main", "feature/a", "1.10", "0644", "null", "yes"]),
    path=st.sampled_from(["", "a/b"]),
    values=st.dictionaries(names, plain | st.lists(plain, max_size=2), max_size=3),
    secrets=st.dictionaries(names, st.sampled_from(["prod/a", "b:3"]), max_size=2),
    update=st.sampled_from(["apply", "stage", "manual"]),
    fresh=st.booleans(),
)
def test_what_is_written_is_read_back(ref, path, values, secrets, update, fresh):
    item = Deployment(
        "web", "/r", ref=ref, path=path, values=values, secrets=secrets, update=update, fresh=fresh
    )
    assert Deployment.parse(yamlfile.parse(deployment.dump(item), "f"), name="web") == item


def test_config_has_defaults_without_a_file_and_names_what_is_wrong(scope):
    assert config.load(scope).secrets_prefix == ""
    place(scope.config, "secrets: {prefix: prod/}\nlimits: {fetch-size: 64M, fetch-time: 10s}\n")
    found = config.load(scope)
    assert found.secrets_prefix == "prod/"
    assert (found.limits.fetch_bytes, found.limits.fetch_seconds) == (64 << 20, 10)
    place(scope.config, "secrets:\n  prefx: a\n")
    with pytest.raises(ConfigError, match=r"config.yaml:2: unknown key 'prefx'"):
        config.load(scope)
