"""AWS: a key-encryption key in KMS, and backups in S3. The only importer of boto3.

boto3 is an extra: it is imported when it is needed. It finds region, endpoint and credentials as
it does everywhere (environment, shared files, the role of the machine).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from legerd import crypto
from legerd.errors import KeyUnavailable, LegerdError, StoreUnavailable
from legerd.keys import Kek

_MAX_BYTES = 4 << 30


def kms_key(arn: str) -> Kek:
    """The KEK that AWS KMS keeps under `arn`; it seals as setec does.

    Credentials are read now, by whoever calls this. Raises KeyUnavailable, as its calls do if KMS
    refuses or does not answer.
    """
    parts = arn.split(":")
    region = parts[3] if len(parts) > 5 and parts[2] == "kms" else None
    with _explained(arn):
        client = _client("kms", region)
    name = crypto.derive(arn.encode(), "legerd/1 id of a key in AWS KMS", length=8)
    return Kek(name, _Kms(arn, client))


@dataclass(frozen=True)
class _Kms:
    """legerd.keys.Cipher by KMS: Encrypt and Decrypt, as Tink calls them."""

    arn: str
    client: Any = field(repr=False)

    def seal(self, data: bytes, associated: bytes) -> bytes:
        """See Cipher; `data` has 4 KiB at most."""
        with _explained(self.arn):
            answer = self.client.encrypt(
                KeyId=self.arn, Plaintext=data, EncryptionContext=_context(associated)
            )
        return bytes(answer["CiphertextBlob"])

    def unseal(self, box: bytes, associated: bytes) -> bytes:
        """See Cipher."""
        with _explained(self.arn):
            answer = self.client.decrypt(
                KeyId=self.arn, CiphertextBlob=box, EncryptionContext=_context(associated)
            )
        return bytes(answer["Plaintext"])


class Bucket:
    """s3://BUCKET/PREFIX as a place of backups (legerd.backup.Place)."""

    def __init__(self, address: str) -> None:
        self.address = address.rstrip("/")
        self._bucket, _, prefix = self.address.removeprefix("s3://").partition("/")
        self._prefix = f"{prefix}/" if prefix else ""

    def names(self) -> list[str]:
        """What lies there, without the prefix."""
        with self._explained():
            pages = _client("s3").get_paginator("list_objects_v2")
            found = pages.paginate(Bucket=self._bucket, Prefix=self._prefix)
            keys = [each["Key"] for page in found for each in page.get("Contents", ())]
        return [key.removeprefix(self._prefix) for key in keys]

    def write(self, name: str, data: bytes) -> None:
        """Store an object; S3 keeps it encrypted once more."""
        with self._explained():
            _client("s3").put_object(
                Bucket=self._bucket,
                Key=self._prefix + name,
                Body=data,
                ServerSideEncryption="AES256",
            )

    def read(self, name: str) -> bytes:
        """An object, whole."""
        with self._explained():
            answer = _client("s3").get_object(Bucket=self._bucket, Key=self._prefix + name)
            if answer["ContentLength"] > _MAX_BYTES:
                raise StoreUnavailable(f"{self.address}/{name}: too large for a backup")
            return bytes(answer["Body"].read())

    def remove(self, name: str) -> None:
        """Delete an object."""
        with self._explained():
            _client("s3").delete_object(Bucket=self._bucket, Key=self._prefix + name)

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        with _boto_errors() as failed:
            yield
        if failed.said:
            raise StoreUnavailable(
                f"{self.address}: {failed.said}",
                hint="aws s3 ls says whether it can be reached, and as whom",
            )


@contextlib.contextmanager
def _explained(arn: str) -> Iterator[None]:
    """What KMS refuses becomes KeyUnavailable, what it does not know crypto.ForgeryError."""
    with _boto_errors() as failed:
        yield
    if failed.code in ("InvalidCiphertextException", "IncorrectKeyException"):
        raise crypto.ForgeryError(failed.code)
    if failed.said:
        raise KeyUnavailable(
            f"AWS KMS: {arn}: {failed.said}",
            hint="aws sts get-caller-identity says who asks; it needs kms:Encrypt and "
            "kms:Decrypt for this key",
        )


def _context(associated: bytes) -> dict[str, str]:
    """KMS's encryption context of associated data, as Tink has it."""
    return {"associatedData": associated.hex()}


def _client(service: str, region: str | None = None) -> Any:
    try:
        import boto3
        from botocore.config import Config
    except ImportError as error:
        raise LegerdError(
            "boto3 is not installed", hint="dnf install python3-boto3, or pip install leger[aws]"
        ) from error
    settings = Config(connect_timeout=5, read_timeout=30, retries={"max_attempts": 3})
    return boto3.client(service, region_name=region, config=settings)


@dataclass
class _Failure:
    """What AWS answered: its code for the error, and one line about it."""

    code: str = ""
    said: str = ""


@contextlib.contextmanager
def _boto_errors() -> Iterator[_Failure]:
    """Whatever boto3 raises in here is in the failure that is handed out."""
    failure = _Failure()
    try:
        yield failure
    except Exception as error:
        if not type(error).__module__.startswith("botocore"):
            raise
        response = getattr(error, "response", {})
        failure.code = str(response.get("Error", {}).get("Code", ""))
        failure.said = (str(error) or type(error).__name__).splitlines()[0]
