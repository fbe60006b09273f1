"""Fetching into bare mirrors: incremental, within limits, deaf to the host's Git settings."""

import http.server
import os
import shutil
import socketserver
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from leger import fetching, git, gitprogram
from leger import mirror as mirrors
from leger.config import Limits
from leger.deployment import Deployment
from leger.git import FetchError, Mirror, RewoundError
from leger.gitprogram import Remote
from repositories import Repository


def web(repository, **settings):
    return Deployment("web", str(repository.path), **settings)


def fetching_into(mirror, limits=Limits(), protocols=gitprogram.PROTOCOLS):  # noqa: B008
    return mirrors.Fetch(mirror, Remote(mirror.remote, limits, protocols))


def test_the_default_branch_is_followed_whatever_its_name(scope, tmp_path):
    repository = Repository(tmp_path / "r")
    repository.git("checkout", "-q", "-b", "trunk")
    first = repository.commit({"a": "1"})
    assert git.fetch(scope, web(repository)) == first
    second = repository.commit({"a": "2"})
    assert git.fetch(scope, web(repository)) == second


def test_branch_tag_and_commit_are_found(scope, repository):
    first = repository.commit({"a": "1"})
    repository.git("tag", "light")
    repository.git("tag", "-a", "-m", "x", "heavy")
    repository.git("branch", "feature/x")
    repository.commit({"a": "2"})
    for ref in ("light", "heavy", "feature/x", first):
        assert git.fetch(scope, web(repository, ref=ref)) == first


def test_a_branch_may_become_a_folder_of_branches(scope, repository):
    first = repository.commit({"a": "1"})
    repository.git("branch", "x")
    assert git.fetch(scope, web(repository, ref="x")) == first
    repository.git("branch", "-m", "x", "x/y")
    assert git.fetch(scope, web(repository, ref="x/y")) == first


def rewritten(repository):
    repository.git("checkout", "-q", "--orphan", "new")
    commit = repository.commit({"a": "rewritten"})
    repository.git("branch", "-f", "main")
    repository.git("checkout", "-q", "main")
    return commit


def test_a_rewritten_branch_is_refused_until_it_is_accepted(scope, repository):
    first = repository.commit({"a": "1"})
    git.fetch(scope, web(repository, ref="main"))
    second = rewritten(repository)
    for _ in range(2):
        with pytest.raises(RewoundError, match=r"branch main .* was rewritten") as caught:
            git.fetch(scope, web(repository, ref="main"))
        assert f"from {first} to {second}" in str(caught.value)
        assert "leger sync --accept-rewind web takes it" in caught.value.hint
    assert git.fetch(scope, web(repository, ref="main"), accept_rewind=True) == second
    assert git.fetch(scope, web(repository, ref="main")) == second


def test_a_rewound_default_branch_is_refused_and_may_come_back(scope, repository):
    first = repository.commit({"a": "1"})
    second = repository.commit({"a": "2"})
    assert git.fetch(scope, web(repository)) == second
    repository.git("reset", "-q", "--hard", first)
    with pytest.raises(RewoundError, match=r"the default branch .* was rewound"):
        git.fetch(scope, web(repository))
    repository.git("reset", "-q", "--hard", second)
    assert git.fetch(scope, web(repository)) == second
    third = repository.commit({"a": "3"})
    assert git.fetch(scope, web(repository)) == third


def test_a_tag_that_moved_is_refused_though_it_moved_forward(scope, repository):
    repository.commit({"a": "1"})
    repository.git("tag", "v1")
    git.fetch(scope, web(repository, ref="v1"))
    second = repository.commit({"a": "2"})
    repository.git("tag", "-f", "v1")
    with pytest.raises(RewoundError, match=r"tag v1 .* moved"):
        git.fetch(scope, web(repository, ref="v1"))
    assert git.fetch(scope, web(repository, ref="v1"), accept_rewind=True) == second


def test_a_tag_made_anew_of_the_same_commit_did_not_move(scope, repository):
    first = repository.commit({"a": "1"})
    repository.git("tag", "v1")
    git.fetch(scope, web(repository, ref="v1"))
    repository.git("tag", "-f", "-a", "-m", "x", "v1")
    assert git.fetch(scope, web(repository, ref="v1")) == first


def test_a_rewound_branch_is_known_though_the_mirror_was_lost(scope, repository):
    first = repository.commit({"a": "1"})
    repository.commit({"a": "2"})
    git.fetch(scope, web(repository))
    shutil.rmtree(Mirror.of(scope, web(repository)).path)
    repository.git("reset", "-q", "--hard", first)
    with pytest.raises(RewoundError):
        git.fetch(scope, web(repository))


def test_what_is_not_there_is_named(scope, repository):
    repository.commit({"a": "1"})
    with pytest.raises(FetchError, match="has no branch or tag 'gone'"):
        git.fetch(scope, web(repository, ref="gone"))
    with pytest.raises(FetchError, match="cannot be fetched"):
        git.fetch(scope, Deployment("web", "/nowhere"))
    with pytest.raises(FetchError, match=f"has no commit {'1' * 40}"):
        git.fetch(scope, web(repository, ref="1" * 40))


