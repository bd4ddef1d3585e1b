"""Upgrades: a warehouse that an older release made goes on with this one, and loses nothing.

`tests/releases/<name>.tar.xz` holds the databases and raw files of a release after two nights: in the second one the
files named `b.jsonl` were new. For a release that changes raw or history tables, add another.
`before_contents.tar.xz` is of the last release that told files by their bytes as they are: packed files, files with a
half-written last line, which it refused, and a CSV that grew.
"""

from __future__ import annotations

import gzip
import tarfile
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest
from harness import Warehouse
from test_against_oracle import HISTORY, every_table

from dagster_project.pipeline import nightly
from dagster_project.warehouse import database
from dagster_project.warehouse.build import BuildError
from dagster_project.warehouse.columns import Column
from dagster_project.warehouse.database import DatabaseError
from dagster_project.warehouse.migrations import MIGRATIONS, Migration

BEFORE_CONTENTS = Path(__file__).parent / "releases/before_contents.tar.xz"
RELEASES = sorted({*BEFORE_CONTENTS.parent.glob("*.tar.xz")} - {BEFORE_CONTENTS})
LEDGER = {"object": "companies", "key": "acme.example", "property": "calls_30d", "value": "4"}


def night(warehouse: Warehouse, day: int, run_id: str, *, full: bool = False) -> None:
    warehouse.night(date(2026, 3, day), datetime(2026, 3, day, 2), run_id=run_id, full=full)  # noqa: DTZ001


def third_night(warehouse: Warehouse) -> None:
    call = {
        "request": {"time": "2026-03-30T10:00:00Z"},
        "company_id": "acme",
        "session_token": "tok_late",
        "transaction_id": "t31",
    }
    again = {**call, "transaction_id": "t28-0"}  # was loaded by the older release
    warehouse.put("events/dt=2026-03-30/c.jsonl", [call, again, {**call, "user_id": "u3", "weight": "x"}])
    warehouse.put(
        "companies/c.jsonl",
        [
            {
                "company_id": "acme",
                "session_token": "tok_late",
                "modified_time": "2026-03-29",
                "metadata": {"seats": "many"},
            }
        ],
    )
    night(warehouse, 31, "third")


@pytest.fixture(params=RELEASES, ids=lambda path: path.name.removesuffix(".tar.xz"))
def old(request: pytest.FixtureRequest, tmp_path: Path) -> Warehouse:
    with tarfile.open(request.param) as archive:
        archive.extractall(tmp_path / "old")  # our own file; the first 3.11 knows no filters
    return Warehouse(tmp_path / "old")


@pytest.fixture
def by_bytes(tmp_path: Path) -> Warehouse:
    with tarfile.open(BEFORE_CONTENTS) as archive:
        archive.extractall(tmp_path / "old")
    return Warehouse(tmp_path / "old")


def loaded_by(warehouse: Warehouse) -> list[tuple[Any, ...]]:
    rows = warehouse.query("""
        SELECT file_seq, line, company_id FROM raw.api_calls UNION ALL SELECT file_seq, line, company_id FROM raw.actions
        UNION ALL SELECT file_seq, line, company_id FROM raw.company_updates
        UNION ALL SELECT file_seq, line, account_id FROM raw.feature_events ORDER BY ALL""")
    return [tuple(row.values()) for row in rows]


@pytest.mark.parametrize("full", [False, True], ids=["first_a_night", "first_a_full_rebuild"])
def test_packed_and_half_written_files_of_an_older_release_are_known(by_bytes: Warehouse, full: bool) -> None:
    """Numbered by the bytes of the packed file, and loaded with a last line that was not whole."""
    warehouse, raw = by_bytes, by_bytes.raw
    before = loaded_by(warehouse)
    assert [row[0] for row in before] == [1, 2, 3, 3, 4, 5, 6, 7]
    night(warehouse, 31, "full", full=full)
    night(warehouse, 31, "again")
    assert loaded_by(warehouse) == before
    files = [(row["records"], row["rejected"], row["error"]) for row in warehouse.table("ops.files")]
    assert files == [
        (1, 0, None),
        (2, 1, None),
        (2, 0, None),
        (2, 1, None),
        (1, 0, None),
        (2, 1, None),
        (1, 0, None),
    ]

    # Unpacked, packed otherwise, grown; and the half-written ones go on.
    packed = raw / "events/dt=2026-03-28/packed.jsonl.gz"
    text = gzip.decompress(packed.read_bytes()).decode()
    packed.unlink()
    warehouse.put(
        "events/dt=2026-03-28/packed-1.jsonl", text + text.splitlines()[0].replace("p1", "p3") + "\n"
    )
    actions = gzip.decompress((raw / "actions/packed.jsonl.gz").read_bytes())
    warehouse.put("actions/packed.jsonl.gz", gzip.compress(actions, 1, mtime=1))
    call = (raw / "events/half.jsonl").read_text().splitlines()[0].replace("h1", "h2") + "\n"
    half = (raw / "events/half.jsonl").read_text()
    warehouse.put("events/half.jsonl", half + call[30:] + call.replace("h2", "h3"))
    half = (raw / "companies/half.jsonl").read_text()
    warehouse.put("companies/half.jsonl", half + 'adata": {"plan": "free"}}\n')
    half = (raw / "features/half.csv").read_text()
    warehouse.put("features/half.csv", half + ",2026-03-28,1\n")
    night(warehouse, 31, "grown")
    more = [(2, "h2"), (3, "p3"), (2, "h2"), (3, "h3"), (3, "h2")]
    assert [row[1:] for row in loaded_by(warehouse)] == [row[1:] for row in before] + more
    assert warehouse.table("ops.rejects") == []
    grown = loaded_by(warehouse)
    night(warehouse, 31, "rebuilt", full=True)
    assert loaded_by(warehouse) == grown


