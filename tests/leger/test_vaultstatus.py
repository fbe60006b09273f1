"""What leger status says of legerd's vault, asked of a legerd that runs."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from leger.legerdclient import Client
from leger.vaultstatus import VaultStatus

from tests.legerd.daemon import unix_daemon

DAY = 86400.0


def written(moment: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment))


def test_a_vault_without_a_recovery_key_and_with_old_secrets(tmp_path: Path):
    if os.geteuid():
        pytest.skip("legerd tells root only")
    with unix_daemon(tmp_path) as legerd:
        assert isinstance(legerd.address, Path)
        client = Client(legerd.address)
        vault = client.vault()
        assert vault == VaultStatus("")
        for name, days in (("web/old", -1), ("web/soon", 2), ("web/later", 99)):
            body = b'{"Name":"%s","Value":"dg=="}' % name.encode()
            assert legerd.request("POST", "/api/put", body)[0] == 200
            said = b'{"Name":"%s","Expires":"%s"}' % (
                name.encode(), written(time.time() + days * DAY).encode()
            )  # fmt: skip
            assert legerd.request("POST", "/api/leger/describe", said)[0] == 200
        vault = client.vault()
        assert vault is not None
        lines = list(vault.problems())
    assert len(lines) == 3
    assert "no recovery key" in lines[0]
    assert lines[1].startswith("secret web/old has expired on 2")
    assert lines[2].startswith("secret web/soon expires on 2")
    assert lines[2].endswith("leger secrets set web/soon - renews it")


def test_a_legerd_that_does_not_answer_is_no_problem_of_the_vault(tmp_path: Path):
    assert Client(tmp_path / "nobody").vault() is None


def test_a_long_list_is_cut_and_a_rekey_that_was_broken_off_is_said():
    expiring = tuple((f"s{number}", written(DAY)) for number in range(12))
    lines = list(VaultStatus("key", expiring, keys=2).problems())
    assert "opened by 2 keys: legerd rekey" in lines[0]
    assert len(lines) == 1 + 10 + 1
    assert lines[-1] == "2 more secrets have expired or expire soon"
    assert list(VaultStatus("key").problems()) == []
