"""AWS: a key in KMS opens the vault and setec's file; backups go to S3 and come back."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from legerd import aws, backup, crypto, setec_vault, tink
from legerd.errors import KeyUnavailable, StoreCorrupt, StoreUnavailable
from legerd.keys import Kek
from legerd.main import main
from legerd.setec_vault import SetecVault
from legerd.store import Store
from tests.legerd.cloud import Cloud, cloud
from tests.legerd.daemon import unix_daemon
from tests.legerd.opened import KEK


@pytest.fixture(scope="module")
def account() -> Iterator[Cloud]:
    with cloud() as running:
        yield running


def test_a_key_in_kms_seals_as_tink_does(account: Cloud) -> None:
    arn = account.key()
    box = aws.kms_key(arn).seal(b"data", b"setec DEK v1")
    context = {"associatedData": b"setec DEK v1".hex()}
    answer = account.kms.decrypt(KeyId=arn, CiphertextBlob=box, EncryptionContext=context)
    assert answer["Plaintext"] == b"data"
    assert aws.kms_key(arn).unseal(box, b"setec DEK v1") == b"data"


def test_what_kms_did_not_seal_for_this_is_refused(account: Cloud) -> None:
    key = aws.kms_key(account.key())
    box = key.seal(b"data", b"one")
    for wrong, associated in ((box, b"two"), (b"x" * 64, b"one")):
        with pytest.raises((crypto.ForgeryError, KeyUnavailable)):
            key.unseal(wrong, associated)


def test_a_key_that_kms_does_not_have_is_said_with_its_name(account: Cloud) -> None:
    arn = account.key()[:-4] + "0000"
    with pytest.raises(KeyUnavailable, match=arn) as caught:
        aws.kms_key(arn).seal(b"data", b"associated")
    assert "kms:Decrypt" in caught.value.hint


def test_a_kms_that_does_not_answer_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("ENDPOINT_URL", "http://127.0.0.1:1"), ("ACCESS_KEY_ID", "x"),
                        ("SECRET_ACCESS_KEY", "x"), ("MAX_ATTEMPTS", "1")):  # fmt: skip
        monkeypatch.setenv(f"AWS_{name}", value)
    with pytest.raises(KeyUnavailable, match="AWS KMS"):
        aws.kms_key("arn:aws:kms:eu-central-1:1:key/x").seal(b"data", b"associated")


def test_a_vault_is_opened_by_its_key_in_kms_and_no_other(account: Cloud, tmp_path: Path) -> None:
    arn = account.key()
    store = Store.open(tmp_path / "v", aws.kms_key(arn), create=True)
    store.put("a", b"value", "me")
    store.renew(data_key=True)
    store.close()
    for other in (aws.kms_key(account.key()), KEK):
        with pytest.raises(KeyUnavailable, match="sealed with key"):
            Store.open(tmp_path / "v", other)
    store = Store.open(tmp_path / "v", aws.kms_key(arn))
    assert store.snapshot["a"].versions[1].value.reveal() == b"value"
    store.close()


def test_setecs_file_with_its_key_in_kms_is_served_and_imported(
    account: Cloud, tmp_path: Path
) -> None:
    arn, path = account.key(), tmp_path / "database"
    setec_vault.create(path, aws.kms_key(arn))
    blob = tink.wrapped(base64.b64decode(json.loads(path.read_bytes())["DEK"]))
    context = {"associatedData": b"setec DEK v1".hex()}
    assert account.kms.decrypt(KeyId=arn, CiphertextBlob=blob, EncryptionContext=context)
    with unix_daemon(tmp_path, "--kms-key", arn, "--db", str(path)) as legerd:
        assert legerd.request("POST", "/api/put", b'{"Name":"a","Value":"dg=="}')[1] == b"1"
        assert legerd.stop() == 0
    store = Store(SetecVault.open(path, (aws.kms_key(arn),)))
    assert list(store.snapshot) == ["a"]
    store.close()
    state = tmp_path / "vault"
    assert (
        main(["import", str(path), "--file-kms-key", arn, "--dev", "--state-dir", str(state)]) == 0
    )
    assert main(["check", "--dev", "--state-dir", str(state)]) == 0


def test_a_vault_moves_from_a_key_file_to_kms(
    account: Cloud, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    arn, key, state = account.key(), tmp_path / "key", tmp_path / "state"
    key.write_bytes(bytes(range(32)))
    key.chmod(0o600)
    store = Store.open(state, Kek.of(bytes(range(32))), create=True)
    store.put("a", b"value", "me")
    store.close()
    where = ["--state-dir", str(state)]
    assert main(["rekey", "--key-file", str(key), "--new-kms-key", arn, *where]) == 0
    assert "and by no other" in capfd.readouterr().err
    assert main(["check", "--key-file", str(key), *where]) == 1
    assert main(["check", "--kms-key", arn, *where]) == 0


def test_backups_go_to_s3_and_come_back(account: Cloud) -> None:
    address = f"s3://{account.bucket('backups')}/hosts/web"
    made = [backup.Backup("web", 1_700_000_000 + day, day, "", b"d", b"s") for day in range(4)]
    for each in made[:3]:
        backup.store(each, address)
    account.s3.put_object(Bucket="backups", Key="hosts/web/notes.txt", Body=b"mine")
    assert backup.store(made[3], address, keep=2) == [each.name for each in made[:2]]
    assert backup.load(address) == made[3]
    assert backup.load(f"{address}/{made[2].name}") == made[2]
    place = backup.place(address)
    assert sorted(place.names()) == sorted(["notes.txt", made[2].name, made[3].name])
    for name in (made[3].name, made[2].name):
        account.s3.put_object(Bucket="backups", Key=f"hosts/web/{name}", Body=b"torn")
    with pytest.raises(StoreCorrupt, match="not a whole backup"):
        backup.load(address)


def test_a_bucket_that_is_not_there_is_said(account: Cloud) -> None:
    made = backup.Backup("web", 1_700_000_000, 1, "", b"d", b"s")
    with pytest.raises(StoreUnavailable, match="s3://nobody-has-this") as caught:
        backup.store(made, "s3://nobody-has-this/x")
    assert "aws s3 ls" in caught.value.hint


def test_a_vault_goes_to_s3_and_to_another_host(
    account: Cloud, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    arn, address = account.key(), f"s3://{account.bucket('vaults')}"
    store = Store.open(tmp_path / "here", aws.kms_key(arn), create=True)
    store.put("a", b"value", "me")
    store.close()
    here = ["--kms-key", arn, "--state-dir", str(tmp_path / "here")]
    backup_there = ["backup", "--to", address, "--hostname", "web", *here]
    assert main(backup_there) == 2
    assert main([*backup_there, "--without-recovery-key"]) == 0
    name = capfd.readouterr().out.strip()
    assert name.startswith(f"{address}/web-")
    (tmp_path / "there").mkdir(mode=0o700)
    there = ["--kms-key", arn, "--state-dir", str(tmp_path / "there")]
    assert main(["restore", name, *there]) == 0
    assert "opened by the key that is here" in capfd.readouterr().err
    assert main(["check", *there]) == 0
