"""The warehouse against a second reading of the contract (oracle.py), on random nasty traffic.

Also what must not matter: how files are split over nights, and whether a table is built step by step or all anew.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from harness import Row, Warehouse
from hypothesis import HealthCheck, Phase, given, settings
from oracle import (
    DEFAULTS,
    Night,
    OracleSettings,
    alerts,
    endpoint_usage,
    expected,
    health,
    latencies,
    latency_p90_ms_7d,
    meter_adjustments,
    meter_usage,
    restatements,
    retention_weekly,
)
from raw_traffic import AS_OF, FEATURE_SETTINGS, claim_nights, feature_nights, metadata_nights, nights
from soak import LONG, budget

from dagster_project.sources import typed

pytestmark = pytest.mark.soak

# (The first example is always the smallest: two are the least that show anything.)
# Shrinking runs a warehouse hundreds of times; the traffic is small as it is.
QUICK = settings(
    max_examples=budget(3, 40),
    deadline=None,
    suppress_health_check=list(HealthCheck),
    derandomize=not LONG,  # each soak tries others; what fails is printed
    print_blob=True,
    phases=[Phase.explicit, Phase.generate],
)


WAYS = pytest.mark.parametrize("smallest", [typed.SMALLEST_BYTES, 0], ids=["record by record", "typed"])


@contextmanager
def ran(
    traffic: Sequence[Night], oracle: OracleSettings = DEFAULTS, smallest: int = typed.SMALLEST_BYTES
) -> Iterator[Warehouse]:
    """A warehouse after all nights. smallest: the size from which files are read by DuckDB."""
    folder = Path(tempfile.mkdtemp(prefix="warehouse-"))
    try:
        warehouse = Warehouse(
            folder,
            features={
                "feature_limit": oracle.feature_limit,
                "module_limit": oracle.module_limit,
                "accept_backdated": oracle.accept_backdated,
            },
            metadata={
                "on_conflict": oracle.on_conflict,
                "lock_scope": oracle.lock_scope,
                "pins": dict(oracle.pins),
            },
            usage={"routes": oracle.routes},
        )
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(typed, "SMALLEST_BYTES", smallest)
            for index, night in enumerate(traffic):
                write(warehouse, night)
                warehouse.night(AS_OF, night.at, run_id=str(index))
        yield warehouse
    finally:
        shutil.rmtree(folder)


def write(warehouse: Warehouse, night: Night) -> None:
    for path in night.removed:
        (warehouse.raw / path).unlink()
    for path, content in night.files.items():
        warehouse.put(path, content)


def comparable(rows: Sequence[Row], columns: Sequence[str]) -> list[str]:
    def plain(row: Row) -> str:
        values = {c: row[c] for c in columns}
        if "error" in values:
            values["error"] = bool(values["error"])
        if "value" in values and "expected_type" in values:
            values["value"] = json.loads(values["value"])
        return json.dumps(values, sort_keys=True, default=str, ensure_ascii=False)

    return sorted(plain(row) for row in rows)


def assert_same(warehouse: Warehouse, wanted: dict[str, list[Row]], skip: set[str] = frozenset()) -> None:  # type: ignore[assignment]
    for name, rows in sorted(wanted.items(), key=lambda item: item[0] != "ops.files"):
        if name in skip:
            continue
        got = warehouse.table(name)
        columns = sorted(set(rows[0] if rows else []) & set(got[0] if got else rows[0] if rows else []))
        columns = [c for c in columns if c not in ("raw", "detail")]
        found, right = comparable(got, columns), comparable(rows, columns)
        only = [row for row in found if row not in right], [row for row in right if row not in found]
        assert found == right, f"{name}: found {only[0][:3]}, right {only[1][:3]}"


def near(found: float | None, exact: float | None) -> bool:
    """Percentiles come from buckets: each is within 5 % of the exact one."""
    if found is None or exact is None:
        return found is exact
    return abs(found - exact) <= 0.05 * exact + 1e-6


def assert_endpoints(warehouse: Warehouse, traffic: Sequence[Night], oracle: OracleSettings) -> None:
    exact = endpoint_usage(traffic, oracle)
    rows = warehouse.table("marts.endpoint_usage_daily")
    found = {(r["day"], r["company_id"], r["verb"], r["route"]): r for r in rows}
    assert len(found) == len(rows)
    assert {key: (row["calls"], row["errors"]) for key, row in found.items()} == {
        key: (calls, errors) for key, (calls, errors, _) in exact.items()
    }
    for key, row in found.items():
        assert near(row["p90_ms"], exact[key][2]), (row, exact[key])


def assert_latencies(warehouse: Warehouse, traffic: Sequence[Night], as_of: date = AS_OF) -> None:
    exact = latencies(traffic)
    rows = warehouse.table("marts.company_latency_daily")
    assert {(row["day"], row["company_id"]) for row in rows} == set(exact)
    for row in rows:
        timed, untimed, percentiles = exact[row["day"], row["company_id"]]
        assert (row["calls"], row["untimed_calls"]) == (timed, untimed), row
        for percent, wanted in percentiles.items():
            assert near(row[f"p{percent}_ms"], wanted), (row, percentiles)
    week = latency_p90_ms_7d(traffic, as_of)
    for row in warehouse.table("marts.company_profiles"):
        assert near(row["latency_p90_ms_7d"], week.get(row["company_id"])), (row, week)


def assert_meters(warehouse: Warehouse, traffic: Sequence[Night]) -> None:
    assert_same(warehouse, {"marts.meter_usage": meter_usage(traffic, AS_OF)})
    wanted = meter_adjustments(traffic, [AS_OF] * len(traffic))
    columns = [
        "run",
        "meter",
        "company_id",
        "subscription_id",
        "period_start",
        "quantity_before",
        "quantity_after",
    ]
    assert comparable(warehouse.table("ops.meter_adjustments"), columns) == comparable(wanted, columns)


def assert_judged(
    warehouse: Warehouse, traffic: Sequence[Night], tables: dict[str, list[Row]], as_of: date = AS_OF
) -> None:
    """Retention, health and what alert rules find, which follow from the other tables."""
    assert_same(warehouse, {"marts.company_retention_weekly": retention_weekly(traffic, as_of)})
    scores = health(tables, as_of)
    profiles = {row["company_id"]: row for row in warehouse.table("marts.company_profiles")}
    kept = {
        row["company_id"]: row for row in warehouse.table("marts.company_health_daily") if row["day"] == as_of
    }
    assert scores.keys() == profiles.keys() == kept.keys()
    for company, score in scores.items():
        found = profiles[company]["health_score"]
        assert abs(found - score) < 1e-4, (company, found, score)
        assert kept[company]["health_score"] == found
        word = "good" if found >= 0.7 else "fair" if found >= 0.4 else "poor"
        assert (profiles[company]["health"], kept[company]["health"]) == (word, word)
    is_open = {
        (row["rule"], row["id"])
        for row in warehouse.table("marts.alerts")
        if row["closed_at"] is None and row["rule"] != "latency_doubled"
    }
    assert is_open == alerts(tables, meter_usage(traffic, as_of), as_of)


def assert_as_the_contract_has_it(
    warehouse: Warehouse, traffic: Sequence[Night], oracle: OracleSettings
) -> None:
    """Every table that has a second reading."""
    tables = expected(traffic, AS_OF)
    assert_same(warehouse, tables)
    assert_judged(warehouse, traffic, tables)
    assert_latencies(warehouse, traffic)
    assert_meters(warehouse, traffic)
    assert_endpoints(warehouse, traffic, oracle)


@WAYS
@settings(QUICK, max_examples=budget(3, 40))
@given(traffic=nights())
def test_all_tables(smallest: int, traffic: list[Night]) -> None:
    oracle = OracleSettings(routes="all")
    with ran(traffic, oracle, smallest=smallest) as warehouse:
        assert_as_the_contract_has_it(warehouse, traffic, oracle)


@QUICK
@given(traffic=claim_nights())
def test_claims_and_restatements(traffic: list[Night]) -> None:
    with ran(traffic) as warehouse:
        assert_same(warehouse, expected(traffic, AS_OF))
        wanted = [{**row, "run": str(row["night"])} for row in restatements(traffic)]
        columns = ["run", "day", "company_id_before", "company_id_after", "calls"]
        assert comparable(warehouse.table("ops.restatements"), columns) == comparable(wanted, columns)
        assert_latencies(warehouse, traffic)
        assert_meters(warehouse, traffic)


METADATA_SETTINGS = [
    OracleSettings(),
    OracleSettings(pins={"phone": "string", "a": "object"}),
    OracleSettings(on_conflict="reject_update"),
    OracleSettings(lock_scope="entity"),
]


@pytest.mark.parametrize("oracle", METADATA_SETTINGS, ids=["default", "pins", "reject_update", "entity"])
@settings(QUICK, max_examples=budget(2, 30))
@given(traffic=metadata_nights())
def test_metadata(oracle: OracleSettings, traffic: list[Night]) -> None:
    skip = {"marts.metadata_schema"} if oracle.lock_scope == "entity" else set()
    with ran(traffic, oracle) as warehouse:
        assert_same(warehouse, expected(traffic, AS_OF, oracle), skip)


@WAYS
@pytest.mark.parametrize("oracle", [OracleSettings(), FEATURE_SETTINGS], ids=["default", "small limits"])
@settings(QUICK, max_examples=budget(2, 30))
@given(traffic=feature_nights())
def test_features(oracle: OracleSettings, smallest: int, traffic: list[Night]) -> None:
    with ran(traffic, oracle, smallest) as warehouse:
        assert_same(warehouse, expected(traffic, AS_OF, oracle))


def bytes_are_there(traffic: Sequence[Night]) -> bool:
    """Whether a full rebuild can be had: nothing was removed or rewritten that was loaded."""
    content: dict[str, bytes] = {}
    for night in traffic:
        if night.removed:
            return False
        for path, data in night.files.items():
            before = content.get(path)
            grew = (
                path.endswith(("jsonl", "json", "ndjson", "csv"))
                and before is not None
                and data.startswith(before)
                and before.endswith(b"\n")
            )
            if before not in (None, data) and not grew and not path.startswith("crm/"):
                return False
            content[path] = data
    return True


HISTORY = {"ops.restatements", "ops.meter_adjustments", "marts.cohort_changes"}


def every_table(warehouse: Warehouse) -> dict[str, list[str]]:
    names = [
        row["name"]
        for row in warehouse.query(
            "SELECT schema_name || '.' || table_name AS name FROM duckdb_tables() "
            "WHERE database_name = 'warehouse' AND schema_name IN ('marts', 'ops')"
        )
    ]
    found: dict[str, Any] = {}
    for name in names:
        rows = warehouse.table(name)
        columns = [c for c in (rows[0] if rows else []) if c not in ("updated_at", "entered_at")]
        found[name] = comparable(rows, columns)
    return found


@settings(QUICK, max_examples=budget(2, 40))
@given(traffic=nights().filter(bytes_are_there))
def test_full_equals_incremental(traffic: list[Night]) -> None:
    with ran(traffic, OracleSettings(routes="all")) as warehouse:
        warehouse.night(AS_OF, traffic[-1].at, run_id="nothing new")  # what waited is refused
        before = every_table(warehouse)
        warehouse.night(AS_OF, traffic[-1].at, full=True, run_id="full")
        assert every_table(warehouse) == before


@settings(QUICK, max_examples=budget(2, 15))
@given(traffic=nights(max_nights=1))
def test_one_night_split_into_several_ends_the_same(traffic: list[Night]) -> None:
    """Files first seen one after the other, in the order of their paths and by the same clock."""
    night = traffic[0]
    split = [Night(night.at, {path: night.files[path]}) for path in sorted(night.files, key=str.encode)]
    nothing_new = Night(night.at, {})  # by then, what waited is refused
    with ran([*traffic, nothing_new]) as at_once:
        wanted = every_table(at_once)
    with ran([*split, nothing_new]) as one_by_one:
        got = every_table(one_by_one)
    for history in HISTORY:
        wanted.pop(history), got.pop(history)
    assert got == wanted