def test_a_remote_that_is_gone_leaves_the_mirror_as_it_was(scope, repository):
    commit = repository.commit({"a": "1"})
    git.fetch(scope, web(repository))
    repository.path.rename(repository.path.with_name("away"))
    with pytest.raises(FetchError):
        git.fetch(scope, web(repository))
    with git.Commit(Mirror.of(scope, web(repository)), commit) as source:
        assert [entry.path for entry in source.entries("", 9)] == ["a"]
        assert source.summary().subject == "change"


def test_a_browsers_address_ends_its_branch_where_the_remote_says(scope, repository):
    first = repository.commit({"web/a": "1"})
    repository.git("branch", "feat/x")
    item = Deployment("web", "https://host/o/r/tree/feat/x/web/conf")
    mirror = Mirror(str(repository.path), Mirror.of(scope, item).path)
    assert fetching_into(mirror).commit(item) == first
    assert git.folder(scope, item) == "web/conf"
    pinned = replace(item, ref=repository.commit({"web/a": "2"}))
    assert fetching_into(mirror).commit(pinned) == pinned.ref
    assert git.folder(scope, pinned) == "web/conf"


def test_a_pinned_browsers_address_knows_its_folder_from_the_start(scope, repository):
    first = repository.commit({"web/a": "1"})
    item = Deployment("web", "https://host/o/r/tree/main/web", ref=first)
    mirror = Mirror(str(repository.path), Mirror.of(scope, item).path)
    assert fetching_into(mirror).commit(item) == first
    assert git.folder(scope, item) == "web"


def test_the_hosts_git_settings_do_not_count(scope, repository, tmp_path, monkeypatch):
    commit = repository.commit({"a": "1"})
    home = tmp_path / "home"
    home.mkdir()
    (home / ".gitconfig").write_text(
        f'[url "/nowhere"]\ninsteadOf = {repository.path}\n'
        f"[core]\nfsmonitor = touch {tmp_path}/ran\n"
    )
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    monkeypatch.setenv("GIT_ALTERNATE_OBJECT_DIRECTORIES", "/nowhere")
    assert git.fetch(scope, web(repository)) == commit
    with git.Commit(Mirror.of(scope, web(repository)), commit) as source:
        assert [entry.path for entry in source.entries("", 9)] == ["a"]
    assert not (tmp_path / "ran").exists()


def test_other_protocols_are_refused_by_git_too(scope):
    item = Deployment("web", "https://host/r")
    for remote in ("http://127.0.0.1:1/r", "git://127.0.0.1/r", "ext::touch /tmp/x"):
        with pytest.raises(FetchError, match="not allowed"):
            fetching_into(Mirror(remote, Mirror.of(scope, item).path)).commit(item)


def test_a_repository_that_is_too_large_costs_no_more_than_the_limit(scope, repository, soak):
    size = 2 << 30 if soak else 24 << 20
    with (repository.path / "big").open("wb") as file:
        for _ in range(size >> 20):
            file.write(os.urandom(1 << 20))
    repository.git("config", "core.compression", "0")
    repository.commit({})
    limit = size // 4
    with pytest.raises(FetchError, match="larger than"):
        git.fetch(scope, web(repository), Limits(fetch_bytes=limit))
    mirror = Mirror.of(scope, web(repository)).path
    assert sum(path.stat().st_size for path in mirror.rglob("*") if path.is_file()) < 1 << 20
    assert git.fetch(scope, web(repository), Limits(fetch_bytes=size * 2))


class Dripping(http.server.BaseHTTPRequestHandler):
    """Answers a byte at a time, for ever."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/x-git-upload-pack-advertisement")
        self.end_headers()
        try:
            while True:
                self.wfile.write(b"0")
                self.wfile.flush()
                time.sleep(0.1)
        except OSError:
            return

    def log_message(self, *_: object) -> None:
        return


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True


@pytest.fixture
def dripping():
    with Server(("127.0.0.1", 0), Dripping) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/r"
        server.shutdown()
        thread.join()


def test_a_server_that_drips_is_left_at_the_time_limit_with_all_children(scope, dripping):
    item = Deployment("web", "https://host/r")
    mirror = Mirror(dripping, Mirror.of(scope, item).path)
    started = time.monotonic()
    with pytest.raises(FetchError, match=r"not fetched within 1 s"):
        fetching_into(mirror, Limits(fetch_seconds=1), ("http",)).commit(item)
    assert time.monotonic() - started < 20
    assert [line for line in commands() if dripping in line] == []


def commands() -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:
            continue
    return found


def test_two_fetches_at_once_wait_for_each_other(scope, repository):
    commit = repository.commit({"a": "1"})
    found: list[str] = []
    threads = [
        threading.Thread(target=lambda: found.append(git.fetch(scope, web(repository))))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [commit] * 4


@pytest.fixture
def calls(tmp_path, monkeypatch):
    """Git's commands, as they are called from now on."""
    log = tmp_path / "calls"
    program = tmp_path / "bin/git"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho "$1" >>{log}\nexec /usr/bin/git "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")

    def since() -> list[str]:
        found = log.read_text().split() if log.exists() else []
        log.unlink(missing_ok=True)
        return found

    return since


