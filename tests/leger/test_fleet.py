"""A fleet: one repository says what many hosts have, and each host takes its share."""

from __future__ import annotations

import http.server
import json
import shutil
import socketserver
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from leger import fleet, outlook, tailnet, wanted
from leger.deployment import is_defined_elsewhere, is_fleets
from leger.errors import ConfigError
from leger.fleet import Member
from leger.scope import Scope
from leger.wanted import Wanted
from repositories import Repository, place

FILES = {
    "deployments.d/web.yaml": (
        'source: /r\nhosts: ["web-*", "tag:edge"]\nvalues: {port: 1, own: 1}\n'
    ),
    "deployments.d/db.yaml": "source: /r\nhosts: db-1\n",
    "deployments.d/all.yaml": "source: /r\n",
    "deployments.d/nobody.yaml": "source: /r\nhosts: []\n",
    "groups.yaml": "blue: [web-1, web-2]\ngreen: 'tag:green'\n",
    "values/all.yaml": "port: 0\nbase: all\n",
    "values/group-blue.yaml": "base: blue\ncolour: blue\n",
    "values/group-green.yaml": "colour: green\n",
    "values/host-web-1.yaml": "port: 9\n",
}


def share(name: str, *tags: str) -> fleet.Share:
    files = {path: text.encode() for path, text in FILES.items()}
    return fleet.share(files, Member.of(name, tags))


@pytest.mark.parametrize(
    ("name", "tags", "expected"),
    [
        ("web-1", (), {"web", "all"}),
        ("db-1", (), {"db", "all"}),
        ("db-11", (), {"all"}),
        ("x", ("tag:edge",), {"web", "all"}),
        ("x", ("edge",), {"web", "all"}),
        ("edge", (), {"all"}),
    ],
)
def test_hosts_chooses_by_name_and_tag(
    name: str, tags: tuple[str, ...], expected: set[str]
) -> None:
    assert share(name, *tags).deployments.keys() == expected


def test_values_are_of_all_the_deployment_the_groups_and_the_host_in_this_order() -> None:
    found = share("web-1", "green").deployments
    assert found["web"].values == {"port": 9, "own": 1, "base": "blue", "colour": "green"}
    assert found["all"].values == {"port": 9, "base": "blue", "colour": "green"}
    assert share("web-3").deployments["web"].values == {"port": 1, "own": 1, "base": "all"}


names = st.from_regex(r"[a-c]{1,2}(-[0-9])?", fullmatch=True)


@given(names, st.sets(names, max_size=3), st.lists(names | st.just("*"), max_size=3))
def test_a_name_is_never_taken_for_a_tag(name: str, tags: set[str], patterns: list[str]) -> None:
    assert Member.of(name, tags).is_one_of(patterns) == (name in patterns or "*" in patterns)
    tagged = [f"tag:{pattern}" for pattern in patterns]
    expected = bool(tags & set(patterns)) or ("*" in patterns and bool(tags))
    assert Member.of(name, tags).is_one_of(tagged) == expected


@pytest.mark.parametrize(
    ("path", "text", "message"),
    [
        ("values/all.yaml", "a: [\n", "F/values/all.yaml:2: not valid YAML"),
        ("values/group-red.yaml", "a: 1\n", "F/values/group-red.yaml: belongs to no group"),
        ("values/hosts-a.yaml", "a: 1\n", "F/values/hosts-a.yaml: belongs to no group"),
        ("groups.yaml", "../x: a\n", "F/groups.yaml:1: a group cannot be called '../x'"),
        ("groups.yaml", "blue: {a: 1}\ngreen: x\n", "F/groups.yaml:1: a list is expected"),
    ],
)
def test_what_is_wrong_with_all_of_it_is_named(path: str, text: str, message: str) -> None:
    files = {name: content.encode() for name, content in {**FILES, path: text}.items()}
    with pytest.raises(ConfigError) as caught:
        fleet.share(files, Member.of("web-1", ()), "F/")
    assert str(caught.value).startswith(message)