@pytest.fixture
def fresh(old: Warehouse, tmp_path: Path) -> Warehouse:
    """What this release makes of the same two nights."""
    warehouse = Warehouse(tmp_path / "fresh")
    files = {file.relative_to(old.raw): file for file in sorted(old.raw.rglob("*")) if file.is_file()}
    for run_id, day, late in (("first", 29, False), ("second", 30, True)):
        for path, file in files.items():
            if (path.name == "b.jsonl") is late:
                warehouse.put(str(path), file.read_bytes())
        night(warehouse, day, run_id)
    return warehouse


def shapes(warehouse: Warehouse) -> list[tuple[str, ...]]:
    return sorted(
        tuple(row.values())
        for row in warehouse.query(
            "SELECT database_name, schema_name, table_name, column_name, data_type FROM duckdb_columns() "
            "WHERE database_name IN ('raw', 'warehouse')"
        )
    )


def cohorts_in(warehouse: Warehouse) -> set[tuple[str, str]]:
    return {(row["entity"], row["cohort"]) for row in warehouse.table("marts.cohort_changes")}


def changes_of(warehouse: Warehouse, cohorts: set[tuple[str, str]]) -> list[tuple[str, ...]]:
    return sorted(
        tuple(map(str, row.values()))
        for row in warehouse.table("marts.cohort_changes")
        if (row["entity"], row["cohort"]) in cohorts
    )


def rejects_of(warehouse: Warehouse) -> list[dict[str, Any]]:
    return warehouse.query("SELECT * EXCLUDE (detail) FROM ops.rejects ORDER BY ALL")


def test_an_older_warehouse_goes_on_as_if_this_release_had_made_it(old: Warehouse, fresh: Warehouse) -> None:
    # A cohort's history begins when its file is added: those that the release did not have begin now.
    added = cohorts_in(fresh) - cohorts_in(old)
    third_night(old), third_night(fresh)
    assert shapes(old) == shapes(fresh)
    known = cohorts_in(old) - added
    assert known
    assert changes_of(old, known) == changes_of(fresh, known)
    wanted, got = every_table(fresh), every_table(old)
    apart = {name for name in wanted if name.startswith("ops.hubspot_")} | {"marts.cohort_changes"}
    # So do the health of each day, and alerts; and before meters none was closed.
    apart |= {"marts.company_health_daily", "marts.alerts", "ops.meter_adjustments"}
    # What was rejected by an older release is told of in its words.
    apart.add("ops.rejects")
    assert {n: got[n] for n in got.keys() - apart} == {n: wanted[n] for n in wanted.keys() - apart}
    assert rejects_of(old) == rejects_of(fresh)
    assert got["ops.restatements"]
    assert {k: old.one("ops.hubspot_ledger")[k] for k in LEDGER} == LEDGER

    night(old, 31, "full", full=True)
    again = every_table(old)
    assert again == {**got, **{name: again[name] for name in (*HISTORY, "ops.rejects")}}
    assert rejects_of(old) == rejects_of(fresh)
    assert {k: old.one("ops.hubspot_ledger")[k] for k in LEDGER} == LEDGER


def test_both_databases_know_their_version(old: Warehouse) -> None:
    for table in ("raw.schema_version", "core.schema_version"):
        assert max(row["version"] for row in old.table(table)) == len(MIGRATIONS)


def step(monkeypatch: pytest.MonkeyPatch, migration: Migration) -> None:
    monkeypatch.setattr(database, "MIGRATIONS", (*MIGRATIONS, migration))