@pytest.mark.parametrize("ref", ["", "main", "light", "heavy"])
def test_nothing_new_costs_one_program_and_one_round_trip(scope, repository, calls, ref):
    commit = repository.commit({"a": "1"})
    repository.git("tag", "light")
    repository.git("tag", "-a", "-m", "x", "heavy")
    git.fetch(scope, web(repository, ref=ref))
    calls()
    assert git.fetch(scope, web(repository, ref=ref)) == commit
    assert calls() == ["ls-remote"]


def test_a_pinned_commit_that_is_here_costs_nothing(scope, repository, calls):
    commit = repository.commit({"a": "1"})
    git.fetch(scope, web(repository, ref=commit))
    calls()
    repository.path.rename(repository.path.with_name("away"))
    assert git.fetch(scope, web(repository, ref=commit)) == commit
    assert calls() == []


def test_deployments_of_one_remote_share_the_round_trip_and_fail_alone(scope, repository, calls):
    commit = repository.commit({"a": "1"})
    repository.git("branch", "other")
    items = [
        Deployment("a", str(repository.path)),
        Deployment("b", str(repository.path), ref="other"),
        Deployment("c", str(repository.path), ref="gone"),
        Deployment("d", str(repository.path), ref=commit),
    ]
    found = fetching.fetch_all(scope, items)
    assert (found["a"], found["b"], found["d"]) == (commit, commit, commit)
    assert "has no branch or tag 'gone'" in str(found["c"])
    assert calls().count("ls-remote") == 1


def test_many_packs_become_one_and_nothing_is_lost(scope, repository, monkeypatch):
    monkeypatch.setattr(mirrors, "_PACKS", 3)
    first = repository.commit({"a": "first"})
    git.fetch(scope, web(repository))
    rewritten(repository)
    last = git.fetch(scope, web(repository), accept_rewind=True)
    for number in range(5):
        last = repository.commit({"a": str(number)})
        git.fetch(scope, web(repository), accept_rewind=True)
    mirror = Mirror.of(scope, web(repository))
    assert len(list(mirror.path.glob("objects/pack/*.pack"))) <= 3
    for commit in (first, last):
        with git.Commit(mirror, commit) as source:
            assert [entry.path for entry in source.entries("", 9)] == ["a"]


@pytest.mark.parametrize("form", ["commit", "tag"])
def test_a_browsers_address_of_a_commit_or_a_tag_is_pinned_to_it(scope, repository, form):
    first = repository.commit({"web/a": "1"})
    repository.git("tag", "v/1")
    repository.commit({"web/a": "2"})
    tree = f"{first}/web" if form == "commit" else "v/1/web"
    item = Deployment("web", f"https://host/o/r/tree/{tree}")
    mirror = Mirror(str(repository.path), Mirror.of(scope, item).path)
    assert fetching_into(mirror).commit(item) == first
    assert git.folder(scope, item) == "web"
    assert git.known(scope, item) == first


def truncate(mirror: Path, pattern: str) -> None:
    for path in mirror.glob(pattern):
        path.chmod(0o644)
        path.write_bytes(b"")


DAMAGE = {
    "HEAD is empty": lambda mirror: truncate(mirror, "HEAD"),
    "config is empty": lambda mirror: truncate(mirror, "config"),
    "references are empty": lambda mirror: truncate(mirror, "refs/leger/*"),
    "packs are empty": lambda mirror: truncate(mirror, "objects/pack/*.pack"),
    "indexes are empty": lambda mirror: truncate(mirror, "objects/pack/*.idx"),
    "packs are gone": lambda mirror: [p.unlink() for p in mirror.glob("objects/pack/*")],
    "a lock was left": lambda mirror: (mirror / "packed-refs.lock").touch(),
    "a reference's lock was left": lambda mirror: [
        p.with_name(f"{p.name}.lock").touch() for p in mirror.glob("refs/leger/*")
    ],
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("news", [False, True])
def test_a_mirror_that_a_power_cut_damaged_mends_itself(scope, repository, damage, news):
    commit = repository.commit({"a": "1"})
    git.fetch(scope, web(repository))
    DAMAGE[damage](Mirror.of(scope, web(repository)).path)
    commit = repository.commit({"a": "2"}) if news else commit
    assert git.fetch(scope, web(repository)) == commit
    with git.Commit(Mirror.of(scope, web(repository)), commit) as source:
        assert [entry.path for entry in source.entries("", 9)] == ["a"]