def test_a_definition_that_is_wrong_concerns_the_hosts_that_it_is_for() -> None:
    files = {
        "deployments.d/bad.yaml": b"source: /r\nhosts: web-1\nupdat: x\n",
        "deployments.d/good.yaml": b"source: /r\n",
    }
    found = fleet.share(files, Member.of("web-1", ()), "F/")
    assert found.deployments.keys() == {"good"}
    assert str(found.failed["bad"]).startswith("F/deployments.d/bad.yaml:3: unknown key 'updat'")
    assert fleet.share(files, Member.of("web-2", ())).failed == {}


Configure = Callable[..., None]


@pytest.fixture
def configure(scope: Scope, repository: Repository) -> Configure:
    def write(path: str = "", more: str = "") -> None:
        folder = f", path: {path}" if path else ""
        text = f"fleet: {{source: {repository.path}{folder}}}\nhost: {{name: web-1}}\n{more}"
        place(scope.config, text)

    return write


def sources(found: Wanted) -> dict[str, str]:
    return {name: item.source for name, item in found.deployments.items()}


def test_a_host_has_its_share_of_what_was_fetched_last(
    scope: Scope, repository: Repository, configure: Configure
) -> None:
    repository.commit({f"hosts/{path}": text for path, text in FILES.items()})
    configure("hosts")
    assert sources(wanted.deployments(scope)) == {}
    assert sources(wanted.deployments(scope, fetch=True)) == {"web": "/r", "all": "/r"}
    assert wanted.deployments(scope).deployments["web"].values["port"] == 9
    repository.commit({"hosts/deployments.d/web.yaml": None})
    assert sources(wanted.deployments(scope)) == {"web": "/r", "all": "/r"}
    shutil.move(repository.path, repository.path.with_name("away"))
    offline = wanted.deployments(scope, fetch=True)
    assert "cannot be fetched" in str(offline.fleet)
    assert sources(offline) == {"web": "/r", "all": "/r"}
    shutil.move(repository.path.with_name("away"), repository.path)
    assert sources(wanted.deployments(scope, fetch=True)) == {"all": "/r"}


def test_the_hosts_own_definition_wins_and_the_fleets_is_not_ours_to_write(
    scope: Scope, repository: Repository, configure: Configure
) -> None:
    repository.commit(FILES)
    configure()
    place(scope.deployments / "web.yaml", "source: /own\n")
    found = wanted.deployments(scope, fetch=True)
    assert sources(found) == {"web": "/own", "all": "/r"}
    assert found.deployments["web"].values == {}
    assert is_defined_elsewhere(scope, "all")
    assert is_fleets(scope, "all")
    assert not is_defined_elsewhere(scope, "web")
    assert not is_fleets(scope, "web")


def test_nothing_is_gone_before_the_fleet_was_fetched_or_when_it_is_another(
    scope: Scope, repository: Repository, configure: Configure
) -> None:
    repository.commit(FILES)
    configure()
    assert not wanted.deployments(scope).is_gone("web")
    found = wanted.deployments(scope, fetch=True)
    assert found.is_gone("db")
    assert not found.is_gone("web")
    configure("elsewhere")
    assert not wanted.deployments(scope, fetch=True).is_gone("db")


def test_a_fleet_that_cannot_be_read_leaves_what_there_is(
    scope: Scope, repository: Repository, configure: Configure
) -> None:
    repository.commit(FILES)
    configure()
    wanted.deployments(scope, fetch=True)
    repository.commit({"values/all.yaml": "a: [\n", "deployments.d/new.yaml": "source: /r\n"})
    found = wanted.deployments(scope, fetch=True)
    assert f"{repository.path}: values/all.yaml:2: not valid YAML" in str(found.fleet)
    assert found.deployments.keys() == {"web", "all"}
    assert outlook.look(scope).failed["fleet"] is not None


