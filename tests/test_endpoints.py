"""Usage by endpoint: what is kept under which setting, what is folded, and whom it belongs to. Random traffic is in
test_against_oracle.py.
"""

# ruff: noqa: DTZ001  (the warehouse keeps UTC without a zone)
from __future__ import annotations

from datetime import date, datetime
from pathlib import Path

import pytest
from harness import Row, Warehouse
from oracle import Night, OracleSettings
from test_against_oracle import assert_endpoints, every_table
from test_erase import erased

from dagster_project.sources import typed

DAY, NOW = date(2026, 3, 31), datetime(2026, 4, 1, 2)
ALL = OracleSettings(routes="all")


def call(uri: str, status: int = 200, weight: int = 1, **ids: str) -> Row:
    return {
        "request": {"time": "2026-03-30T10:00:00Z", "verb": "GET", "uri": uri},
        "response": {"time": "2026-03-30T10:00:00.100Z", "status": status},
        "weight": weight,
        **(ids or {"company_id": "acme"}),
    }


def under(folder: Path, routes: str) -> Warehouse:
    return Warehouse(folder, usage={"routes": routes})


def told(warehouse: Warehouse) -> dict[tuple[str | None, str], tuple[int, int]]:
    return {
        (r["company_id"], r["route"]): (r["calls"], r["errors"])
        for r in warehouse.table("marts.endpoint_usage_daily")
    }


@pytest.mark.parametrize("smallest", [typed.SMALLEST_BYTES, 0], ids=["record by record", "typed"])
def test_files_keep_to_the_setting_that_they_were_loaded_under(
    smallest: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(typed, "SMALLEST_BYTES", smallest)
    warehouse = under(tmp_path, "failed")
    warehouse.put("events/a.jsonl", [call("/a"), call("/a", 404)])
    warehouse.night(DAY, NOW)
    assert told(warehouse) == {}
    warehouse = under(tmp_path, "all")
    warehouse.put("events/b.jsonl", [call("/b/7?x=1"), call("/b/8", 500, 3), call("/b/8", weight=2)])
    warehouse.night(DAY, NOW)
    nights = {("acme", "/b/:id"): (6, 3)}
    assert told(warehouse) == nights
    assert {row["route"] for row in warehouse.table("marts.error_usage_daily")} == {"/a", "/b/:id"}
    assert told(under(tmp_path, "failed").night(DAY, NOW, full=True)) == nights
    assert told(under(tmp_path, "all").night(DAY, NOW, full=True, apply_settings=True)) == {
        **nights,
        ("acme", "/a"): (2, 1),
    }
    assert told(under(tmp_path, "failed").night(DAY, NOW, full=True, apply_settings=True)) == {}


def test_beyond_200_endpoints_a_day_the_rest_is_other(tmp_path: Path) -> None:
    warehouse = under(tmp_path, "all")
    calls = [call(f"/r{n}", 500 if n % 2 else 200, weight=1 + n // 2) for n in range(230)]
    file = warehouse.put("events/a.jsonl", [*calls, call("/of_another", company_id="beta")])
    warehouse.night(DAY, NOW)
    assert_endpoints(warehouse, [Night(NOW, {"events/a.jsonl": file.read_bytes()})], ALL)
    own = {route: figures for (company, route), figures in told(warehouse).items() if company == "acme"}
    assert len(own) == 201
    assert own["(other)"] == (sum(1 + n // 2 for n in range(30)), sum(1 + n // 2 for n in range(1, 30, 2)))


def test_a_late_claim_moves_them_and_an_erase_leaves_no_id_in_a_route(tmp_path: Path) -> None:
    warehouse = under(tmp_path, "all")
    warehouse.put(
        "events/a.jsonl",
        [
            call("/users/jo@mail.example/orders", session_token="t"),
            call("/users/jo%40mail.example", session_token="t"),
            call("/plain", session_token="t"),
            call("/gone", company_id="gone"),
        ],
    )
    warehouse.night(DAY, NOW)
    assert {company for company, _ in told(warehouse)} == {None, "gone"}
    warehouse.put("companies/a.jsonl", [{"company_id": "acme", "session_token": "t"}])
    warehouse.night(DAY, NOW, run_id="late")
    assert {company for company, _ in told(warehouse)} == {"acme", "gone"}
    before = every_table(warehouse)
    warehouse.night(DAY, NOW, full=True, run_id="full")
    assert every_table(warehouse) == before
    warehouse.put("users/a.jsonl", [{"user_id": "jo@mail.example"}])
    warehouse.night(DAY, NOW, run_id="user")
    erased(warehouse, users=["jo@mail.example"], companies=["gone"])
    left = {("acme", "/users/:id/orders"): (1, 0), ("acme", "/users/:id"): (1, 0), ("acme", "/plain"): (1, 0)}
    assert told(warehouse) == left
    assert told(warehouse.night(DAY, NOW, full=True, run_id="full again")) == left


def test_a_histogram_of_many_calls_stays_small(tmp_path: Path) -> None:
    warehouse = under(tmp_path, "all")
    warehouse.put("events/a.jsonl", [call("/a") for _ in range(600)])
    warehouse.night(DAY, NOW)
    for table in ("core.api_usage_daily", "core.endpoint_usage_daily"):
        assert [len(row["latencies"]) for row in warehouse.table(table)] == [1], table
    (row,) = warehouse.table("marts.company_latency_daily")
    assert (row["calls"], row["p50_ms"]) == (600, pytest.approx(100, rel=0.05))
