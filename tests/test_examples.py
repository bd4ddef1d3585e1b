"""The example queries, on a warehouse made of the sample: each runs, and finds what the sample's stories put there.

The night before last lacks the updates of the last days, so that the last one brings late claims and rejects (`make run` makes
two nights of the sample, too).
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
from harness import Row, Warehouse

from dagster_project.pipeline import nightly
from dagster_project.settings import project_root
from dagster_project.warehouse.database import open_published

ROOT = project_root()
EXAMPLES = {path.stem: path for path in sorted((ROOT / "sql" / "examples").glob("*.sql"))}
AS_OF = date(2026, 11, 21)
LATE = ("dt=2026-11-17", "dt=2026-11-18", "dt=2026-11-19", "dt=2026-11-20")


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    """The published database after two nights. A clock that is behind the sample is put forward."""
    warehouse = Warehouse(tmp_path_factory.mktemp("examples"), usage={"routes": "all"})
    late: list[Path] = []
    sample = ROOT / "data" / "sample" / "raw"
    for file in sorted(f for f in sample.rglob("*") if f.is_file()):
        path = file.relative_to(sample)
        comes_late = path.parts[0] in ("companies", "users") and path.parts[1] in LATE
        if comes_late or path.name.startswith("late-") or path.parts[:2] == ("subscriptions", f"dt={AS_OF}"):
            late.append(path)
        else:
            _copy(file, warehouse.raw / path)
    now = max(nightly.utc_now(), datetime(2026, 11, 22, 2))  # noqa: DTZ001 - UTC
    warehouse.night(AS_OF, now, run_id="first")
    for path in late:
        _copy(sample / path, warehouse.raw / path)
    warehouse.night(AS_OF, now + timedelta(minutes=1), run_id="second", publishes=True)
    with open_published(warehouse.settings) as connection:
        yield connection


def _copy(file: Path, to: Path) -> None:
    to.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(file, to)


def _column(rows: list[Row], name: str) -> list[Any]:
    return [row[name] for row in rows]


def _busiest(rows: list[Row]) -> bool:
    quiet = next(row for row in rows if row["company_id"] == "cmp_emberlune")
    return rows[0]["company_id"] == "cmp_gullspire" and quiet["change_percent"] == -100


def _days(rows: list[Row]) -> bool:
    days = _column(rows, "day")
    return (
        days == [AS_OF - timedelta(days=n) for n in range(29, -1, -1)]
        and rows[0]["calls"] == 0
        and rows[-1]["calls"] > 0
    )


def _adoption(rows: list[Row]) -> bool:
    modules = {row["module_id"] for row in rows}
    return {"Parcels", "Reports", ""} <= modules and all(
        0 < row["percent_of_companies"] <= 100 for row in rows
    )


def _entries(rows: list[Row]) -> bool:
    entered = {(row["cohort"], row["id"]) for row in rows if row["change"] == "entered"}
    return {("gone_quiet", "cmp_emberlune"), ("over_quota", "cmp_tallgrassen")} <= entered


def _match_rate(rows: list[Row]) -> bool:
    return _column(rows, "object") == ["companies", "contacts"] and all(
        row["profiles"] == row["matched"] + row["without_key"] + row["ambiguous"] + row["unknown_to_crm"]
        for row in rows
    )


FINDS: Mapping[str, Callable[[list[Row]], bool]] = {
    "busiest_companies": _busiest,
    "gone_quiet": lambda rows: (
        [(r["company_id"], r["days_quiet"], r["owner"]) for r in rows]
        == [("cmp_emberlune", 7, "Robin Sample")]
    ),
    "company_days": _days,
    "feature_adoption": _adoption,
    "near_quota": lambda rows: _column(rows, "company_id") == ["cmp_tallgrassen", "cmp_bluefenn"],
    "busiest_endpoints": lambda rows: (
        rows[0]["calls"] > 100 and {"/v2/exports"} <= set(_column(rows, "route"))
    ),
    "metered_usage": lambda rows: (
        {r["meter"] for r in rows} == {"calls", "feature_total"}
        and [(r["company_id"], r["was"], r["quantity"]) for r in rows if r["was"] is not None]
        == [("cmp_coppernettle", 0, 118), ("cmp_lanternfeld", 0, 178), ("cmp_wrenloft", 156, 172)]
    ),
    "users_without_calls": lambda rows: "cmp_quietharbour" in _column(rows, "company_id"),
    "tokens_in_conflict": lambda rows: _column(rows, "company_id") == ["cmp_northquill", "cmp_saltwhistle"],
    "rejected_last_night": lambda rows: (
        {(r["source"], r["reason"]) for r in rows} >= {("users", "missing_id"), ("companies", "bad_json")}
    ),
    "restated_days": lambda rows: (
        {"cmp_lanternfeld", "cmp_coppernettle"} <= {r["company_id_after"] for r in rows}
    ),
    "error_routes": lambda rows: rows[0]["route"] == "/v2/exports" and rows[0]["status"] >= 500,
    "search_metadata": lambda rows: float(rows[0]["value"]) >= float(rows[-1]["value"]) >= 100,
    "cohort_entries": _entries,
    "first_call_time": lambda rows: sum(_column(rows, "companies")) == 16 and rows[0]["have_called"] == 1,
    "crm_match_rate": _match_rate,
    "moving": lambda rows: (
        rows[-1]["company_id"] == "cmp_gullspire" and rows[-1]["change"] == rows[-1]["calls_30d"]
    ),
    "subscriptions_ending": lambda rows: (
        (rows[0]["company_id"], rows[0]["status"], len(rows)) == ("cmp_quietharbour", "trialing", 12)
    ),
    "noticed_last_night": lambda rows: {"check"} <= set(_column(rows, "kind")),
    "hubspot_changes": lambda rows: rows == [],  # nothing was pushed
    "files_last_week": lambda rows: (
        all(r["records"] == r["loaded"] + r["duplicates"] + r["rejected"] for r in rows)
        and sum(_column(rows, "files")) > 60
    ),
}
NOTHING = {"hubspot_changes"}


@pytest.mark.parametrize("name", EXAMPLES)
def test_example_finds_something(name: str, published: duckdb.DuckDBPyConnection) -> None:
    relation = published.sql(EXAMPLES[name].read_text(encoding="utf-8"))
    rows = [dict(zip(relation.columns, row, strict=True)) for row in relation.fetchall()]
    assert rows or name in NOTHING
    assert FINDS[name](rows), rows


def test_every_example_has_an_expectation() -> None:
    assert set(FINDS) == set(EXAMPLES)


@pytest.mark.parametrize("name", EXAMPLES)
def test_example_begins_with_its_question(name: str) -> None:
    assert EXAMPLES[name].read_text(encoding="utf-8").startswith("-- ")


def test_the_page_shows_each_file_as_it_is() -> None:
    page = (ROOT / "docs" / "queries.md").read_text(encoding="utf-8")
    shown = dict(re.findall(r"\(\.\./sql/examples/(\w+)\.sql\)\n\n```sql\n(.*?)```", page, re.DOTALL))
    assert shown == {name: path.read_text(encoding="utf-8") for name, path in EXAMPLES.items()}


# What is written by pushes and erasures only, or by cohorts that say `-- notify:`, of which none comes along.
EMPTY = re.compile(r"ops\.(hubspot_|csb_|erasures|notifications|warnings)")


def test_on_the_sample_every_table_shows_something(published: duckdb.DuckDBPyConnection) -> None:
    tables = published.execute(
        "SELECT schema_name || '.' || table_name FROM duckdb_tables() WHERE schema_name IN ('marts', 'ops')"
    ).fetchall()
    empty = [name for (name,) in tables if not published.execute(f"FROM {name} LIMIT 1").fetchall()]
    assert not [name for name in empty if not EMPTY.match(name)]
    alerts = dict(published.execute("SELECT id, closed_at IS NULL FROM marts.alerts").fetchall())
    assert alerts == {
        "cmp_hollowoakum": False,
        "cmp_tallgrassen": True,
        "cmp_vellumtide": True,
        "cmp_emberlune": True,
    }
    found = published.execute(
        """SELECT count(calls_prev_7d), count(first_active_day), count(days_since_last_seen), count(latency_p90_ms_7d),
                  count(health_score), count(DISTINCT health)
           FROM marts.company_profiles"""
    ).fetchone()
    assert found == (16, 16, 16, 14, 16, 2)
    kinds = published.execute(
        "SELECT DISTINCT subscription_id IS NULL, is_closed, quota IS NULL FROM marts.meter_usage WHERE meter = 'calls'"
    ).fetchall()
    assert {(False, True, False), (False, False, False), (True, False, False)} <= set(kinds)