@pytest.mark.parametrize("text", ["\\UFFFFFFFF", "\\U00110000", "\\uD800"])
def test_what_is_no_character_holds_back_what_it_stands_in(
    scope: Scope, repository: Repository, configure: Configure, text: str
) -> None:
    bad = f'source: /r\nvalues: {{a: "{text}"}}\n'
    repository.commit({**FILES, "deployments.d/bad.yaml": bad})
    configure()
    found = wanted.deployments(scope, fetch=True)
    assert found.deployments.keys() == {"all", "web"}
    assert "deployments.d/bad.yaml:2: " in str(found.failed["bad"])
    assert wanted.deployments(scope, fetch=True).fleet is None
    repository.commit(
        {"values/all.yaml": f'a: "{text}"\n', "deployments.d/new.yaml": "source: /r\n"}
    )
    found = wanted.deployments(scope, fetch=True)
    assert "values/all.yaml:1: " in str(found.fleet)
    assert found.deployments.keys() == {"all", "web"}


def test_a_bad_definition_of_the_fleet_is_named_with_its_line_and_holds_back_no_other(
    scope: Scope, repository: Repository, configure: Configure
) -> None:
    bad = {"deployments.d/web.yaml": "source: /r\nhosts: web-1\nreff: x\n"}
    repository.commit({**FILES, **bad})
    configure()
    found = wanted.deployments(scope, fetch=True)
    assert found.deployments.keys() == {"all"}
    assert str(found.failed["web"]).endswith("deployments.d/web.yaml:3: unknown key 'reff'")
    assert not found.is_gone("web")


def test_the_fleets_share_follows_the_hosts_tags_without_a_new_commit(
    scope: Scope, repository: Repository, configure: Configure
) -> None:
    repository.commit(FILES)
    place(scope.config, f"fleet: {{source: {repository.path}}}\nhost: {{name: x}}\n")
    assert sources(wanted.deployments(scope, fetch=True)).keys() == {"all"}
    place(scope.config, f"fleet: {{source: {repository.path}}}\nhost: {{name: x, tags: [edge]}}\n")
    assert sources(wanted.deployments(scope, fetch=True)).keys() == {"all", "web"}


def test_a_host_that_leaves_its_fleet_forgets_it(
    scope: Scope, repository: Repository, configure: Configure
) -> None:
    repository.commit(FILES)
    configure()
    place(scope.deployments / "own.yaml", "source: /own\n")
    wanted.deployments(scope, fetch=True)
    place(scope.config, "host: {name: web-1}\n")
    found = wanted.deployments(scope, fetch=True)
    assert sources(found) == {"own": "/own"}
    assert found.is_gone("web")
    assert not list(scope.sources.glob("fleet*[!k]"))


def test_a_fleets_branch_that_was_rewound_is_refused_until_it_is_accepted(
    scope: Scope, repository: Repository, configure: Configure
) -> None:
    first = repository.commit({"deployments.d/old.yaml": "source: /r\n"})
    repository.commit(FILES)
    configure()
    wanted.deployments(scope, fetch=True)
    repository.git("reset", "-q", "--hard", first)
    found = wanted.deployments(scope, fetch=True)
    assert "fleet: the default branch" in str(found.fleet)
    assert "web" in found.deployments
    found = wanted.deployments(scope, fetch=True, accept_rewind=True)
    assert sources(found) == {"old": "/r"}


def test_a_deployment_of_another_scope_is_not_taken_for_the_systems(
    scope: Scope, repository: Repository, configure: Configure
) -> None:
    mine = {"deployments.d/mine.yaml": "source: /r\nhosts: '*'\nscope: alice\n"}
    own = {"deployments.d/own.yaml": "source: /r\nscope: system\n"}
    repository.commit({**FILES, **mine, **own})
    configure()
    found = wanted.deployments(scope, fetch=True)
    assert "mine.yaml:3: scope: alice is not deployed from here" in str(found.failed["mine"])
    assert {"own", "all"} <= found.deployments.keys()
    assert "mine" not in found.deployments
    assert not found.is_gone("mine")


def test_a_fleet_must_be_signed_where_the_host_says_so(
    scope: Scope, repository: Repository, tmp_path: Path
) -> None:
    repository.commit(FILES)
    (tmp_path / "signers").write_text("")
    verify = f"verify: {{allowed-signers: {tmp_path}/signers}}"
    place(scope.config, f"fleet: {{source: {repository.path}, {verify}}}\n")
    found = wanted.deployments(scope, fetch=True)
    assert "fleet: commit" in str(found.fleet)
    assert "signed by anybody in" in str(found.fleet)
    assert found.deployments == {}


