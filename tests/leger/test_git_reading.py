"""Reading commits from a mirror: what is damaged is told, and what many have is opened once."""

import shutil

import pytest
from leger import git, prepare
from leger.deployment import Deployment
from leger.errors import LegerError
from leger.git import Mirror
from repositories import Repository


@pytest.mark.parametrize("damage", ["lost", "emptied", "no mirror", "no HEAD"])
def test_a_commit_that_cannot_be_read_is_told(scope, repository, damage):
    repository.commit({"a.container": "[Container]\nImage=a\n", "b/c": "text"})
    deployment = Deployment("shop", str(repository.path))
    commit = git.fetch(scope, deployment)
    mirror = git.Mirror.of(scope, deployment)
    if damage == "no mirror":
        shutil.rmtree(mirror.path)
    if damage == "no HEAD":
        (mirror.path / "HEAD").unlink()
    for path in mirror.path.glob("objects/*/*"):
        if path.is_file() and damage != "no HEAD":
            path.chmod(0o600)
            _ = path.unlink() if damage == "lost" else path.write_bytes(b"")
    with pytest.raises(LegerError, match=r"cannot be read|not fetched"):
        prepare.prepare(scope, deployment, commit)


def test_a_commit_that_many_deployments_have_is_opened_once(scope, tmp_path, monkeypatch):
    opened = []
    init = git.Commit.__init__
    monkeypatch.setattr(
        git.Commit, "__init__", lambda self, *args: (opened.append(args), init(self, *args))[1]
    )
    wanted = []
    for number in range(6):
        repository = Repository(tmp_path / str(number))
        repository.commit({"a": str(number)})
        deployment = Deployment("web", str(repository.path))
        wanted.append((Mirror.of(scope, deployment), git.fetch(scope, deployment)))

    def read(mirror, commit):
        with git.opened(mirror, commit) as source:
            return [source.read(entry) for entry in source.entries("", 9)]

    with git.kept_open():
        for _ in range(2):
            assert [read(*wanted[0]) for _ in range(3)] == [[b"0"]] * 3
        assert len(opened) == 1
        assert [read(*one) for one in wanted] == [[b"%d" % number] for number in range(6)]
        assert read(*wanted[0]) == [b"0"]
        assert len(opened) == 7, "few are open at once"
    assert read(*wanted[0]) == [b"0"]
    assert len(opened) == 8
