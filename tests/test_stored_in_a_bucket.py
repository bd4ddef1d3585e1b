"""Large raw tables in a bucket: what a folder holds, it holds too. Nothing is asked of a cluster here; tests/spark/ has that."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from harness import Warehouse
from object_store import object_store, objects_in
from test_stored import NIGHT, NOWHERE, RAW, call, in_files, rows, without_names

from dagster_project.pipeline import nightly
from dagster_project.sources.events import API_CALLS
from dagster_project.warehouse import backup, stored
from dagster_project.warehouse.database import DatabaseError, open_warehouse, transaction


@pytest.fixture(scope="module")
def store() -> Iterator[Any]:
    with object_store() as client:
        yield client


@pytest.fixture
def bucket(store: Any, tmp_path: Path) -> str:
    name = f"usage-{abs(hash(tmp_path))}"
    store.create_bucket(Bucket=name)
    return name


def in_bucket(folder: Path, bucket: str) -> Warehouse:
    return Warehouse(folder, engine={"kind": "spark", "remote": NOWHERE, "storage": f"s3://{bucket}/tables"})


def named(warehouse: Warehouse) -> set[str]:
    with open_warehouse(warehouse.settings) as connection:
        return {file for (file,) in connection.execute("SELECT file FROM raw.stored").fetchall()}


def life(warehouse: Warehouse) -> Iterator[str]:
    warehouse.put("events/a.jsonl", [call(n, user_id=f"u{n % 3}", company_id="c1") for n in (1, 2, 3, 1)])
    with open_warehouse(warehouse.settings) as connection:
        nightly.load_new_files(connection, warehouse.settings, now=NIGHT)
    yield "night"
    with open_warehouse(warehouse.settings) as connection, transaction(connection):
        stored.delete(connection, API_CALLS, "user_id = 'u1'")
    yield "rows that go"


def test_tables_in_a_bucket_are_what_they_would_be_in_the_database(
    tmp_path: Path, store: Any, bucket: str
) -> None:
    here, there = Warehouse(tmp_path / "here"), in_bucket(tmp_path / "there", bucket)
    for step, _ in zip(life(here), life(there), strict=True):
        assert without_names(rows(there)) == without_names(rows(here)), step
        with open_warehouse(there.settings) as connection:
            assert all(stored.is_stored(connection, table) for table in RAW)
        kept = objects_in(store, bucket) - {f"s3://{bucket}/tables/owner.json"}
        assert kept == named(there), step


def settled(warehouse: Warehouse) -> str | None:
    with open_warehouse(warehouse.settings) as connection:
        return nightly.move_tables(connection, warehouse.settings)


def test_they_move_between_a_folder_a_bucket_and_the_database(
    tmp_path: Path, store: Any, bucket: str
) -> None:
    warehouse = Warehouse(tmp_path)
    next(life(warehouse))
    before = rows(warehouse)
    for moved in (in_bucket(tmp_path, bucket), in_files(tmp_path), in_bucket(tmp_path, bucket)):
        assert settled(moved) is not None
        assert settled(moved) is None
    assert rows(moved) == before
    store.put_object(Bucket=bucket, Key="tables/api_calls/left.parquet", Body=b"of a run that was killed")
    backup.make(moved.settings, tmp_path / "backup")
    back = Warehouse(tmp_path)
    assert settled(back) is not None
    assert rows(back) == before
    for key in objects_in(store, bucket):
        store.delete_object(Bucket=bucket, Key=key.removeprefix(f"s3://{bucket}/"))

    backup.restore(moved.settings, tmp_path / "backup")  # with the files that are gone by now
    assert rows(moved) == before
    assert objects_in(store, bucket) == named(moved)


def test_a_bucket_that_is_not_there_or_another_warehouses_is_refused(tmp_path: Path, bucket: str) -> None:
    with pytest.raises(DatabaseError, match="there is no such bucket"):
        settled(in_bucket(tmp_path / "a", "nowhere-at-all"))
    assert settled(in_bucket(tmp_path / "a", bucket))
    with pytest.raises(DatabaseError, match="belongs to the warehouse in"):
        settled(in_bucket(tmp_path / "b", bucket))
