"""An object store on this machine, for tests: moto's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer


@contextmanager
def object_store() -> Iterator[Any]:
    """A context in which the environment names a store, with credentials. Gives a client for it."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    given = {
        "AWS_ENDPOINT_URL_S3": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    with pytest.MonkeyPatch.context() as patched:
        for name, text in given.items():
            patched.setenv(name, text)
        try:
            yield boto3.client("s3", endpoint_url=given["AWS_ENDPOINT_URL_S3"], region_name="us-east-1")
        finally:
            server.stop()


def objects_in(client: Any, bucket: str) -> set[str]:
    """What lies in a bucket, but for what stands for its folders."""
    found = client.list_objects_v2(Bucket=bucket).get("Contents", [])
    return {f"s3://{bucket}/{item['Key']}" for item in found if not item["Key"].endswith("/")}
