"""Large raw tables that lie in files: what reads and changes them sees no difference, and nothing of what went is left.

Nothing is asked of a cluster here: what is small is done without one. tests/spark/ has the rest.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from harness import Row, Warehouse, on_cluster
from test_against_oracle import every_table

from dagster_project.pipeline import erase, nightly
from dagster_project.readers.raw_storage import raw_storage_at
from dagster_project.sources import withdrawal
from dagster_project.sources.features import FEATURE_EVENTS
from dagster_project.warehouse import backup, database, stored
from dagster_project.warehouse.database import DatabaseError, open_warehouse, parser, transaction
from dagster_project.warehouse.migrations import MIGRATIONS, Migration

NOWHERE = "sc://127.0.0.1:1"
DAY = date(2026, 3, 31)
NIGHT = datetime(2026, 4, 1, 2)  # noqa: DTZ001 - the warehouse keeps UTC without a zone
RAW = ("api_calls", "api_call_keys", "actions", "action_keys", "feature_events", "feature_keys")


def call(number: int, **ids: Any) -> Row:
    at = f"2026-03-{10 + number % 9:02d}T10:00:00Z"
    return {"transaction_id": f"t{number}", "request": {"time": at}, "response": {"status": 200}, **ids}


def in_files(folder: Path, **sections: Any) -> Warehouse:
    return Warehouse(folder, engine=on_cluster(folder, NOWHERE), **sections)


def put(warehouse: Warehouse, night: int) -> None:
    calls = [call(n + night, user_id=f"u{n % 3}", company_id=f"c{n % 2}") for n in range(9)]
    warehouse.put(f"events/{night}.jsonl", [*calls, call(3), {"request": {}}])
    warehouse.put(
        f"actions/{night}.jsonl", [{"action_name": "x", "user_id": "u1", "received_at": "2026-03-12"}]
    )
    use = {"account_id": "c1", "user_id": "u1", "timestamp": "2026-03-11T10:00:00Z"}
    warehouse.put(
        f"features/received=2026-03-11/{night}.jsonl",
        [{**use, "feature_id": f"f{n}", "event_id": f"e{n + night}"} for n in range(4)],
    )


def lives(warehouse: Warehouse) -> Iterator[str]:
    for night in range(2):
        put(warehouse, night)
        warehouse.night(DAY, NIGHT + timedelta(days=night))
        yield f"night {night}"
    with open_warehouse(warehouse.settings) as connection:
        found = erase.look(connection, warehouse.settings, ["u1"], [])
        erase.carry_out(connection, warehouse.settings, found)
    yield "erase"
    with open_warehouse(warehouse.settings) as connection:
        plan = withdrawal.look(
            connection,
            raw_storage_at(warehouse.raw, warehouse.folder / "tmp"),
            ["events/0.jsonl"],
            gone=False,
        )
        withdrawal.carry_out(connection, plan, NIGHT + timedelta(days=2))
    warehouse.night(DAY, NIGHT + timedelta(days=2))
    yield "withdrawal"
    warehouse.night(DAY, NIGHT + timedelta(days=3), full=True)
    yield "full rebuild"


def rows(warehouse: Warehouse) -> dict[str, list[str]]:
    with open_warehouse(warehouse.settings) as connection:
        return {t: sorted(map(str, connection.execute(f"FROM raw.{t}").fetchall())) for t in RAW}


def files_below(folder: Path) -> set[Path]:
    return {file for file in folder.rglob("*.parquet") if file.is_file()}


def without_names(found: dict[str, list[str]]) -> dict[str, list[str]]:
    """Who was erased is called by a key of the warehouse's own."""
    return {
        table: sorted(re.sub("erased:[0-9a-f]{64}", "erased", row) for row in of)
        for table, of in found.items()
    }


def test_tables_in_files_are_what_they_would_be_in_the_database(tmp_path: Path) -> None:
    here, there = Warehouse(tmp_path / "here"), in_files(tmp_path / "there")
    for step, _ in zip(lives(here), lives(there), strict=True):
        assert without_names(rows(there)) == without_names(rows(here)), step
        with open_warehouse(there.settings) as connection:
            assert all(stored.is_stored(connection, table) for table in RAW)
            named = {file for (file,) in connection.execute("SELECT file FROM raw.stored").fetchall()}
        kept = {str(f) for f in (tmp_path / "there/storage").rglob("*") if f.is_file()}
        assert kept - {str(tmp_path / "there/storage/owner.json")} == named, step
        if step == "erase":
            assert not [file for file in kept if b"u1" in Path(file).read_bytes()]


def test_moving_there_and_back_changes_no_row(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path)
    put(warehouse, 0)
    warehouse.night(DAY, NIGHT)
    before, tables = rows(warehouse), every_table(warehouse)
    for moved in (in_files(tmp_path), Warehouse(tmp_path), in_files(tmp_path)):
        with open_warehouse(moved.settings) as connection:
            assert nightly.move_tables(connection, moved.settings) is not None
            assert nightly.move_tables(connection, moved.settings) is None
        assert rows(moved) == before
        moved.night(DAY, NIGHT)
        assert every_table(moved) == tables


