"""The same life of a warehouse on this machine and on a cluster: after every step all tables are equal, row for row."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import pytest
from harness import Warehouse, on_cluster
from sources.test_workers import NOW, put_files

from dagster_project.pipeline import erase, nightly
from dagster_project.readers.raw_storage import raw_storage_at
from dagster_project.sources import on_spark, withdrawal
from dagster_project.spark import engine
from dagster_project.warehouse import stored
from dagster_project.warehouse.database import open_warehouse

DAY = date(2026, 11, 21)
# Counts of writes and times of files; where files lie; histograms are lists in no order, see below.
_LEFT_OUT = {
    "versions",
    "paths",
    "erasure_key",
    "stored",
    "storage",
    "builds",
    "schema_version",
    "compactions",
    "erasures",
    "check_results",
}
_HASH = re.compile(r"\b[0-9a-f]{64}\b")  # who was erased is called by a key of the warehouse's own


@pytest.fixture(autouse=True)
def _whatever_the_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """However little there is to do, the cluster does it."""
    monkeypatch.setattr(on_spark, "SMALLEST_BYTES", 0)
    monkeypatch.setattr(engine, "SMALLEST_ROWS", 0)
    monkeypatch.setattr(nightly, "utc_now", lambda: NOW + timedelta(days=1, hours=1))  # an erase asks for it


def every_table(warehouse: Warehouse) -> dict[str, list[str]]:
    with open_warehouse(warehouse.settings) as connection:
        names = connection.execute("""
            SELECT database_name || '.' || schema_name, table_name FROM duckdb_tables()
            WHERE database_name IN ('raw', 'warehouse')
            UNION ALL SELECT database_name || '.' || schema_name, view_name FROM duckdb_views()
            WHERE database_name = 'raw' AND NOT internal ORDER BY ALL""").fetchall()
        return {
            f"{schema}.{name}": sorted(
                _HASH.sub("…", str([sorted(cell) if isinstance(cell, list) else cell for cell in row]))
                for row in connection.execute(f"FROM {schema}.{name}").fetchall()
            )
            for schema, name in names
            if name not in _LEFT_OUT
        }


def lives(warehouse: Warehouse) -> Iterator[str]:
    """What happens to a warehouse; stops after each step, and says which."""
    put_files(warehouse)
    warehouse.night(DAY, NOW)
    yield "a first night"
    grown = (warehouse.raw / "users/grown.jsonl").read_bytes()
    warehouse.put("users/grown.jsonl", grown + b'\n{"user_id": "more"}\n')
    for name in ("events/2026-11-20/calls.jsonl", "events/a/large.jsonl"):
        if (warehouse.raw / name).exists():
            warehouse.put(f"events/again/{Path(name).name}", (warehouse.raw / name).read_bytes() + b"\n\n")
    late = {"request": {"time": "2026-11-20T09:00:00Z"}, "response": {"status": 503}, "weight": 2**53}
    warehouse.put(
        "events/late.jsonl", [{**late, "company_id": "late", "transaction_id": n} for n in range(2000)]
    )
    warehouse.night(DAY, NOW + timedelta(days=1))
    yield "a night with what is there already, and sums beyond the largest number"
    users = [
        r["user_id"] for r in warehouse.query("SELECT user_id FROM marts.user_profiles ORDER BY 1 LIMIT 2")
    ]
    with open_warehouse(warehouse.settings) as connection:
        found = erase.look(connection, warehouse.settings, users, ["late"])
        erase.carry_out(connection, warehouse.settings, found)
    yield "an erase"
    warehouse.put("events/later.jsonl", [{**late, "user_id": users[0], "transaction_id": "later"}])
    warehouse.night(DAY, NOW + timedelta(days=2))
    yield "a night that names who was erased"
    with open_warehouse(warehouse.settings) as connection:
        place = raw_storage_at(warehouse.raw, warehouse.folder / "tmp")
        plan = withdrawal.look(connection, place, ["events/a/large.jsonl"], gone=False)
        withdrawal.carry_out(connection, plan, NOW + timedelta(days=3))
    warehouse.night(DAY, NOW + timedelta(days=3))
    yield "a withdrawal"
    warehouse.night(DAY, NOW + timedelta(days=4), full=True)
    yield "a full rebuild"


def test_every_table_is_equal_after_every_step(tmp_path: Path, remote: str) -> None:
    here = Warehouse(tmp_path / "here")
    there = Warehouse(tmp_path / "there", engine=on_cluster(tmp_path / "there", remote))
    steps = zip(lives(here), lives(there), strict=True)
    for step, _ in steps:
        wanted, found = every_table(here), every_table(there)
        assert wanted.keys() == found.keys(), step
        differing = {
            name: (wanted[name][:3], found[name][:3]) for name in wanted if wanted[name] != found[name]
        }
        assert differing == {}, step
    with open_warehouse(there.settings) as connection:
        assert stored.is_stored(connection, "api_calls")
        left = {f for f in (tmp_path / "there/storage").rglob("*") if f.is_file() and f.name != "owner.json"}
        named = {Path(f) for (f,) in connection.execute("SELECT file FROM raw.stored").fetchall()}
        assert left == named, "leftovers"

    # And back to one machine, by the settings alone.
    back = Warehouse(tmp_path / "there", engine={})
    with open_warehouse(back.settings) as connection:
        assert nightly.move_tables(connection, back.settings) is not None
        assert not stored.is_stored(connection, "api_calls")
    assert every_table(back) == found