def test_a_link_is_no_definition(
    scope: Scope, repository: Repository, configure: Configure
) -> None:
    repository.commit({"deployments.d/web.yaml": "-> /etc/passwd"})
    configure()
    assert "must be a file" in str(wanted.deployments(scope, fetch=True).fleet)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("deployments.d/web.yaml", "deploy.d/web.yaml"),
        ("deployments.d/web.yaml", "deployments.d/web.yml"),
        ("deployments.d/web.yaml", "deployments.d/sub/web.yaml"),
        ("values/all.yaml", "values/all.yml"),
        ("groups.yaml", "groups.yml"),
    ],
)
def test_a_file_that_is_not_read_any_more_removes_nothing(
    scope: Scope, repository: Repository, configure: Configure, before: str, after: str
) -> None:
    files = {path: FILES[path] for path in ("deployments.d/web.yaml", "values/all.yaml")}
    repository.commit({**files, "groups.yaml": "blue: web-1\n"})
    configure()
    assert sources(wanted.deployments(scope, fetch=True)) == {"web": "/r"}
    (repository.path / after).parent.mkdir(exist_ok=True)
    repository.git("mv", before, after)
    repository.commit({})
    found = wanted.deployments(scope, fetch=True)
    expected = after if after.endswith("yml") or "sub" in after else "nothing in deployments.d"
    assert expected in str(found.fleet)
    assert sources(found) == {"web": "/r"}
    with pytest.raises(ConfigError, match=r"is not read|nothing in deployments\.d"):
        fleet.of_folder(repository.path)


def test_a_fleet_may_be_empty(scope: Scope, repository: Repository, configure: Configure) -> None:
    repository.commit({**FILES, "deployments.d/README": "", "deployments.d/.old.yml": ""})
    configure()
    assert sources(wanted.deployments(scope, fetch=True)) == {"web": "/r", "all": "/r"}
    gone = dict.fromkeys(path for path in FILES if path.startswith("deployments.d/"))
    repository.commit({**gone, "deployments.d/.gitkeep": ""})
    found = wanted.deployments(scope, fetch=True)
    assert (found.fleet, sources(found), found.is_gone("web")) == (None, {}, True)


def test_a_value_of_a_fleet_reaches_the_host_as_it_is(
    scope: Scope, repository: Repository, configure: Configure
) -> None:
    repository.commit({**FILES, "values/host-web-1.yaml": "rate: 0.00001\n"})
    configure()
    found = wanted.deployments(scope, fetch=True)
    assert found.deployments["web"].values["rate"] == 0.00001


def test_a_fetch_of_a_fleet_writes_to_sources_alone(
    scope: Scope, repository: Repository, configure: Configure
) -> None:
    repository.commit(FILES)
    configure()
    wanted.deployments(scope, fetch=True)
    assert [path.name for path in scope.state.iterdir()] == ["sources"]


class Local(http.server.BaseHTTPRequestHandler):
    """tailscaled's LocalAPI, as far as a fleet asks it."""

    answer: object = {}

    def do_GET(self) -> None:
        assert self.headers["Host"] == "local-tailscaled.sock"
        body = json.dumps(self.answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def address_string(self) -> str:
        return ""

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def tailscaled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    path = tmp_path / "tailscaled.sock"
    with socketserver.ThreadingUnixStreamServer(str(path), Local) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield path
        server.shutdown()
        thread.join()


def test_tags_are_those_of_the_node_while_it_is_up(
    tailscaled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = {"BackendState": "Running", "Self": {"Tags": ["tag:web", "tag:eu"]}}
    monkeypatch.setattr(Local, "answer", running)
    assert tailnet.tags(tailscaled) == ("web", "eu")
    monkeypatch.setattr(Local, "answer", {"BackendState": "Running", "Self": {}})
    assert tailnet.tags(tailscaled) == ()
    for answer in ({"BackendState": "NeedsLogin", "Self": {}}, [], {"BackendState": "Running"}):
        monkeypatch.setattr(Local, "answer", answer)
        assert tailnet.tags(tailscaled) is None
    assert tailnet.tags(tmp_path / "nowhere") is None