def test_a_step_is_taken_once_and_in_each_database(old: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    step(
        monkeypatch,
        Migration(
            "counts",
            raw="ALTER TABLE raw.files ADD COLUMN taken BIGINT DEFAULT 1; CREATE TABLE raw.steps (n BIGINT)",
            warehouse="CREATE TABLE core.steps (n BIGINT)",
        ),
    )
    for _ in range(2):
        assert {row["taken"] for row in old.table("raw.files")} == {1}
        assert old.table("core.steps") == []


def test_a_step_that_fails_changes_nothing_and_says_which(
    old: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = shapes(old)
    old.close()
    step(monkeypatch, Migration("breaks", raw="CREATE TABLE raw.half (n BIGINT); SELECT * FROM raw.nowhere"))
    with pytest.raises(
        DatabaseError,
        match=rf"raw.duckdb cannot be upgraded to schema version {len(MIGRATIONS) + 1} \(breaks\)",
    ):
        old.table("raw.files")
    monkeypatch.undo()
    assert shapes(old) == before


def test_a_newer_database_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    warehouse = Warehouse(tmp_path)
    step(monkeypatch, Migration("of the future"))
    night(warehouse, 30, "future")
    before = (tmp_path / "raw.duckdb").read_bytes()
    monkeypatch.undo()
    with pytest.raises(DatabaseError, match="written by a newer release"):
        night(warehouse, 30, "past")
    assert (tmp_path / "raw.duckdb").read_bytes() == before


def with_columns(monkeypatch: pytest.MonkeyPatch, name: str, columns: list[Column]) -> None:
    """Pretend that a table's file says other columns."""
    models = dict(nightly.models())
    models[name] = replace(models[name], columns=tuple(columns), code="another")
    monkeypatch.setattr(nightly, "models", lambda: models)


def test_history_survives_retyped_removed_and_new_columns(
    old: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = old.table("marts.cohort_changes")
    names = {
        "cohort": "VARCHAR",
        "entity": "VARCHAR",
        "id": "VARCHAR",
        "changed_at": "TIMESTAMP_S",
        "why": "VARCHAR",
    }
    with_columns(monkeypatch, "marts.cohort_changes", [Column(n, t, "changed") for n, t in names.items()])
    monkeypatch.setattr("dagster_project.models.cohorts.Cohorts.build", lambda self, work: set())
    night(old, 31, "third")
    rows = old.query("FROM marts.cohort_changes ORDER BY changed_at")
    assert rows == [{**{k: v for k, v in r.items() if k != "change"}, "why": None} for r in before]
    assert old.one("ops.hubspot_ledger")["value"] == "4"


def test_history_that_does_not_fit_its_new_type_is_not_thrown_away(
    old: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = old.table("ops.restatements")
    columns = [
        Column(c.name, "BIGINT" if c.name == "run" else c.type, c.about)
        for c in nightly.models()["ops.restatements"].columns
    ]
    with_columns(monkeypatch, "ops.restatements", columns)
    with pytest.raises(BuildError, match=r"ops\.restatements is history"):
        night(old, 31, "third")
    assert old.table("ops.restatements") == before


def test_keys_of_an_older_release_still_tell_events_apart(tmp_path: Path) -> None:
    """They were one number, and those of features md5 as bytes."""
    warehouse = Warehouse(tmp_path)
    call = {"transaction_id": "t", "request": {"time": "2026-03-29T10:00:00Z"}}
    use = {"account_id": "a", "user_id": "u", "feature_id": "f", "timestamp": "2026-03-29", "event_id": "é"}
    records = {"events": call, "actions": call, "features": use}
    for folder, record in records.items():
        warehouse.put(f"{folder}/a.jsonl", [record])
    night(warehouse, 29, "first")
    keys = {"api_call_keys": "md5_number('t')", "action_keys": "md5_number('t')"}
    with database.open_warehouse(warehouse.settings) as connection:
        for table, key in {**keys, "feature_keys": "unhex(md5('é'))"}.items():
            assert connection.execute(f"SELECT count(*) FROM raw.{table}").fetchall() == [(1,)]
            connection.execute(
                f"CREATE OR REPLACE TABLE raw.{table} AS SELECT {key} AS key, 1::BIGINT AS load_seq"
            )
        before = next(n for n, step in enumerate(MIGRATIONS) if "tell events" in step.about)
        connection.execute(f"UPDATE raw.schema_version SET version = {before}")
    for folder, record in records.items():
        warehouse.put(f"{folder}/b.jsonl", [{**record, "transaction_id": "new", "event_id": "new"}, record])
    night(warehouse, 30, "second")
    found = warehouse.query("SELECT records, duplicates FROM ops.files WHERE path LIKE '%b.jsonl'")
    assert found == [{"records": 2, "duplicates": 1}] * 3
