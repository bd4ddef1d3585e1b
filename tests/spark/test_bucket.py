"""Large tables in a bucket, which a cluster's workers read and write by themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from harness import Warehouse
from object_store import objects_in

from dagster_project.spark import check
from dagster_project.standins.spark import Cluster
from dagster_project.warehouse.database import open_warehouse

from .test_failures import DAY, NOW, put_calls
from .test_nights import every_table
from .watching import watched

BUCKET = "usage"


@pytest.fixture
def engine(store: Any, cluster: Cluster) -> dict[str, Any]:
    store.create_bucket(Bucket=BUCKET)
    return {"kind": "spark", "remote": cluster.remote, "storage": f"s3://{BUCKET}/tables"}


def test_a_bucket_holds_what_the_database_would(tmp_path: Path, store: Any, engine: dict[str, Any]) -> None:
    here, there = Warehouse(tmp_path / "here"), Warehouse(tmp_path / "there", engine=engine)
    assert [finding.text for finding in check.check(there.settings) if not finding.is_good] == []
    for warehouse in (here, there):
        with watched() as did:
            put_calls(warehouse, 2)
            event = {"account_id": "c1", "user_id": "u", "timestamp": "2026-11-20T10:00:00Z"}
            events = [{**event, "feature_id": f"f{n % 4}", "event_id": f"e{n % 9}"} for n in range(20)]
            warehouse.put("features/a.jsonl", events)
            warehouse.night(DAY, NOW)
            warehouse.put("events/more.jsonl", (warehouse.raw / "events/1.jsonl").read_bytes() + b"\n")
            warehouse.night(DAY, NOW)
        assert bool(did["read"] and did["api_calls"] and did["sums_of_cluster"]) is (warehouse is there)
    wanted, found = every_table(here), every_table(there)
    assert wanted.keys() == found.keys()
    assert [name for name in wanted if wanted[name] != found[name]] == []
    with open_warehouse(there.settings) as connection:
        named = {file for (file,) in connection.execute("SELECT file FROM raw.stored").fetchall()}
    markers = [
        item["Key"] for item in store.list_objects_v2(Bucket=BUCKET)["Contents"] if item["Key"][-1] == "/"
    ]
    assert [key for key in markers if key.count("/") > 2] == [], "of folders that are gone"
    assert objects_in(store, BUCKET) == {*named, f"s3://{BUCKET}/tables/owner.json"}
