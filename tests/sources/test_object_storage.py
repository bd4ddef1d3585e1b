"""Raw files in a bucket: the same numbers, order and rows as in a folder. The store is moto's, on this machine."""

# ruff: noqa: DTZ001  (the warehouse keeps UTC without a zone)
from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import boto3
import pytest
from harness import Warehouse
from moto.server import ThreadedMotoServer

from dagster_project.pipeline import nightly
from dagster_project.pipeline.nightly import LoadResult
from dagster_project.readers.raw_storage import RawStorageError
from dagster_project.settings import load_settings
from dagster_project.warehouse.database import open_warehouse
from dagster_project.warehouse.replay import MissingFiles

NOW = datetime(2026, 4, 1, 3, 30)
BUCKET = "usage"


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


class Bucket:
    def __init__(self, endpoint: str, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for name, text in {
            "AWS_ENDPOINT_URL_S3": endpoint,
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_EC2_METADATA_DISABLED": "true",
            "WAREHOUSE_DATA": str(data),
            "WAREHOUSE_RAW": f"s3://{BUCKET}/raw",
        }.items():
            monkeypatch.setenv(name, text)
        self.client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1")
        for found in self.client.list_buckets()["Buckets"]:
            for item in self.client.list_objects_v2(Bucket=found["Name"]).get("Contents", []):
                self.client.delete_object(Bucket=found["Name"], Key=item["Key"])
            self.client.delete_bucket(Bucket=found["Name"])
        self.client.create_bucket(Bucket=BUCKET)
        self.warehouse = Warehouse(data)
        self.warehouse.settings = load_settings()

    def put(self, path: str, text: str) -> None:
        self.client.put_object(Bucket=BUCKET, Key=f"raw/{path}", Body=text.encode())

    def load(self, *, full: bool = False) -> LoadResult:
        with open_warehouse(self.warehouse.settings) as connection:
            return nightly.load_new_files(connection, self.warehouse.settings, now=NOW, full=full)

    def places(self) -> list[tuple[Any, ...]]:
        rows = self.warehouse.query("SELECT file_seq, line, company_id FROM raw.api_calls ORDER BY ALL")
        return [tuple(row.values()) for row in rows]


@pytest.fixture
def bucket(endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    return Bucket(endpoint, tmp_path / "data", monkeypatch)


def text(*names: str) -> str:
    call = {"request": {"time": "2026-03-30T10:00Z"}}
    return "".join(json.dumps({**call, "company_id": name}) + "\n" for name in names)


def test_objects_are_files(bucket: Bucket) -> None:
    bucket.put("events/b é.jsonl", text("b"))
    bucket.put("events/a.jsonl", text("a"))
    bucket.put("events/dt=2026-03-30/c.json", "[" + text("c").strip() + "]")
    bucket.put("notes.txt", "not ours")
    assert bucket.load().unknown == ["notes.txt"]
    assert bucket.places() == [(1, 1, "a"), (2, 1, "b"), (3, 1, "c")]
    assert bucket.load().new_files == 0
    bucket.put("events/a.jsonl", text("a", "more"))
    bucket.put("events/copy.jsonl", text("b"))
    result = bucket.load()
    assert (result.new_files, result.warnings) == (1, [])
    wanted = [(1, 1, "a"), (2, 1, "b"), (3, 1, "c"), (4, 2, "more")]
    assert bucket.places() == wanted
    bucket.load(full=True)
    assert bucket.places() == wanted
    assert not list((bucket.warehouse.folder / "tmp").rglob("*"))


def test_a_full_rebuild_names_an_object_that_is_gone(bucket: Bucket) -> None:
    bucket.put("events/a.jsonl", text("a"))
    bucket.put("events/b.jsonl", text("b"))
    bucket.load()
    bucket.client.delete_object(Bucket=BUCKET, Key="raw/events/a.jsonl")
    with pytest.raises(MissingFiles, match=r"events/a\.jsonl"):
        bucket.load(full=True)
    assert bucket.places() == [(1, 1, "a"), (2, 1, "b")]


def test_an_object_that_is_replaced_before_it_is_read_is_loaded_next_time(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.put("events/a.jsonl", text("a"))
    number = nightly.discovery.discover

    def then_replace(*args: Any) -> Any:
        found = number(*args)
        bucket.put("events/a.jsonl", text("x"))
        return found

    with monkeypatch.context() as patch:
        patch.setattr(nightly.discovery, "discover", then_replace)
        bucket.load()
    assert bucket.places() == []
    bucket.load()
    assert [row[2] for row in bucket.places()] == ["x"]


@pytest.mark.parametrize("trouble", ["no bucket", "no network"])
def test_a_store_that_cannot_be_read_stops_the_run_in_words(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    bucket.put("events/a.jsonl", text("a"))
    bucket.load()
    if trouble == "no bucket":
        monkeypatch.setenv("WAREHOUSE_RAW", "s3://elsewhere/raw")
    else:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    bucket.warehouse.settings = load_settings()
    with pytest.raises(
        RawStorageError, match="no such bucket" if trouble == "no bucket" else "check the network"
    ):
        bucket.load()
    assert bucket.places() == [(1, 1, "a")]
