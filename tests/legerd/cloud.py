"""AWS as moto's server plays it, on a port of this process; boto3 finds it by its environment."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

REGION = "eu-central-1"


@dataclass
class Cloud:
    """A server of moto's, and what asks it."""

    kms: Any
    s3: Any

    def key(self) -> str:
        """The ARN of a new key."""
        return str(self.kms.create_key()["KeyMetadata"]["Arn"])

    def bucket(self, name: str) -> str:
        """The name of a new bucket."""
        self.s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
        return name


@contextlib.contextmanager
def cloud() -> Iterator[Cloud]:
    """An account with nothing in it; the environment of this process says where it is."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patch.setenv("AWS_DEFAULT_REGION", REGION)
        patch.setenv("AWS_ACCESS_KEY_ID", "tests")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "tests")
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        try:
            yield Cloud(boto3.client("kms"), boto3.client("s3"))
        finally:
            server.stop()