def test_a_backup_holds_the_files(tmp_path: Path) -> None:
    warehouse = in_files(tmp_path / "data")
    put(warehouse, 0)
    warehouse.night(DAY, NIGHT, publishes=True)
    before = rows(warehouse)
    backup.make(warehouse.settings, tmp_path / "backup")
    put(warehouse, 1)
    warehouse.night(DAY, NIGHT + timedelta(days=1), full=True)
    assert rows(warehouse) != before
    backup.restore(warehouse.settings, tmp_path / "backup")
    assert rows(warehouse) == before


def test_old_rows_are_dropped_from_files(tmp_path: Path) -> None:
    warehouse = in_files(tmp_path, retention={"api_calls_days": 15})
    put(warehouse, 0)
    warehouse.night(DAY, NIGHT)
    before = every_table(warehouse)["marts.company_usage_daily"]
    warehouse.night(DAY, NIGHT + timedelta(days=1))
    left = warehouse.query("SELECT count(*) AS n, min(event_at) AS first FROM raw.api_calls")[0]
    assert left["n"] == 1
    assert left["first"].day == 18
    assert every_table(warehouse)["marts.company_usage_daily"] == before


def test_many_small_files_become_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored, "_MOST_SMALL_FILES", 3)
    warehouse = in_files(tmp_path)
    for night in range(3):
        warehouse.put(f"events/{night}.jsonl", [call(night)])
        warehouse.night(DAY, NIGHT + timedelta(days=night))
    assert warehouse.query(
        "SELECT count(*) AS n, sum(rows) AS r FROM raw.stored WHERE table_name = 'api_calls'"
    ) == [{"n": 1, "r": 3}]
    assert len(rows(warehouse)["api_calls"]) == 3


def test_tables_in_files_of_an_older_release_are_upgraded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As those in the database are, whether they have rows or not; and a step that fails leaves all as it was."""
    alike = [Warehouse(tmp_path / "here"), in_files(tmp_path / "there")]
    for warehouse in alike:
        put(warehouse, 0)
        warehouse.night(DAY, NIGHT)
        warehouse.put("events/more.jsonl", [call(77)])  # a second file of calls
        (warehouse.raw / "features/received=2026-03-11/0.jsonl").unlink()
        warehouse.night(DAY, NIGHT + timedelta(days=1))
        with open_warehouse(warehouse.settings) as connection, transaction(connection):
            stored.delete(connection, FEATURE_EVENTS)
    before, listed = rows(alike[1]), files_below(tmp_path / "there/storage")
    changes = """ALTER TABLE IF EXISTS raw.api_calls ADD COLUMN IF NOT EXISTS more BIGINT DEFAULT 7;
        ALTER TABLE IF EXISTS raw.feature_events ADD COLUMN other VARCHAR;
        UPDATE raw.api_calls SET more = status WHERE company_id = 'c1';
        ALTER TABLE raw.api_calls ALTER status SET DATA TYPE VARCHAR USING 's' || status;
        ALTER TABLE raw.action_keys RENAME key_last TO last; ALTER TABLE raw.files ADD COLUMN taken BIGINT;
        DELETE FROM raw.actions;"""
    with monkeypatch.context() as patched:
        broken = Migration("breaks", raw=f"{changes} ALTER TABLE raw.api_calls RENAME nothing TO something")
        patched.setattr(database, "MIGRATIONS", (*MIGRATIONS, broken))
        with pytest.raises(DatabaseError, match="cannot be upgraded"), open_warehouse(alike[1].settings):
            pass
    assert rows(alike[1]) == before
    assert files_below(tmp_path / "there/storage") == listed

    monkeypatch.setattr(database, "MIGRATIONS", (*MIGRATIONS, Migration("changes", raw=changes)))
    assert rows(alike[1]) == rows(alike[0]) != before
    for warehouse in alike:
        assert {row["more"] for row in warehouse.query("SELECT more FROM raw.api_calls")} == {7, 200}
        assert warehouse.query("DESCRIBE raw.feature_events")[-1]["column_name"] == "other"
    assert not listed & files_below(tmp_path / "there/storage/api_calls")
    assert alike[1].query("SELECT count(*) AS n FROM raw.stored WHERE table_name = 'api_calls'") == [{"n": 2}]


def test_every_step_can_be_taken_on_tables_in_files() -> None:
    large = "|".join(RAW)
    for step in MIGRATIONS:
        for statement in parser().extract_statements(step.raw):
            if re.search(rf"\braw\.({large})\b", statement.query):
                assert stored.CHANGES.match(statement.query), f"{step.about}: {statement.query}"


def test_a_folder_that_is_not_there_or_another_warehouses_is_refused(tmp_path: Path) -> None:
    engine = on_cluster(tmp_path / "a", NOWHERE)
    one, other = Warehouse(tmp_path / "a", engine=engine), Warehouse(tmp_path / "b", engine=engine)
    one.night(DAY, NIGHT)
    with pytest.raises(DatabaseError, match="belongs to the warehouse in"):
        other.night(DAY, NIGHT)
    gone = Warehouse(tmp_path / "c", engine={**engine, "storage": str(tmp_path / "gone")})
    with pytest.raises(DatabaseError, match="there is no such folder"):
        gone.night(DAY, NIGHT)
